/* stream.h: the inside of a stream, shared by the stream_*.c files. Each of them has one part:
 *
 *   stream_plan.c      options and bundle -> what the stream is, and where everything lies in its memory
 *   stream_open.c      open and close
 *   stream_push.c      a picture in: check, sample, resize into the ring, tell that a window is complete
 *   stream_window.c    one window: encode, predict, gate, events
 *   stream_text.c      one text: Y-Decoder or phrase bank, event
 *   stream_replay.c    step: windows and texts on the caller's thread
 *   stream_realtime.c  the thread that works on windows, and the overload ladder
 *   stream_decode.c    the thread that makes texts: a mailbox per query, the latest wins
 *   stream_events.c    emit, poll, finish, cancel
 *   stream_report.c    stats and trace
 *
 * Locking: one mutex, held for copies and counters only, never while an engine runs or a picture is resized. Fields are
 * marked with who may touch them; "locked" ones only with the mutex held.
 */
#ifndef VLJ_STREAM_H
#define VLJ_STREAM_H

#include "platform.h"

#include <stdatomic.h>

#include "config.h"
#include "decoder.h"
#include "events.h"
#include "frame_ring.h"
#include "gate.h"
#include "hooks.h"
#include "inference.h"
#include "model.h"
#include "overload.h"
#include "phrase_bank.h"
#include "preprocess.h"
#include "sampler.h"
#include "stats.h"
#include "trace.h"

/* Options resolved against the bundle, and the layout of the stream's own allocation. */
typedef struct vlj_stream_plan {
    vlj_mode mode;
    vlj_text_source text_source; /* VLJ_TEXT_NONE where nothing is ever decoded */
    vlj_decode_when decode_when;
    const vlj_query *queries; /* the caller's, during open; NULL: bundle_query */
    vlj_query bundle_query;
    uint32_t query_count, longest_query;
    vlj_phrase_bank phrases; /* where text_source is VLJ_TEXT_PHRASE_BANK */
    uint32_t window_frames;  /* T */
    uint32_t stride;         /* S, sampled frames */
    uint32_t
        ring_stride; /* min(S, T): frames of the ring between two windows, as frames that no window has are left out */
    uint32_t ring_frames;
    double fps;
    uint32_t event_capacity, text_bytes, trace_capacity;
    bool emit_embeddings;
    uint32_t max_frame_width, max_frame_height;
    vlj_gate_options gate;
    /* offsets into the allocation that starts with struct vlj_stream */
    size_t ring_at, events_at, tracks_at, gates_at, gate_stride, slots_at, embeddings_at, text_at, trace_at, queries_at;
    size_t bytes;       /* of that allocation */
    size_t other_bytes; /* workspace, preprocessor and decoder, which allocate their own */
} vlj_stream_plan;

/* One query's gate and open segment. The window thread's (replay: the caller's) alone. */
typedef struct vlj_track {
    vlj_gate *gate;
    int64_t segment_start_ns; /* first frame of the open segment's first window */
} vlj_track;

typedef struct vlj_decode_job {
    uint32_t query;
    vlj_reason reason; /* ONSET, CLOSE or END */
    uint64_t window;
    int64_t start_ns, end_ns; /* the segment's span */
    int64_t arrival_ns;
    float score, threshold;
    const float *embedding; /* [E] */
} vlj_decode_job;

/* Mailbox of one query and kind of text (2 * query: onset, 2 * query + 1: close). Locked. */
typedef struct vlj_decode_slot {
    vlj_decode_job job; /* embedding points to the slot's own */
    float *embedding;
    bool waiting, running;
    uint64_t order;         /* of posting, so that the oldest goes first */
    int64_t since_ns;       /* waiting since; kept when a newer job takes the place, so that deferring is bounded */
    atomic_uint generation; /* in replay too: raised to cancel the text that is being made; read by the decoder without
                               the lock */
} vlj_decode_slot;

/* Span of a window, to find the first frame of a segment that began with an earlier prediction: as many are kept as the
 * gate looks back when it cuts (gate.c). */
enum { VLJ_KEPT_SPANS = 32 };
typedef struct vlj_window_span {
    int64_t start_ns, end_ns;
} vlj_window_span;

struct vlj_stream {
    vlj_model *model;
    const vlj_config *config;
    vlj_host host; /* counts what this stream allocates */
    vlj_stream_plan plan;
    bool tells_latency; /* real time, or replay with an injected clock */
    uint64_t allocations_at_open;

    vlj_workspace *workspace;
    vlj_preprocessor *preprocessor;
    vlj_decoder *decoder;     /* NULL unless text_source is VLJ_TEXT_DECODER */
    const char **query_texts; /* [Q], for the trace */

    /* the pusher's alone */
    vlj_sampler sampler;
    uint64_t sampled; /* frames that the sampler took */
    int64_t last_timestamp_ns;
    bool has_format;
    vlj_pixel_format frame_format;
    uint32_t frame_width, frame_height;

    /* the window thread's alone */
    vlj_track *tracks; /* [Q] */
    vlj_window_span spans[VLJ_KEPT_SPANS];
    uint64_t windows_done, last_window;
    int64_t decode_ns; /* spent on texts inside the current window (replay) */
    float *mean;       /* [E], of the job that is being posted */

    /* whoever makes texts: the decode thread, in replay the caller's */
    char *text;              /* [text_bytes] */
    float *decode_embedding; /* [E], a job's copy while it runs */

    vlj_mutex mutex;
    vlj_condition windows_wake, decode_wake, decode_idle, events_ready;
    vlj_thread window_thread, decode_thread;
    bool has_mutex, has_conditions, has_window_thread, has_decode_thread;

    /* locked */
    vlj_frame_ring ring; /* the indices; frames themselves are written by the pusher, read by the window thread */
    vlj_event_queue events;
    vlj_histogram stages[VLJ_STAGE_COUNT];
    vlj_stats counters; /* stages and level are filled when asked */
    vlj_trace trace;
    bool pushing;   /* a picture is being resized */
    bool finishing; /* no more frames */
    bool stop;      /* threads return as soon as they can */
    bool ended;     /* nothing will be emitted any more */
    bool end_told;
    vlj_status failure; /* why the stream ended early; VLJ_OK: it didn't */
    bool failure_told;
    char failure_text[512];
    uint64_t next_window;                                                    /* replay: the one that step takes */
    uint64_t untold_full, untold_timestamps, untold_late, untold_superseded; /* for DROPPED events */
    uint32_t untold_superseded_query;
    /* locked, real time */
    bool window_offered, window_running;
    uint64_t offered_window, running_window;
    int64_t offered_ns;        /* monotonic */
    double window_interval_ns; /* moving average between complete windows at the stream's own stride */
    int64_t last_complete_ns;  /* monotonic; 0: none yet */
    uint64_t overtaken;        /* since the ladder's last look */
    vlj_overload overload;
    vlj_decode_slot *slots; /* [2 Q] */
    uint64_t posted;
};

/* stream_plan.c */
vlj_status vlj_stream_plan_make(const vlj_model *model, const vlj_stream_options *options, vlj_stream_plan *plan);

/* stream_window.c: window `window` lies committed (and held) in the ring. Emits its events; texts are made at once in
 * replay and posted in real time. */
vlj_status vlj_stream_run_window(vlj_stream *stream, uint64_t window);
/* Closes each query's open segment, where texts are made on closing. */
vlj_status vlj_stream_close_segments(vlj_stream *stream);

/* stream_text.c: makes the text of one job and emits it. False: cancelled. */
bool vlj_stream_make_text(vlj_stream *stream, const vlj_decode_job *job, const atomic_uint *generation,
                          unsigned expected);

/* stream_realtime.c */
void *vlj_stream_window_thread(void *stream);
void vlj_stream_offer_window(vlj_stream *stream, uint64_t window); /* locked */

/* stream_decode.c */
void *vlj_stream_decode_thread(void *stream);
void vlj_stream_post_text(vlj_stream *stream, const vlj_decode_job *job);
void vlj_stream_wait_for_texts(vlj_stream *stream); /* until no text waits or is made, or the stream stops; locked */
void vlj_stream_cancel_texts(vlj_stream *stream);   /* locked */

/* stream_events.c */
#define VLJ_NO_ARRIVAL INT64_MIN /* an event without a latency */
void vlj_stream_emit(vlj_stream *stream, vlj_event *event, int64_t arrival_ns, bool text_lives);
/* One DROPPED event for each reason that has something untold. */
void vlj_stream_tell_drops(vlj_stream *stream, uint64_t window);
/* Ends the stream with this thread's last error; `told`: the caller gets it now, so that poll need not. */
void vlj_stream_fail(vlj_stream *stream, vlj_status status, bool told);
void vlj_stream_end(vlj_stream *stream);

/* stream_report.c */
void vlj_stream_record(vlj_stream *stream, vlj_stage stage, int64_t start_ns, int64_t duration_ns, uint64_t window,
                       uint32_t query);

/* Mailbox of a job. */
static inline vlj_decode_slot *vlj_stream_slot(vlj_stream *stream, const vlj_decode_job *job) {
    return &stream->slots[2 * job->query + (job->reason != VLJ_REASON_ONSET)];
}

static inline uint64_t vlj_stream_first_frame(const vlj_stream *stream, uint64_t window) {
    return window * stream->plan.ring_stride;
}

#endif
