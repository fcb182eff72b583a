/* What is copied between a picture and its embedding: frames are resized straight to where the X-Encoder reads them,
 * visual tokens stay where it left them, and the stream's counters say so. */
#include "check.h"
#include "stream_fixture.h"

typedef struct spy {
    stream_fixture fixture;
    vlj_engine_callbacks own; /* the fixture's */
    const uint8_t *frames[64];
    const void *tokens_out[64], *tokens_in[64];
    uint32_t encodes, predicts;
    const uint8_t *block, *block_end; /* the largest that was allocated: the stream's */
} spy;

static void *allocate(void *user_data, size_t size_bytes, size_t alignment) {
    spy *s = user_data;
    uint8_t *memory = aligned_alloc(alignment, (size_bytes + alignment - 1) / alignment * alignment);
    if (memory != NULL && (size_t)(s->block_end - s->block) < size_bytes) {
        s->block = memory;
        s->block_end = memory + size_bytes;
    }
    return memory;
}

static void release(void *user_data, void *memory, size_t size_bytes) {
    (void)user_data;
    (void)size_bytes;
    free(memory);
}

static vlj_status run(void *user_data, vlj_component component, const vlj_tensor *inputs, uint32_t input_count,
                      vlj_tensor *outputs, uint32_t output_count, char *message, size_t message_bytes) {
    spy *s = user_data;
    if (component == VLJ_X_ENCODER && s->encodes < 64) {
        s->frames[s->encodes] = inputs[0].data;
        s->tokens_out[s->encodes++] = outputs[0].data;
    } else if (component == VLJ_PREDICTOR && s->predicts < 64) {
        s->tokens_in[s->predicts++] = inputs[0].data;
    }
    return s->own.run(s->own.user_data, component, inputs, input_count, outputs, output_count, message, message_bytes);
}

static vlj_stats watch(spy *s, vlj_mode mode, int frames, uint32_t emit_embeddings) {
    static event_log log;
    vlj_stream_options options;
    vlj_stream *stream = NULL;
    vlj_stats stats;
    s->encodes = s->predicts = 0;
    VLJ_INIT(options);
    options.mode = mode;
    options.text_source = VLJ_TEXT_NONE;
    options.emit_embeddings = emit_embeddings;
    CHECK_OK(vlj_stream_open(s->fixture.model, &options, &stream));
    for (int i = 0; i < frames; i++) {
        replay_grey(stream, &log, 10 * i, (int64_t)i * 1000000000);
    }
    replay_finish(stream, &log);
    VLJ_INIT(stats);
    CHECK_OK(vlj_stream_stats(stream, &stats));
    vlj_stream_close(stream);
    event_log_clear(&log);
    return stats;
}

int main(void) {
    static spy s;
    vlj_model_options options;
    stream_fixture_defaults(&s.fixture);
    const bundle_fixture *b = &s.fixture.bundle;
    bundle_fixture_write(&s.fixture.bundle);
    fixture_engines_init(&s.fixture.engines, b);
    s.own = s.fixture.engines.callbacks;
    vlj_engine_callbacks spying = s.own;
    spying.user_data = &s;
    spying.run = run;
    s.fixture.hooks.user_data = &s;
    s.fixture.hooks.allocate = allocate;
    s.fixture.hooks.release = release;
    VLJ_INIT(options);
    options.header_version = VLJ_HEADER_VERSION;
    options.backend = "callback";
    options.hooks = &s.fixture.hooks;
    options.callbacks = &spying;
    CHECK_OK(vlj_model_open(b->path, &options, &s.fixture.model));

    vlj_stats stats = watch(&s, VLJ_REPLAY, 40, 0);
    size_t frame_bytes = (size_t)3 * b->height * b->width;
    CHECK(stats.windows > 8 && s.encodes == stats.windows && s.predicts == stats.windows);
    uint32_t steps = 0;
    for (uint32_t i = 0; i < s.encodes; i++) {
        CHECK(s.tokens_in[i] == s.tokens_out[i]);
        /* a window is read in the ring, where its pictures were resized to */
        CHECK(s.frames[i] >= s.block && s.frames[i] + b->frames * frame_bytes <= s.block_end);
        steps += i > 0 && s.frames[i] == s.frames[i - 1] + b->stride * frame_bytes;
    }
    CHECK(steps > 0); /* the next window lies a stride further, but where the ring begins anew */
    CHECK_EQ(stats.bytes_copied[VLJ_STAGE_ENCODE], 0);
    CHECK_EQ(stats.bytes_copied[VLJ_STAGE_PREDICT], 0);
    /* some frames a second time behind the ring's end, and never all */
    CHECK_EQ(stats.bytes_copied[VLJ_STAGE_FRAME] % frame_bytes, 0);
    CHECK(stats.bytes_copied[VLJ_STAGE_FRAME] > 0);
    CHECK(stats.bytes_copied[VLJ_STAGE_FRAME] < stats.frames_sampled * frame_bytes);
    CHECK_EQ(stats.bytes_copied[VLJ_STAGE_GATE], stats.windows * b->embedding_width * sizeof(float));

    vlj_stats told = watch(&s, VLJ_REPLAY, 40, 1);
    CHECK_EQ(told.bytes_copied[VLJ_STAGE_GATE], 2 * stats.bytes_copied[VLJ_STAGE_GATE]);
    /* one picture: it is repeated until there are T, each of them perhaps kept twice */
    vlj_stats one = watch(&s, VLJ_REPLAY, 1, 0);
    CHECK_EQ(one.windows, 1);
    CHECK(one.bytes_copied[VLJ_STAGE_FRAME] >= (b->frames - 1) * frame_bytes);
    CHECK(one.bytes_copied[VLJ_STAGE_FRAME] <= (2 * b->frames - 1) * frame_bytes);

    /* a caller whose header ends before the counters gets the rest */
    vlj_stream *stream = NULL;
    vlj_stream_options plan;
    VLJ_INIT(plan);
    CHECK_OK(vlj_stream_open(s.fixture.model, &plan, &stream));
    vlj_stats older;
    VLJ_INIT(older);
    older.struct_size = (uint32_t)offsetof(vlj_stats, bytes_copied);
    older.bytes_copied[0] = 77;
    CHECK_OK(vlj_stream_stats(stream, &older));
    CHECK_EQ(older.bytes_copied[0], 77);
    vlj_stream_close(stream);
    stream_fixture_close(&s.fixture);
    return 0;
}
