/* vljepa.h: the public C interface of libvljepa, the always-on VL-JEPA runtime.
 *
 * One header, one ABI, two consumers: firmware links it, and the Python package calls the same functions.
 *
 * Conventions
 *  - Handles are opaque. Every options or result struct starts with `uint32_t struct_size`; set it with
 *    VLJ_INIT(options). Structs only ever grow at their end, so a caller built against an older header keeps working.
 *  - Functions return vlj_status. VLJ_OK, VLJ_WOULD_BLOCK and VLJ_END are not errors; every value >= 100 is.
 *    vlj_last_error() then gives one sentence for the calling thread: what, what was expected, what was found.
 *  - The library never exits, aborts, prints or throws. It exports no symbol but vlj_*.
 *  - Nothing is allocated per frame or window once a stream is open (vlj_query_memory tells the plan beforehand).
 *  - Times are int64 nanoseconds. Text is UTF-8. Embeddings are float32 rows of unit length.
 */
#ifndef VLJEPA_H
#define VLJEPA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define VLJ_API __attribute__((visibility("default")))
#else
#define VLJ_API
#endif

/* Raised when a struct grows or a function is added; checked by vlj_model_open. */
#define VLJ_HEADER_VERSION 1u

/* Zeroes an options or result struct and sets its struct_size. */
#define VLJ_INIT(object)                                                                                               \
    do {                                                                                                               \
        unsigned char *vlj_init_bytes_ = (unsigned char *)&(object);                                                   \
        for (size_t vlj_init_i_ = 0; vlj_init_i_ < sizeof(object); vlj_init_i_++)                                      \
            vlj_init_bytes_[vlj_init_i_] = 0;                                                                          \
        (object).struct_size = (uint32_t)sizeof(object);                                                               \
    } while (0)

/* ---- status ------------------------------------------------------------------------------------------------- */

typedef enum vlj_status {
    VLJ_OK = 0,
    VLJ_WOULD_BLOCK = 1, /* nothing there yet, or step/poll first: not an error */
    VLJ_END = 2,         /* the stream has ended and all of its events were taken */
    /* 1xx argument */
    VLJ_E_ARGUMENT = 100,
    VLJ_E_FRAME_FORMAT = 101,
    VLJ_E_FRAME_SIZE = 102, /* the picture's size changed in mid-stream, or is too small or too large */
    VLJ_E_TIMESTAMP = 103,  /* a timestamp repeats or goes backwards; the frame was not taken */
    VLJ_E_QUERY = 104,      /* an empty query, one that is too long, or one that is not in the bundle */
    VLJ_E_STATE = 105,      /* a call that this state or mode does not allow */
    VLJ_E_BUFFER = 106,     /* the caller's buffer is too small */
    /* 2xx bundle */
    VLJ_E_BUNDLE = 200, /* malformed */
    VLJ_E_BUNDLE_MISSING = 201,
    VLJ_E_BUNDLE_HASH = 202,
    VLJ_E_BUNDLE_SCHEMA = 203,
    VLJ_E_BUNDLE_SHAPE = 204,
    /* 3xx backend */
    VLJ_E_BACKEND = 300,
    VLJ_E_BACKEND_MISSING = 301,
    VLJ_E_BACKEND_RUN = 302,
    /* 4xx-7xx */
    VLJ_E_MEMORY = 400,
    VLJ_E_CANCELLED = 500,
    VLJ_E_TIMEOUT = 600,
    VLJ_E_VERSION = 700
} vlj_status;

VLJ_API const char *vlj_version(void);
VLJ_API const char *vlj_status_name(vlj_status status);
/* The calling thread's last error sentence; "" when there was none. Valid until this thread's next failing call. */
VLJ_API const char *vlj_last_error(void);

/* ---- hooks -------------------------------------------------------------------------------------------------- */

typedef enum vlj_log_level {
    VLJ_LOG_ERROR = 0,
    VLJ_LOG_WARNING = 1,
    VLJ_LOG_INFO = 2,
    VLJ_LOG_DEBUG = 3
} vlj_log_level;

/* Every hook may be NULL (malloc/free, no log, CLOCK_MONOTONIC). They may be called from the library's threads. */
typedef struct vlj_hooks {
    uint32_t struct_size;
    void *user_data;
    void *(*allocate)(void *user_data, size_t size_bytes, size_t alignment);
    void (*release)(void *user_data, void *memory, size_t size_bytes);
    void (*log)(void *user_data, vlj_log_level level, const char *message);
    int64_t (*clock_ns)(void *user_data); /* an injected clock makes latencies of a replay deterministic */
} vlj_hooks;

/* ---- engines ------------------------------------------------------------------------------------------------ */

typedef enum vlj_component {
    VLJ_X_ENCODER = 0, /* frames uint8 [1,T,3,H,W] -> visual_tokens float [1,N,D] */
    VLJ_PREDICTOR =
        1, /* visual_tokens [1,N,D], query_embeddings [Q,L,W], query_mask [Q,L] -> predicted_embedding [Q,E] */
    VLJ_Y_ENCODER = 2,        /* token_ids int64 [1,L] -> text_embedding float [1,E] */
    VLJ_Y_DECODER_PREFIX = 3, /* embedding float [1,E] -> soft_tokens [1,K,W] */
    VLJ_Y_DECODER = 4, /* input_embeddings [1,n,W], positions int64 [n], attention_mask [n,C+n], kv_cache [P,G,C,H]
                          -> logits [1,V] of the last position, kv_new [P,G,n,H] */
    VLJ_COMPONENT_COUNT = 5
} vlj_component;

typedef enum vlj_dtype {
    VLJ_UINT8 = 0,
    VLJ_INT64 = 1,
    VLJ_FLOAT32 = 2,
    VLJ_FLOAT16 = 3,
    VLJ_BFLOAT16 = 4,
    VLJ_INT8 = 5
} vlj_dtype;

typedef struct vlj_tensor {
    const char *name;
    vlj_dtype dtype;
    uint32_t rank;
    int64_t shape[6];
    void *data; /* contiguous, row-major; owned by the core, never kept by an engine after close */
    size_t size_bytes;
} vlj_tensor;

/* A host-supplied engine (backend "callback"). `open` and `close` may be NULL. `run` fills the outputs in place: their
 * shapes and buffers are set by the core. It is called from one thread at a time per component, and returns VLJ_OK or
 * an error; a sentence for vlj_last_error may be written to `message`. */
typedef struct vlj_engine_callbacks {
    uint32_t struct_size;
    void *user_data;
    vlj_status (*open)(void *user_data, vlj_component component);
    vlj_status (*run)(void *user_data, vlj_component component, const vlj_tensor *inputs, uint32_t input_count,
                      vlj_tensor *outputs, uint32_t output_count, char *message, size_t message_bytes);
    void (*close)(void *user_data, vlj_component component);
} vlj_engine_callbacks;

/* ---- model -------------------------------------------------------------------------------------------------- */

typedef struct vlj_model vlj_model;

/* What a backend computes in where the bundle's graph says float. BUNDLE: float32 for an FP32 bundle, else the
 * backend's own choice, which is bfloat16 on CPUs with units for it. Gate thresholds are calibrated for the bundle's
 * choice. */
typedef enum vlj_float_precision {
    VLJ_FLOATS_BUNDLE = 0,
    VLJ_FLOATS_FLOAT32 = 1,
    VLJ_FLOATS_BFLOAT16 = 2,
    VLJ_FLOATS_FLOAT16 = 3
} vlj_float_precision;

typedef enum vlj_switch { VLJ_DEFAULT = 0, VLJ_ON = 1, VLJ_OFF = 2 } vlj_switch;

typedef struct vlj_model_options {
    uint32_t struct_size;
    uint32_t header_version;     /* VLJ_HEADER_VERSION */
    const char *backend;         /* "ort" (default), "openvino", "tensorrt", "auto" or "callback" */
    const char *backend_library; /* path of libonnxruntime.so*; NULL: the loader's search path */
    uint32_t threads;            /* intra-op threads of encode + predict; 0: all */
    uint32_t decode_threads;     /* intra-op threads of the Y-Decoder; 0: 1 */
    uint32_t skip_hashes;        /* 1: don't compare SHA-256 of the engines at open (index is always checked) */
    uint32_t component_mask;     /* bit i opens component i; 0: all that the bundle has */
    const vlj_hooks *hooks;      /* copied */
    const vlj_engine_callbacks *callbacks; /* copied; for backend "callback" */
    const char *openvino_library;          /* path of libopenvino_c.so*; NULL: the loader's search path */
    const char *cache_folder;              /* exists; for compiled models and what "auto" found out; NULL: none */
    vlj_float_precision float_precision;   /* for backends that can choose: "openvino" and "auto" */
    /* CPUs of encode + predict, and of the Y-Decoder, on Linux: "0-3,6"; NULL: wherever the system puts them; "auto":
     * the large cores to encode, the others to decode, so that a text doesn't delay the next window. Of `cpus` alone,
     * "auto" sets both. Threads that engines start stay there, and so do the two threads of a real-time stream. */
    const char *cpus;
    const char *decode_cpus;
    /* Backend "ort": "cpu" (NULL), "cuda", or "tensorrt", which keeps what it built in cache_folder. What a provider
     * cannot run is left to the next of TensorRT, CUDA, CPU; one that isn't there is an error. */
    const char *provider;
    uint32_t device;  /* number of the GPU */
    vlj_switch arena; /* "ort": memory is kept between runs (default: on). Off: smaller, and allocates in runs */
    /* This library's operators (default: on). "ort": in place of function bodies. "openvino": in place of attention and
     * INT8 products, where openvino_ops can be used and floats may be bfloat16. */
    vlj_switch own_ops;
    /* "ort": weights are copied into the order that products read them in (default: on). Off: those in a file beside
     * the ONNX stay where they are mapped, shared and evictable; products are slower. */
    vlj_switch packed_weights;
    /* Backend "tensorrt": path of libvljepa_tensorrt.so, NULL: the loader's search path; and the folder of engines that
     * `vljepa export BUNDLE --engine tensorrt` built of this bundle on this device. */
    const char *tensorrt_library;
    const char *engine_folder;
    /* Backend "openvino": path of libvljepa_openvino_ops.so, which must be of that OpenVINO's version; one that cannot
     * be used is an error. NULL: the one beside this library, where there is one and this CPU has what it needs. */
    const char *openvino_ops;
} vlj_model_options;

typedef enum vlj_decode_when {
    VLJ_DECODE_NEVER = 0,
    VLJ_DECODE_ONSET = 1,
    VLJ_DECODE_CLOSE = 2,
    VLJ_DECODE_BOTH = 3
} vlj_decode_when;

/* Thresholds of selective decoding; 0 in a field of an options struct means "the bundle's value" unless it says
 * otherwise. Where the bundle has 0 too, or there is none (vlj_gate_open), it means smoothing 3, confirm 1,
 * ward_threshold 0.5, hysteresis 0.7 and the rest off. A negative rate or interval is off as well. */
typedef struct vlj_gate_options {
    uint32_t struct_size;
    uint32_t width;           /* E; only for vlj_gate_open */
    uint32_t smoothing;       /* m: predictions averaged, 1..16 */
    uint32_t confirm;         /* windows in a row above a threshold before a shift is told, >= 1 */
    float ward_threshold;     /* on n*m/(n+m)*|mu - mu_m|^2; negative: off */
    float variance_threshold; /* on the mean squared distance of the last m predictions to their mean; negative: off */
    float hysteresis;     /* after a shift, re-arm once the score is under hysteresis*threshold, or the last predictions
                             agree among themselves to that degree, (0,1]; negative: off */
    float target_rate_hz; /* > 0: steer ward_threshold towards this decode rate, within a factor of 16 either way */
    int64_t min_interval_ns; /* refractory time between two shifts */
    int64_t max_interval_ns; /* heartbeat: a shift at the latest after this time; negative: off */
} vlj_gate_options;

typedef struct vlj_model_description {
    uint32_t struct_size;
    uint32_t format_version;
    char name[64];
    char precision[16];
    char backend[32];
    char bundle_sha256[65]; /* hex digest of the index: identifies the bundle */
    uint32_t component_mask;
    uint32_t frames, height, width; /* T, H, W of a window */
    uint32_t stride;                /* sampled frames between two windows */
    float fps;                      /* sampling rate */
    uint32_t resize_short_side; /* the picture's shorter side is resized to this, then H x W are cut from its centre */
    uint32_t visual_tokens, visual_width;
    uint32_t query_width, max_query_tokens;
    uint32_t embedding_width;
    uint32_t text_max_tokens; /* Y-Encoder */
    uint32_t decoder_prefix_tokens, decoder_width, decoder_cache_length, decoder_vocabulary, decoder_max_new_tokens;
    uint32_t decoder_planes, decoder_kv_heads, decoder_head_dim;
    uint32_t query_count, phrase_bank_count;
    vlj_decode_when decode_when;
} vlj_model_description;

/* A compiled query: token embeddings, no tokenizer. `embeddings` is float [token_count, query_width]. */
typedef struct vlj_query {
    uint32_t struct_size;
    uint32_t token_count;
    const float *embeddings;
    const char *text;
} vlj_query;

/* Opens a bundle folder, its index.vlj, or an image (.vlj). Sections are memory-mapped; all is checked before anything
 * runs. */
VLJ_API vlj_status vlj_model_open(const char *path, const vlj_model_options *options, vlj_model **model);
VLJ_API void vlj_model_close(vlj_model *model);
VLJ_API vlj_status vlj_model_describe(const vlj_model *model, vlj_model_description *description);
/* The bundle's gate, calibrated for its precision. */
VLJ_API vlj_status vlj_model_gate(const vlj_model *model, vlj_gate_options *gate);

/* Compiled queries of the bundle. Pointers live as long as the model. VLJ_E_QUERY when there is none such. */
VLJ_API vlj_status vlj_model_query_at(const vlj_model *model, uint32_t index, vlj_query *query);
VLJ_API vlj_status vlj_model_find_query(const vlj_model *model, const char *text, vlj_query *query);
/* Compiles token ids with the bundle's query embedding table (VLJ_E_QUERY where the bundle carries none).
 * `embeddings` takes float [token_count, query_width]. */
VLJ_API vlj_status vlj_model_compile_query(const vlj_model *model, const int64_t *token_ids, uint32_t token_count,
                                           float *embeddings, size_t embedding_floats);

/* Direct inference, for classify/answer/retrieve. Thread-safe (serialised per component). Sizes are in elements. */
VLJ_API vlj_status vlj_encode_window(vlj_model *model, const uint8_t *frames, size_t frame_bytes, float *visual_tokens,
                                     size_t visual_floats);
VLJ_API vlj_status vlj_predict(vlj_model *model, const float *visual_tokens, size_t visual_floats,
                               const vlj_query *queries, uint32_t query_count, float *embeddings,
                               size_t embedding_floats);
VLJ_API vlj_status vlj_embed_tokens(vlj_model *model, const int64_t *token_ids, uint32_t token_count, float *embedding,
                                    size_t embedding_floats);

/* Runs one component over the caller's own tensors, in the order and shapes that vlj_component tells: golden vectors
 * and parity checks (`vljepa doctor`). Serialised per component. VLJ_E_STATE when the component isn't open. */
VLJ_API vlj_status vlj_run_component(vlj_model *model, vlj_component component, const vlj_tensor *inputs,
                                     uint32_t input_count, vlj_tensor *outputs, uint32_t output_count);

typedef struct vlj_decode_result {
    uint32_t struct_size;
    uint32_t token_count; /* generated, end token apart */
    float mean_logprob;   /* natural log, mean over generated tokens and the end token */
    uint32_t complete;    /* 1: ended by the end token; 0: by max_new_tokens or the buffer */
    int64_t prefill_ns;
    int64_t tokens_ns;
} vlj_decode_result;

/* Greedy decode of one embedding [E] into NUL-terminated UTF-8. */
VLJ_API vlj_status vlj_decode(vlj_model *model, const float *embedding, size_t embedding_floats, char *text,
                              size_t text_bytes, vlj_decode_result *result);

/* Nearest phrases of bank `bank` (0-based): indices and cosines, best first. Texts live as long as the model. */
VLJ_API vlj_status vlj_nearest_phrases(const vlj_model *model, uint32_t bank, const float *embedding,
                                       size_t embedding_floats, uint32_t k, uint32_t *indices, float *cosines);
VLJ_API vlj_status vlj_phrase_text(const vlj_model *model, uint32_t bank, uint32_t index, const char **text);

/* ---- frames ------------------------------------------------------------------------------------------------- */

typedef enum vlj_pixel_format {
    VLJ_RGB24 = 0,
    VLJ_BGR24 = 1,
    VLJ_GRAY8 = 2,
    VLJ_NV12 = 3, /* planes: luma; interleaved U, V at half size (rounded up) */
    VLJ_I420 = 4  /* planes: luma; U; V */
} vlj_pixel_format;

/* What NV12 and I420 mean by luma and chroma. The first is OpenCV's; cameras and H.264 in HD mostly use BT709. */
typedef enum vlj_yuv_standard {
    VLJ_BT601 = 0, /* luma 16-235 */
    VLJ_BT709 = 1,
    VLJ_BT601_FULL = 2, /* luma 0-255, as in JPEG */
    VLJ_BT709_FULL = 3
} vlj_yuv_standard;

typedef struct vlj_frame {
    uint32_t struct_size;
    vlj_pixel_format format;
    uint32_t width, height;   /* pixels */
    const uint8_t *planes[3]; /* packed formats use planes[0] */
    size_t stride_bytes[3];   /* 0: rows are packed */
    int64_t timestamp_ns;
    vlj_yuv_standard yuv; /* NV12 and I420 */
} vlj_frame;

/* Resizes (bilinear, antialiased where it shrinks) and crops one picture into planar RGB uint8 [3, height, width].
 * Allocates its tables: streams have their own, made once. */
VLJ_API vlj_status vlj_prepare_frame(const vlj_frame *frame, uint32_t resize_short_side, uint32_t height,
                                     uint32_t width, uint8_t *planar, size_t planar_bytes);
/* The same as VLJ_FLOAT32 or VLJ_FLOAT16 planes of (value / 255 - mean[channel]) / deviation[channel]; NULL: 0 and 1.
 * For hosts' own engines: those of a bundle take bytes, with the normalisation inside. */
VLJ_API vlj_status vlj_prepare_frame_floats(const vlj_frame *frame, uint32_t resize_short_side, uint32_t height,
                                            uint32_t width, vlj_dtype dtype, const float mean[3],
                                            const float deviation[3], void *planar, size_t planar_bytes);

/* ---- streams ------------------------------------------------------------------------------------------------ */

typedef struct vlj_stream vlj_stream;

/* Replay: the caller's thread does the work in vlj_stream_step; every window is processed, every decode finishes, and
 * two runs give the same events byte for byte. Real time: two threads inside; the latest wins; push never blocks.
 *
 * Window k covers sampled frames k*S .. k*S + T - 1. A clip that ends before its first window is full gets one window
 * all the same, its last frame repeated; one without any frame gets none. Frames after the last full window count for
 * nothing.
 *
 * A real-time stream that is too slow gives up work by a ladder, each step told by a DEGRADED event: 1 every second
 * window only; 2 texts wait as well, for at most 10 windows; 3 windows may go on being overtaken. It comes back by
 * itself, a RECOVERED event a step. Windows that are overtaken are told by DROPPED at every level. */
typedef enum vlj_mode { VLJ_REPLAY = 0, VLJ_REALTIME = 1 } vlj_mode;

/* DECODER, on a bundle without a Y-Decoder, takes the phrase bank; without either, a stream that is to make texts
 * doesn't open (VLJ_E_STATE). */
typedef enum vlj_text_source { VLJ_TEXT_DECODER = 0, VLJ_TEXT_PHRASE_BANK = 1, VLJ_TEXT_NONE = 2 } vlj_text_source;

typedef struct vlj_stream_options {
    uint32_t struct_size;
    vlj_mode mode;
    const vlj_query *queries; /* copied; NULL: the bundle's first compiled query */
    uint32_t query_count;
    vlj_text_source text_source;
    uint32_t phrase_bank;
    uint32_t stride;             /* sampled frames between windows; 0: the bundle's */
    float fps;                   /* sampling rate; 0: the bundle's */
    uint32_t event_capacity;     /* events kept until polled, at least 4 per query and 4 more; 0: 256 or that */
    uint32_t emit_embeddings;    /* 1: an EMBEDDING event for every window and query */
    vlj_decode_when decode_when; /* 0 (NEVER) with use_decode_when = 0 means the bundle's */
    uint32_t use_decode_when;    /* 1: take decode_when as it is */
    uint32_t max_frame_width, max_frame_height; /* pictures up to this size are planned for; 0: 3840 x 3840 */
    uint32_t trace_capacity;                    /* spans kept for vlj_stream_trace; 0: none */
    const vlj_gate_options *gate;               /* NULL: the bundle's */
} vlj_stream_options;

typedef enum vlj_event_type {
    VLJ_EVENT_EMBEDDING = 1,
    VLJ_EVENT_SHIFT = 2,
    VLJ_EVENT_TEXT = 3,
    VLJ_EVENT_DROPPED = 4,
    VLJ_EVENT_DEGRADED = 5,
    VLJ_EVENT_RECOVERED = 6,
    VLJ_EVENT_END = 7
} vlj_event_type;

typedef enum vlj_reason {
    VLJ_REASON_NONE = 0,
    VLJ_REASON_FIRST = 1,              /* shift: the stream's first window */
    VLJ_REASON_WARD = 2,               /* shift: Ward cost above its threshold */
    VLJ_REASON_VARIANCE = 3,           /* shift: local variance above its threshold */
    VLJ_REASON_HEARTBEAT = 4,          /* shift: max_interval_ns is over */
    VLJ_REASON_END = 5,                /* a segment closed by the stream's end */
    VLJ_REASON_ONSET = 6,              /* text: decoded from the mean of the last m predictions at the shift */
    VLJ_REASON_CLOSE = 7,              /* text: decoded from the whole segment's mean when it closed */
    VLJ_REASON_FRAME_RING_FULL = 8,    /* dropped: frames that found no room */
    VLJ_REASON_WINDOW_LATE = 9,        /* dropped: windows overtaken by newer ones */
    VLJ_REASON_DECODE_SUPERSEDED = 10, /* dropped: decodes overtaken by newer ones */
    VLJ_REASON_EVENT_QUEUE_FULL = 11,  /* dropped: events that nobody took in time */
    VLJ_REASON_TIMESTAMP = 12,         /* dropped: frames whose timestamp repeats or goes backwards */
    VLJ_REASON_DECODE_FAILED = 13,     /* dropped: a decode that the backend failed; text has the sentence */
    VLJ_REASON_STRIDE_UP = 14,         /* degraded to / recovered from: level 1 */
    VLJ_REASON_DECODE_DEFERRED = 15,   /* level 2 */
    VLJ_REASON_WINDOWS_DROPPED = 16    /* level 3 */
} vlj_reason;

typedef struct vlj_event {
    uint32_t struct_size;
    vlj_event_type type;
    vlj_reason reason;
    uint32_t query;           /* index among the stream's queries */
    uint64_t sequence;        /* 0, 1, 2 ... per stream, in the order of polling */
    uint64_t window;          /* index of the window that it belongs to */
    int64_t start_ns, end_ns; /* SHIFT, EMBEDDING: the window's first and last frame. TEXT: the segment's span so far */
    float score;              /* gate score that decided (Ward cost or variance) */
    float threshold;
    float confidence;       /* TEXT: exp(mean log-probability), or cosine of the nearest phrase */
    uint32_t level;         /* DEGRADED, RECOVERED: the ladder's level from now on */
    uint64_t count;         /* DROPPED: how many */
    const char *text;       /* TEXT; "" otherwise. Valid until the next poll of this stream */
    const float *embedding; /* EMBEDDING, TEXT: [E] that was predicted or decoded; NULL otherwise. Same lifetime */
    uint32_t embedding_width;
    int64_t latency_ns; /* arrival of the window's last frame -> this event; 0 in a replay whose host injected no
                           clock, and in events that no window caused */
} vlj_event;

VLJ_API vlj_status vlj_stream_open(vlj_model *model, const vlj_stream_options *options, vlj_stream **stream);
/* Takes one picture (copied while it is resized). Never blocks on inference. In replay, VLJ_WOULD_BLOCK says that a
 * window is waiting: step, then push the same frame again. In real time a frame that finds no room is VLJ_OK, counted
 * and told by DROPPED. Size and format are the first frame's from then on (VLJ_E_FRAME_SIZE, VLJ_E_FRAME_FORMAT),
 * timestamps ascend (VLJ_E_TIMESTAMP); the stream goes on after each of these. VLJ_E_STATE after finish, cancel or a
 * failure. */
VLJ_API vlj_status vlj_stream_push(vlj_stream *stream, const vlj_frame *frame);
/* Replay: processes at most one waiting window on the calling thread. VLJ_OK: one was processed, or the stream's end
 * was; VLJ_WOULD_BLOCK: none waits, or the event queue lacks room for what it may give: poll first. An engine's failure
 * ends the stream: the error comes once, then END. */
VLJ_API vlj_status vlj_stream_step(vlj_stream *stream);
/* Next event in order. VLJ_WOULD_BLOCK: none within timeout_ns (0: at once; negative: wait). VLJ_END: all taken. A
 * replay has nobody to wait for: it answers at once. In real time an engine's failure comes from here, once, after the
 * events before it; END follows. */
VLJ_API vlj_status vlj_stream_poll(vlj_stream *stream, vlj_event *event, int64_t timeout_ns);
/* No more frames. Real time: returns at once; what is under way finishes, then END. Replay: step until WOULD_BLOCK. */
VLJ_API vlj_status vlj_stream_finish(vlj_stream *stream);
/* Stops as soon as possible, cancels decodes; END is the next event. May be called from any thread. */
VLJ_API vlj_status vlj_stream_cancel(vlj_stream *stream);
VLJ_API void vlj_stream_close(vlj_stream *stream);

typedef enum vlj_stage {
    VLJ_STAGE_FRAME = 0, /* resize + crop of a sampled frame */
    VLJ_STAGE_ENCODE = 1,
    VLJ_STAGE_PREDICT = 2,
    VLJ_STAGE_GATE = 3,
    VLJ_STAGE_PREFILL = 4,
    VLJ_STAGE_TOKENS = 5,   /* all decode steps of one text */
    VLJ_STAGE_WINDOW = 6,   /* a whole window: encode, predict, gate and the core's own work, decode apart */
    VLJ_STAGE_OVERHEAD = 7, /* the part of a window that is the core's own: WINDOW - ENCODE - PREDICT engine time */
    VLJ_STAGE_COUNT = 8
} vlj_stage;

/* From a log-scaled histogram with a relative bucket width of at most 2.5 %; exact minimum, maximum and mean. */
typedef struct vlj_stage_stats {
    uint64_t count;
    int64_t min_ns, mean_ns, max_ns, p50_ns, p90_ns, p95_ns, p99_ns;
} vlj_stage_stats;

typedef struct vlj_stats {
    uint32_t struct_size;
    uint32_t level; /* of the overload ladder */
    uint64_t frames_pushed, frames_sampled, frames_dropped;
    uint64_t windows, windows_dropped, predictions;
    uint64_t shifts, decodes, decodes_superseded, decode_failures, tokens;
    uint64_t events_dropped, degradations, recoveries;
    uint64_t allocations; /* made by the core since the stream was opened (0 in steady state) */
    int64_t first_frame_ns, last_frame_ns;
    vlj_stage_stats stages[8];
    /* Bytes that moved from one buffer to another since the stream was opened, by stage, beside what a stage computes.
     * FRAME: prepared frames that the ring holds twice, so that every window lies in one piece for the engine, or that
     * fill up a short clip's window. ENCODE, PREDICT: inputs and outputs that a backend takes to and from memory of its
     * own; 0 on a CPU, and on a GPU the visual tokens stay there. GATE: embeddings into the gate's history and into
     * EMBEDDING events. Other stages aren't counted. */
    uint64_t bytes_copied[8];
} vlj_stats;

VLJ_API vlj_status vlj_stream_stats(const vlj_stream *stream, vlj_stats *stats);
/* Writes the kept spans as Chrome/Perfetto JSON; `written` is the length without NUL. VLJ_E_BUFFER tells what is
 * needed. */
VLJ_API vlj_status vlj_stream_trace(const vlj_stream *stream, char *json, size_t json_bytes, size_t *written);

typedef struct vlj_memory {
    uint32_t struct_size;
    size_t stream_bytes;  /* allocated through the hooks by vlj_stream_open with these options */
    size_t model_bytes;   /* allocated through the hooks by vlj_model_open */
    size_t mapped_bytes;  /* memory-mapped sections */
    size_t backend_bytes; /* the backends' own, as far as they tell; 0: unknown */
} vlj_memory;

VLJ_API vlj_status vlj_query_memory(const vlj_model *model, const vlj_stream_options *options, vlj_memory *memory);

/* ---- gate and segmentation on recorded embedding streams ------------------------------------------------------ */

typedef struct vlj_gate vlj_gate;

typedef struct vlj_gate_result {
    uint32_t struct_size;
    uint32_t shift; /* 1: this prediction starts a new segment */
    vlj_reason reason;
    float score; /* the larger of ward/ward_threshold and variance/variance_threshold decides; this is its raw value */
    float threshold;
    float ward, variance; /* raw, this window */
} vlj_gate_result;

VLJ_API vlj_status vlj_gate_open(const vlj_gate_options *options, vlj_gate **gate);
VLJ_API vlj_status vlj_gate_push(vlj_gate *gate, const float *embedding, int64_t timestamp_ns, vlj_gate_result *result);
/* Mean of the last m predictions, as far as they belong to the open segment (right after a shift those of the new
 * content alone), unit length [E]. */
VLJ_API vlj_status vlj_gate_recent_mean(const vlj_gate *gate, float *embedding, size_t embedding_floats);
VLJ_API void vlj_gate_close(vlj_gate *gate);

/* Offline: Ward clustering with temporal connectivity of embeddings [count, width] into `segments` stretches, O(N log
 * N). `starts` takes `segments` ascending indices, starts[0] = 0. */
VLJ_API vlj_status vlj_segment(const float *embeddings, size_t count, uint32_t width, size_t segments,
                               uint64_t *starts);

/* ---- search over embeddings --------------------------------------------------------------------------------- */

/* Rows of embeddings that the caller holds, [count, width], contiguous: a memory's, or a bank of labels. */
typedef struct vlj_rows {
    uint32_t struct_size;
    vlj_dtype dtype; /* VLJ_FLOAT32, VLJ_FLOAT16 or VLJ_INT8 */
    uint32_t width;  /* at most 8192 for VLJ_INT8 */
    uint64_t count;  /* below 2^32 */
    const void *data;
    const float *scales; /* [count]: INT8 row i means scales[i] * row; NULL: 1/127 for all. Unused for floats */
} vlj_rows;

/* The k rows with the largest cosine to `query` [width], of any length but 0: best first; of equal ones the earlier row
 * first, rows with NaN last. Exact: every row is compared. Rows are taken to have unit length, as vlj_quantise_rows
 * makes them. Allocates nothing, runs on the calling thread, and is safe to call from several at once. */
VLJ_API vlj_status vlj_nearest_rows(const vlj_rows *rows, const float *query, size_t query_floats, uint32_t k,
                                    uint32_t *indices, float *cosines);
/* Float rows [count, width] of any length as INT8 `values` [count, width], with `scales` [count] that make scale * row
 * of unit length: a search over them gives cosines. A row of zeros gets scale 0, and cosine 0 to everything. */
VLJ_API vlj_status vlj_quantise_rows(const float *rows, uint64_t count, uint32_t width, int8_t *values, float *scales);

/* ---- index and image ------------------------------------------------------------------------------------------ */

typedef enum vlj_section_kind {
    VLJ_SECTION_CONFIG = 1,
    VLJ_SECTION_ENGINE = 2,
    VLJ_SECTION_ENGINE_DATA = 3,
    VLJ_SECTION_QUERY = 4,
    VLJ_SECTION_PHRASE_BANK = 5,
    VLJ_SECTION_VOCABULARY = 6,
    VLJ_SECTION_TOKEN_EMBEDDINGS = 7,
    VLJ_SECTION_GOLDEN = 8,
    VLJ_SECTION_TOKENIZER = 9,
    VLJ_SECTION_MANIFEST = 10 /* bundle.json, for tools; the core doesn't read it */
} vlj_section_kind;

typedef struct vlj_index vlj_index;

typedef struct vlj_section {
    uint32_t struct_size;
    uint32_t kind;
    char name[64];
    char file[64]; /* "" when it lies inside the opened file */
    uint64_t size; /* bytes */
    uint8_t sha256[32];
    const uint8_t *bytes; /* memory-mapped, lives as long as the index */
} vlj_section;

/* Opens and checks a bundle's index or an image without any backend. verify_hashes: 1 compares every section's SHA-256.
 */
VLJ_API vlj_status vlj_index_open(const char *path, uint32_t verify_hashes, vlj_index **index);
/* The same over bytes in memory (an image in flash); `bytes` must outlive the index and be 64-byte aligned. */
VLJ_API vlj_status vlj_index_open_memory(const void *bytes, size_t size, uint32_t verify_hashes, vlj_index **index);
VLJ_API uint32_t vlj_index_section_count(const vlj_index *index);
VLJ_API vlj_status vlj_index_section(const vlj_index *index, uint32_t i, vlj_section *section);
VLJ_API void vlj_index_close(vlj_index *index);

#ifdef __cplusplus
}
#endif

#endif /* VLJEPA_H */
