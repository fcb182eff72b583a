/* What a stream says to bad input, failing engines, full queues and early ends; and that it says it exactly. */
#include "stream_fixture.h"

static const int64_t MS = 1000000;
static event_log events;

static void start(stream_fixture *fixture) {
    stream_fixture_defaults(fixture);
    stream_fixture_open(fixture);
    event_log_clear(&events);
}

static vlj_stream *open_stream(stream_fixture *fixture, const vlj_stream_options *options) {
    vlj_stream *stream = NULL;
    CHECK_OK(vlj_stream_open(fixture->model, options, &stream));
    return stream;
}

static void test_pictures(void) {
    stream_fixture fixture;
    vlj_frame frame;
    static uint8_t pixels[100 * 100 * 3];
    start(&fixture);
    vlj_stream *stream = open_stream(&fixture, NULL);
    VLJ_INIT(frame);
    frame.width = frame.height = 50;
    CHECK_EQ(vlj_stream_push(stream, &frame), VLJ_E_ARGUMENT); /* no plane */
    frame.planes[0] = pixels;
    frame.width = 5000;
    CHECK_FAILS(vlj_stream_push(stream, &frame), VLJ_E_FRAME_SIZE, "5000");
    frame.width = 0;
    CHECK(vlj_stream_push(stream, &frame) >= 100);
    frame.width = 50;
    frame.format = (vlj_pixel_format)77;
    CHECK_EQ(vlj_stream_push(stream, &frame), VLJ_E_FRAME_FORMAT);
    frame.format = VLJ_RGB24;
    frame.timestamp_ns = INT64_MAX;
    CHECK_FAILS(vlj_stream_push(stream, &frame), VLJ_E_TIMESTAMP, "out of range");
    frame.timestamp_ns = 0;
    CHECK_OK(vlj_stream_push(stream, &frame)); /* none of these did harm */

    frame.timestamp_ns = 100 * MS;
    frame.width = 60;
    CHECK_FAILS(vlj_stream_push(stream, &frame), VLJ_E_FRAME_SIZE, "60 x 50");
    CHECK_FAILS(vlj_stream_push(stream, &frame), VLJ_E_FRAME_SIZE, "50 x 50");
    frame.width = 50;
    frame.format = VLJ_GRAY8;
    CHECK_EQ(vlj_stream_push(stream, &frame), VLJ_E_FRAME_FORMAT);
    frame.format = VLJ_RGB24;
    frame.timestamp_ns = 0;
    CHECK_FAILS(vlj_stream_push(stream, &frame), VLJ_E_TIMESTAMP, "repeats");
    frame.timestamp_ns = -5;
    CHECK_FAILS(vlj_stream_push(stream, &frame), VLJ_E_TIMESTAMP, "goes back");
    for (int i = 1; i < 4; i++) {
        frame.timestamp_ns = i * 100 * MS;
        CHECK_OK(vlj_stream_push(stream, &frame));
    }
    frame.timestamp_ns = 400 * MS;
    CHECK_EQ(vlj_stream_push(stream, &frame), VLJ_WOULD_BLOCK);
    CHECK_OK(vlj_stream_step(stream));
    CHECK_EQ(vlj_stream_step(stream), VLJ_WOULD_BLOCK);
    CHECK_OK(vlj_stream_push(stream, &frame));
    replay_finish(stream, &events);
    CHECK_EQ(events.dropped[VLJ_REASON_TIMESTAMP], 3);
    CHECK_EQ(events.events[0].type, VLJ_EVENT_DROPPED);
    CHECK_FAILS(vlj_stream_push(stream, &frame), VLJ_E_STATE, "finished");
    vlj_stats stats;
    VLJ_INIT(stats);
    CHECK_OK(vlj_stream_stats(stream, &stats));
    CHECK_EQ(stats.frames_pushed, 5);
    CHECK_EQ(stats.frames_dropped, 3);
    vlj_stream_close(stream);
    stream_fixture_close(&fixture);
}

static void test_options(void) {
    stream_fixture fixture;
    vlj_stream_options options;
    vlj_stream *stream = (vlj_stream *)&fixture;
    start(&fixture);
#define REFUSED(field, value, status, words)                                                                           \
    do {                                                                                                               \
        VLJ_INIT(options);                                                                                             \
        options.field = value;                                                                                         \
        CHECK_FAILS(vlj_stream_open(fixture.model, &options, &stream), status, words);                                 \
        CHECK(stream == NULL);                                                                                         \
        vlj_memory memory;                                                                                             \
        VLJ_INIT(memory);                                                                                              \
        CHECK_EQ(vlj_query_memory(fixture.model, &options, &memory), status);                                          \
    } while (0)
    REFUSED(mode, (vlj_mode)9, VLJ_E_ARGUMENT, "mode is 9");
    REFUSED(text_source, (vlj_text_source)9, VLJ_E_ARGUMENT, "text_source is 9");
    REFUSED(decode_when, (vlj_decode_when)9, VLJ_E_ARGUMENT, "decode_when is 9");
    REFUSED(fps, -1.0f, VLJ_E_ARGUMENT, "fps is -1");
    REFUSED(stride, 1u << 20, VLJ_E_ARGUMENT, "stride is 1048576");
    REFUSED(event_capacity, 3, VLJ_E_ARGUMENT, "event_capacity is 3, expected 8");
    REFUSED(trace_capacity, UINT32_MAX, VLJ_E_ARGUMENT, "trace_capacity");
    REFUSED(max_frame_width, 1u << 20, VLJ_E_ARGUMENT, "max_frame");

    vlj_query query;
    float embeddings[12] = {0};
    VLJ_INIT(options);
    VLJ_INIT(query);
    query.embeddings = embeddings;
    options.queries = &query;
    CHECK_FAILS(vlj_stream_open(fixture.model, &options, &stream), VLJ_E_QUERY, "query_count is 0");
    options.query_count = 1;
    CHECK_FAILS(vlj_stream_open(fixture.model, &options, &stream), VLJ_E_QUERY, "empty");
    query.token_count = 513;
    CHECK_FAILS(vlj_stream_open(fixture.model, &options, &stream), VLJ_E_QUERY, "513 tokens");
    CHECK_EQ(vlj_stream_open(NULL, NULL, &stream), VLJ_E_ARGUMENT);
    CHECK_EQ(vlj_stream_open(fixture.model, NULL, NULL), VLJ_E_ARGUMENT);
    vlj_stream_close(NULL);

    stream = open_stream(&fixture, NULL);
    vlj_event event;
    memset(&event, 0, sizeof event);
    CHECK_EQ(vlj_stream_poll(stream, &event, 0), VLJ_E_ARGUMENT); /* struct_size was not set */
    CHECK_EQ(vlj_stream_poll(stream, NULL, 0), VLJ_E_ARGUMENT);
    CHECK_EQ(vlj_stream_push(stream, NULL), VLJ_E_ARGUMENT);
    VLJ_INIT(event);
    CHECK_EQ(vlj_stream_poll(stream, &event, -1), VLJ_WOULD_BLOCK); /* replay: nobody to wait for */
    vlj_stream_close(stream);
    stream_fixture_close(&fixture);
}

/* Where texts come from, in bundles that lack this or that. */
static void test_text_sources(void) {
    static const struct {
        uint32_t prefix_tokens, phrases;
        vlj_text_source asked;
        vlj_status status;
        const char *text;
    } cases[] = {{2, 5, VLJ_TEXT_DECODER, VLJ_OK, " word"},        {2, 5, VLJ_TEXT_PHRASE_BANK, VLJ_OK, "phrase 1"},
                 {0, 5, VLJ_TEXT_DECODER, VLJ_OK, "phrase 1"},     {0, 0, VLJ_TEXT_DECODER, VLJ_E_STATE, "neither"},
                 {2, 0, VLJ_TEXT_PHRASE_BANK, VLJ_E_ARGUMENT, ""}, {0, 0, VLJ_TEXT_NONE, VLJ_OK, NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        stream_fixture fixture;
        vlj_stream_options options;
        vlj_stream *stream;
        stream_fixture_defaults(&fixture);
        fixture.bundle.prefix_tokens = cases[i].prefix_tokens;
        fixture.bundle.phrase_count = cases[i].phrases;
        stream_fixture_open(&fixture);
        event_log_clear(&events);
        VLJ_INIT(options);
        options.text_source = cases[i].asked;
        if (cases[i].status != VLJ_OK) {
            CHECK_FAILS(vlj_stream_open(fixture.model, &options, &stream), cases[i].status, cases[i].text);
            options.use_decode_when = 1; /* nothing is ever decoded: then nothing is missing */
            stream = open_stream(&fixture, &options);
            vlj_stream_close(stream);
        } else {
            stream = open_stream(&fixture, &options);
            for (int k = 0; k < 4; k++) {
                replay_grey(stream, &events, 64, k * 100 * MS); /* a quarter of the half circle: phrase 1 of 0 .. 4 */
            }
            replay_finish(stream, &events);
            CHECK_EQ(events.of_type[VLJ_EVENT_TEXT], cases[i].text != NULL);
            if (cases[i].text != NULL) {
                const vlj_event *text = event_log_get(&events, VLJ_EVENT_TEXT, 0);
                CHECK(strncmp(text->text, cases[i].text, strlen(cases[i].text)) == 0);
                CHECK(text->confidence > 0.5f && text->confidence <= 1.00001f);
            }
            vlj_stream_close(stream);
        }
        stream_fixture_close(&fixture);
    }
}

static void test_decode_failure(void) {
    stream_fixture fixture;
    start(&fixture);
    atomic_store(&fixture.engines.fail_after[VLJ_Y_DECODER_PREFIX], 1);
    vlj_stream *stream = open_stream(&fixture, NULL);
    for (int i = 0; i < 40; i++) {
        replay_grey(stream, &events, i / 10 % 2 * 200, i * 100 * MS);
    }
    replay_finish(stream, &events);
    CHECK_EQ(events.of_type[VLJ_EVENT_TEXT], 1);
    CHECK(events.dropped[VLJ_REASON_DECODE_FAILED] >= 3);
    CHECK_EQ(events.dropped[VLJ_REASON_DECODE_FAILED], events.of_type[VLJ_EVENT_SHIFT] - 1);
    CHECK(strstr(event_log_get(&events, VLJ_EVENT_DROPPED, 0)->text, "fixture failure"));
    vlj_stats stats;
    VLJ_INIT(stats);
    CHECK_OK(vlj_stream_stats(stream, &stats));
    CHECK_EQ(stats.decode_failures, events.dropped[VLJ_REASON_DECODE_FAILED]);
    CHECK_EQ(stats.decodes, 1);
    vlj_stream_close(stream);
    stream_fixture_close(&fixture);
}

static void test_encode_failure(void) {
    for (int component = VLJ_X_ENCODER; component <= VLJ_PREDICTOR; component++) {
        stream_fixture fixture;
        vlj_event event;
        start(&fixture);
        atomic_store(&fixture.engines.fail_after[component], 2);
        vlj_stream *stream = open_stream(&fixture, NULL);
        for (int i = 0; i < 8; i++) {
            replay_grey(stream, &events, 9, i * 100 * MS);
        }
        CHECK_EQ(push_grey(stream, 9, 800 * MS), VLJ_WOULD_BLOCK);
        CHECK_FAILS(vlj_stream_step(stream), VLJ_E_BACKEND_RUN, "fixture failure");
        CHECK_EQ(vlj_stream_step(stream), VLJ_WOULD_BLOCK);
        CHECK_FAILS(push_grey(stream, 9, 800 * MS), VLJ_E_STATE, "fixture failure");
        CHECK_OK(vlj_stream_finish(stream));
        event_log_drain(&events, stream);
        CHECK_EQ(event_log_get(&events, VLJ_EVENT_END, 0)->window, 2);
        VLJ_INIT(event);
        CHECK_EQ(vlj_stream_poll(stream, &event, -1), VLJ_END);
        vlj_stream_close(stream);
        stream_fixture_close(&fixture);
    }
}

/* Nobody polls: a step waits for room, and nothing is lost. */
static void test_full_queue(void) {
    stream_fixture fixture;
    vlj_stream_options options;
    start(&fixture);
    VLJ_INIT(options);
    options.event_capacity = 8;
    options.emit_embeddings = 1;
    vlj_stream *stream = open_stream(&fixture, &options);
    int64_t at = 0;
    uint32_t windows = 0;
    for (int i = 0; i < 300; i++, at += 100 * MS) {
        vlj_status status;
        while ((status = push_grey(stream, 80, at)) == VLJ_WOULD_BLOCK) {
            if (vlj_stream_step(stream) == VLJ_OK) {
                windows++;
            } else {
                vlj_event event;
                VLJ_INIT(event);
                CHECK_OK(vlj_stream_poll(stream, &event, 0)); /* one at a time */
                event_log_add(&events, &event);
            }
        }
        CHECK_OK(status);
    }
    CHECK_OK(vlj_stream_finish(stream));
    vlj_event event;
    VLJ_INIT(event);
    for (vlj_status status = VLJ_OK; status != VLJ_END;) {
        while (vlj_stream_step(stream) == VLJ_OK) {
        }
        if ((status = vlj_stream_poll(stream, &event, 0)) == VLJ_OK) {
            event_log_add(&events, &event);
        }
    }
    CHECK_EQ(events.of_type[VLJ_EVENT_EMBEDDING], 149);
    CHECK_EQ(events.of_type[VLJ_EVENT_END], 1);
    CHECK_EQ(events.dropped[VLJ_REASON_EVENT_QUEUE_FULL], 0);
    CHECK(windows >= 140);
    vlj_stream_close(stream);
    stream_fixture_close(&fixture);
}

static void test_cancel(void) {
    stream_fixture fixture;
    vlj_event event;
    start(&fixture);
    vlj_stream *stream = open_stream(&fixture, NULL);
    for (int i = 0; i < 4; i++) {
        CHECK_OK(push_grey(stream, 80, i * 100 * MS));
    }
    CHECK_OK(vlj_stream_step(stream)); /* SHIFT and TEXT wait */
    CHECK_OK(vlj_stream_cancel(stream));
    CHECK_FAILS(push_grey(stream, 80, 400 * MS), VLJ_E_STATE, "cancelled");
    CHECK_EQ(vlj_stream_step(stream), VLJ_WOULD_BLOCK);
    VLJ_INIT(event);
    CHECK_OK(vlj_stream_poll(stream, &event, 0));
    CHECK_EQ(event.type, VLJ_EVENT_END);
    CHECK_EQ(vlj_stream_poll(stream, &event, 0), VLJ_END);
    CHECK_OK(vlj_stream_cancel(stream));
    CHECK_EQ(vlj_stream_poll(stream, &event, 0), VLJ_END);
    vlj_stream_close(stream);
    stream_fixture_close(&fixture);
}

/* vlj_query_memory tells the allocator's own count, for each kind of stream. */
static void test_memory(void) {
    for (int variant = 0; variant < 12; variant++) {
        stream_fixture fixture;
        vlj_stream_options options;
        vlj_memory memory;
        vlj_query queries[2];
        stream_fixture_defaults(&fixture);
        stream_fixture_count_memory(&fixture);
        stream_fixture_open(&fixture);
        long long model_bytes = atomic_load(&fixture.bytes);
        VLJ_INIT(options);
        VLJ_INIT(memory);
        VLJ_INIT(queries[0]);
        VLJ_INIT(queries[1]);
        CHECK_OK(vlj_model_query_at(fixture.model, 0, &queries[0]));
        CHECK_OK(vlj_model_query_at(fixture.model, 1, &queries[1]));
        options.mode = variant & 1 ? VLJ_REALTIME : VLJ_REPLAY;
        options.text_source = (vlj_text_source)(variant % 3);
        if (variant & 2) {
            options.queries = queries;
            options.query_count = 2;
            options.trace_capacity = 1000;
            options.max_frame_width = 640;
            options.max_frame_height = 480;
            options.event_capacity = 77;
            options.stride = 9;
        }
        CHECK_OK(vlj_query_memory(fixture.model, &options, &memory));
        CHECK_EQ(memory.model_bytes, model_bytes);
        CHECK_EQ(atomic_load(&fixture.bytes), model_bytes); /* asking costs nothing */
        vlj_stream *stream = open_stream(&fixture, &options);
        CHECK_EQ(memory.stream_bytes, atomic_load(&fixture.bytes) - model_bytes);
        CHECK(memory.stream_bytes > 4 * 3 * 32 * 32);
        vlj_stream_close(stream);
        CHECK_EQ(atomic_load(&fixture.bytes), model_bytes);
        stream_fixture_close(&fixture);
        CHECK_EQ(atomic_load(&fixture.bytes), 0);
    }
}

static void test_trace(void) {
    stream_fixture fixture;
    vlj_stream_options options;
    static char json[1 << 20];
    size_t needed = 0, written = 0;
    stream_fixture_defaults(&fixture);
    snprintf(fixture.bundle.name, sizeof fixture.bundle.name, "a \"name\"\\");
    stream_fixture_open(&fixture);
    event_log_clear(&events);
    VLJ_INIT(options);
    options.trace_capacity = 64;
    vlj_stream *stream = open_stream(&fixture, &options);
    for (int i = 0; i < 100; i++) {
        replay_grey(stream, &events, i / 20 * 40, i * 100 * MS);
    }
    replay_finish(stream, &events);
    CHECK_EQ(vlj_stream_trace(stream, NULL, 0, &needed), VLJ_E_BUFFER);
    CHECK_EQ(vlj_stream_trace(stream, json, needed, &written), VLJ_E_BUFFER); /* no room for NUL */
    CHECK_OK(vlj_stream_trace(stream, json, needed + 1, &written));
    CHECK_EQ(written, needed);
    CHECK_EQ(strlen(json), needed);
    CHECK(strstr(json, "\"a \\\"name\\\"\\\\\""));
    CHECK(strstr(json, "\"queries\":[\"query 0?\"]"));
    uint32_t spans = 0;
    for (const char *at = json; (at = strstr(at, "\"ph\":\"X\"")) != NULL; at++) {
        spans++;
    }
    CHECK_EQ(spans, 64);
    const char *path = getenv("VLJ_TEST_TRACE"); /* for whoever wants to look at it */
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) {
        fputs(json, file);
        fclose(file);
    }
    vlj_stream_close(stream);
    stream_fixture_close(&fixture);
}

int main(void) {
    test_pictures();
    test_options();
    test_text_sources();
    test_decode_failure();
    test_encode_failure();
    test_full_queue();
    test_cancel();
    test_memory();
    test_trace();
    event_log_clear(&events);
    return 0;
}
