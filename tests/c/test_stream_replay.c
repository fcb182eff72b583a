/* Streams in replay: windows and their times, shifts and texts, short clips, the same bytes twice. */
#include "stream_fixture.h"

static const int64_t MS = 1000000;
static event_log log_a, log_b;

static vlj_stream *open_stream(stream_fixture *fixture, vlj_stream_options *options) {
    vlj_stream *stream = NULL;
    CHECK_OK(vlj_stream_open(fixture->model, options, &stream));
    return stream;
}

/* Sampled at 10 fps from 30: frame 3 i is sampled frame i. T = 4, S = 2: window k covers sampled frames 2 k .. 2 k + 3.
 */
static void test_windows_and_times(void) {
    stream_fixture fixture;
    vlj_stream_options options;
    stream_fixture_defaults(&fixture);
    stream_fixture_open(&fixture);
    VLJ_INIT(options);
    options.emit_embeddings = 1;
    options.text_source = VLJ_TEXT_NONE;
    vlj_stream *stream = open_stream(&fixture, &options);
    event_log_clear(&log_a);
    for (int i = 0; i < 91; i++) { /* sampled frames 0 .. 30 */
        replay_grey(stream, &log_a, 100, 5000 * MS + i * INT64_C(1000000000) / 30);
    }
    replay_finish(stream, &log_a);
    CHECK_EQ(log_a.of_type[VLJ_EVENT_EMBEDDING], 14); /* (31 - 4) / 2 + 1 */
    CHECK_EQ(log_a.of_type[VLJ_EVENT_SHIFT], 1);
    CHECK_EQ(log_a.of_type[VLJ_EVENT_TEXT], 0);
    CHECK_EQ(log_a.of_type[VLJ_EVENT_END], 1);
    CHECK_EQ(log_a.count, 16);
    for (uint32_t k = 0; k < 14; k++) {
        const vlj_event *event = event_log_get(&log_a, VLJ_EVENT_EMBEDDING, k);
        CHECK_EQ(event->window, k);
        CHECK_NEAR(event->start_ns, 5000 * MS + 2 * k * 100 * MS, 100);
        CHECK_NEAR(event->end_ns, 5000 * MS + (2 * k + 3) * 100 * MS, 100);
        CHECK_EQ(event->latency_ns, 0); /* no clock was injected */
    }
    CHECK_EQ(event_log_get(&log_a, VLJ_EVENT_SHIFT, 0)->reason, VLJ_REASON_FIRST);
    CHECK_EQ(event_log_get(&log_a, VLJ_EVENT_END, 0)->window, 14);

    vlj_stats stats;
    VLJ_INIT(stats);
    CHECK_OK(vlj_stream_stats(stream, &stats));
    CHECK_EQ(stats.frames_pushed, 91);
    CHECK_EQ(stats.frames_sampled, 31);
    CHECK_EQ(stats.windows, 14);
    CHECK_EQ(stats.predictions, 14);
    CHECK_EQ(stats.shifts, 1);
    CHECK_EQ(stats.frames_dropped + stats.windows_dropped + stats.decodes + stats.events_dropped, 0);
    CHECK_EQ(stats.first_frame_ns, 5000 * MS);
    CHECK_EQ(stats.stages[VLJ_STAGE_FRAME].count, 31);
    for (int stage = VLJ_STAGE_ENCODE; stage <= VLJ_STAGE_OVERHEAD; stage++) {
        bool text = stage == VLJ_STAGE_PREFILL || stage == VLJ_STAGE_TOKENS;
        CHECK_EQ(stats.stages[stage].count, text ? 0 : 14);
    }
    CHECK_EQ(stats.allocations, 0);
    vlj_stream_close(stream);
    stream_fixture_close(&fixture);
}

/* Grey 40 for 3 s, 200 for 3 s: two shifts a query, and texts for onset, close and end with their spans. */
static void test_shifts_and_texts(void) {
    stream_fixture fixture;
    vlj_stream_options options;
    vlj_query queries[2];
    stream_fixture_defaults(&fixture);
    stream_fixture_open(&fixture);
    VLJ_INIT(options);
    VLJ_INIT(queries[0]);
    VLJ_INIT(queries[1]);
    CHECK_OK(vlj_model_query_at(fixture.model, 0, &queries[0]));
    CHECK_OK(vlj_model_query_at(fixture.model, 1, &queries[1]));
    options.queries = queries;
    options.query_count = 2;
    options.decode_when = VLJ_DECODE_BOTH;
    vlj_stream *stream = open_stream(&fixture, &options);
    event_log_clear(&log_a);
    for (int i = 0; i < 60; i++) {
        replay_grey(stream, &log_a, i < 30 ? 40 : 200, i * 100 * MS);
    }
    replay_finish(stream, &log_a);
    /* frame 30 is the first of the new grey; window 14 (frames 28 .. 31) is half of it, window 15 all */
    uint32_t shifts = log_a.of_type[VLJ_EVENT_SHIFT];
    CHECK(shifts == 4 || shifts == 6);
    const vlj_event *first = event_log_get(&log_a, VLJ_EVENT_SHIFT, 0);
    CHECK_EQ(first->reason, VLJ_REASON_FIRST);
    CHECK_EQ(first->query, 0);
    CHECK_EQ(event_log_get(&log_a, VLJ_EVENT_SHIFT, 1)->query, 1);
    const vlj_event *second = event_log_get(&log_a, VLJ_EVENT_SHIFT, 2);
    CHECK_EQ(second->reason, VLJ_REASON_WARD);
    CHECK_EQ(second->window, 14);
    CHECK(second->score > second->threshold && second->threshold > 0);

    uint32_t per_query = shifts / 2;
    CHECK_EQ(log_a.of_type[VLJ_EVENT_TEXT], 2 * (per_query + per_query - 1 + 1));
    /* after a SHIFT come the text of what closed and the text of what began, in this order */
    const vlj_event *onset = event_log_get(&log_a, VLJ_EVENT_TEXT, 0);
    CHECK_EQ(onset->reason, VLJ_REASON_ONSET);
    CHECK_EQ(onset->sequence, first->sequence + 1);
    CHECK_EQ(onset->start_ns, 0);
    CHECK_EQ(onset->end_ns, 300 * MS);
    CHECK(onset->confidence > 0 && onset->confidence <= 1);
    CHECK(strncmp(onset->text, " word", 5) == 0);
    const vlj_event *closed = event_log_get(&log_a, VLJ_EVENT_TEXT, 2);
    CHECK_EQ(closed->reason, VLJ_REASON_CLOSE);
    CHECK_EQ(closed->sequence, second->sequence + 1);
    CHECK_EQ(closed->start_ns, 0);
    CHECK_EQ(closed->end_ns, 2900 * MS); /* window 13 */
    CHECK(strcmp(closed->text, onset->text) == 0);
    const vlj_event *opened = event_log_get(&log_a, VLJ_EVENT_TEXT, 3);
    CHECK_EQ(opened->reason, VLJ_REASON_ONSET);
    CHECK_EQ(opened->start_ns, 2800 * MS);
    CHECK(strcmp(opened->text, onset->text) != 0);
    for (uint32_t q = 0; q < 2; q++) { /* the last two texts are the segments that the end closes */
        const vlj_event *end = event_log_get(&log_a, VLJ_EVENT_TEXT, log_a.of_type[VLJ_EVENT_TEXT] - 2 + q);
        CHECK_EQ(end->reason, VLJ_REASON_END);
        CHECK_EQ(end->query, q);
        CHECK_EQ(end->end_ns, 5900 * MS);
    }
    vlj_stats stats;
    VLJ_INIT(stats);
    CHECK_OK(vlj_stream_stats(stream, &stats));
    CHECK_EQ(stats.decodes, log_a.of_type[VLJ_EVENT_TEXT]);
    CHECK_EQ(stats.tokens, stats.decodes * fixture.engines.text_tokens);
    CHECK_EQ(stats.stages[VLJ_STAGE_TOKENS].count, stats.decodes);
    CHECK_EQ(stats.allocations, 0);
    vlj_stream_close(stream);
    stream_fixture_close(&fixture);
}

static int64_t tick(void *user_data) {
    return *(int64_t *)user_data += 1000;
}

/* A long clip with jitter, repeats, failures: everything that can be told, twice. */
static void run_noisy(event_log *log, bool injected, uint32_t smoothing) {
    stream_fixture fixture;
    vlj_stream_options options;
    vlj_query queries[2];
    int64_t clock_ns = 0;
    stream_fixture_defaults(&fixture);
    fixture.bundle.gate.smoothing = smoothing;
    fixture.hooks.user_data = &clock_ns;
    fixture.hooks.clock_ns = injected ? tick : NULL;
    stream_fixture_open(&fixture);
    VLJ_INIT(options);
    VLJ_INIT(queries[0]);
    VLJ_INIT(queries[1]);
    CHECK_OK(vlj_model_query_at(fixture.model, 0, &queries[0]));
    CHECK_OK(vlj_model_query_at(fixture.model, 1, &queries[1]));
    options.queries = queries;
    options.query_count = 2;
    options.emit_embeddings = 1;
    options.decode_when = VLJ_DECODE_BOTH;
    atomic_store(&fixture.engines.fail_after[VLJ_Y_DECODER], 60);
    vlj_stream *stream = open_stream(&fixture, &options);
    uint32_t random = 99;
    int64_t at = 0;
    int grey = 0;
    for (int i = 0; i < 2000; i++) {
        random = random * 1664525u + 1013904223u;
        grey = random >> 26 == 0 ? (int)(random >> 8 & 255) : grey;
        at += 1 + (random >> 4) % (60 * MS);
        replay_grey(stream, log, grey, at);
        if (random >> 28 == 0) {
            vlj_status status = push_grey(stream, grey, at); /* repeats */
            CHECK(status == VLJ_E_TIMESTAMP || status == VLJ_WOULD_BLOCK);
        }
    }
    replay_finish(stream, log);
    vlj_stream_close(stream);
    stream_fixture_close(&fixture);
}

static void test_same_bytes_twice(void) {
    for (int variant = 0; variant < 4; variant++) {
        event_log_clear(&log_a);
        event_log_clear(&log_b);
        run_noisy(&log_a, variant & 1, variant & 2 ? 3 : 1);
        run_noisy(&log_b, variant & 1, variant & 2 ? 3 : 1);
        CHECK(log_a.count > 500);
        CHECK(log_a.of_type[VLJ_EVENT_TEXT] > 5);
        CHECK(log_a.dropped[VLJ_REASON_TIMESTAMP] > 5);
        CHECK(log_a.dropped[VLJ_REASON_DECODE_FAILED] > 5);
        CHECK_EQ(log_a.dropped[VLJ_REASON_EVENT_QUEUE_FULL], 0);
        CHECK_EQ(log_a.length, log_b.length);
        CHECK(memcmp(log_a.lines, log_b.lines, log_a.length) == 0);
        int64_t latency = event_log_get(&log_a, VLJ_EVENT_SHIFT, 0)->latency_ns;
        CHECK(variant & 1 ? latency > 0 : latency == 0);
    }
}

static void test_short_clips(void) {
    stream_fixture fixture;
    vlj_stream_options options;
    stream_fixture_defaults(&fixture);
    stream_fixture_open(&fixture);
    VLJ_INIT(options);
    for (int frames = 0; frames <= 6; frames++) {
        vlj_stream *stream = open_stream(&fixture, &options);
        event_log_clear(&log_a);
        for (int i = 0; i < frames; i++) {
            replay_grey(stream, &log_a, 50, i * 100 * MS);
        }
        replay_finish(stream, &log_a);
        CHECK_EQ(event_log_get(&log_a, VLJ_EVENT_END, 0)->window, frames == 0 ? 0 : frames < 6 ? 1 : 2);
        CHECK_EQ(log_a.of_type[VLJ_EVENT_SHIFT], frames > 0);
        CHECK_EQ(log_a.of_type[VLJ_EVENT_TEXT], frames > 0);
        if (frames > 0) {
            const vlj_event *shift = event_log_get(&log_a, VLJ_EVENT_SHIFT, 0);
            CHECK_EQ(shift->start_ns, 0);
            CHECK_EQ(shift->end_ns, ((frames < 4 ? frames : 4) - 1) * 100 * MS);
        }
        vlj_stream_close(stream);
    }
    stream_fixture_close(&fixture);
}

/* S = 7 > T = 4: three of seven sampled frames are part of no window, and cost nothing. */
static void test_stride_beyond_window(void) {
    stream_fixture fixture;
    vlj_stream_options options;
    stream_fixture_defaults(&fixture);
    stream_fixture_open(&fixture);
    VLJ_INIT(options);
    options.stride = 7;
    options.emit_embeddings = 1;
    vlj_stream *stream = open_stream(&fixture, &options);
    event_log_clear(&log_a);
    for (int i = 0; i < 25; i++) {
        replay_grey(stream, &log_a, 50, i * 100 * MS);
    }
    replay_finish(stream, &log_a);
    CHECK_EQ(log_a.of_type[VLJ_EVENT_EMBEDDING], 4);
    for (uint32_t k = 0; k < 4; k++) {
        CHECK_EQ(event_log_get(&log_a, VLJ_EVENT_EMBEDDING, k)->start_ns, 7 * k * 100 * MS);
        CHECK_EQ(event_log_get(&log_a, VLJ_EVENT_EMBEDDING, k)->end_ns, (7 * k + 3) * 100 * MS);
    }
    vlj_stats stats;
    VLJ_INIT(stats);
    CHECK_OK(vlj_stream_stats(stream, &stats));
    CHECK_EQ(stats.frames_sampled, 25);
    CHECK_EQ(stats.stages[VLJ_STAGE_FRAME].count, 16);
    vlj_stream_close(stream);
    stream_fixture_close(&fixture);
}

int main(void) {
    test_windows_and_times();
    test_shifts_and_texts();
    test_same_bytes_twice();
    test_short_clips();
    test_stride_beyond_window();
    event_log_clear(&log_a);
    event_log_clear(&log_b);
    return 0;
}
