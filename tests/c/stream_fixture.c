/* The open model, grey pictures and event log of stream_fixture.h. */
#include "stream_fixture.h"

#include <stdarg.h>

static void *count_allocate(void *user_data, size_t size_bytes, size_t alignment) {
    stream_fixture *fixture = user_data;
    atomic_fetch_add(&fixture->allocations, 1);
    atomic_fetch_add(&fixture->bytes, (long long)size_bytes);
    return aligned_alloc(alignment, (size_bytes + alignment - 1) / alignment * alignment);
}

static void count_release(void *user_data, void *memory, size_t size_bytes) {
    stream_fixture *fixture = user_data;
    atomic_fetch_sub(&fixture->bytes, (long long)size_bytes);
    free(memory);
}

void stream_fixture_defaults(stream_fixture *fixture) {
    memset(fixture, 0, sizeof *fixture);
    bundle_fixture_defaults(&fixture->bundle);
    VLJ_INIT(fixture->hooks);
}

void stream_fixture_count_memory(stream_fixture *fixture) {
    fixture->hooks.user_data = fixture;
    fixture->hooks.allocate = count_allocate;
    fixture->hooks.release = count_release;
}

void stream_fixture_open(stream_fixture *fixture) {
    vlj_model_options options;
    bundle_fixture_write(&fixture->bundle);
    fixture_engines_init(&fixture->engines, &fixture->bundle);
    VLJ_INIT(options);
    options.header_version = VLJ_HEADER_VERSION;
    options.backend = "callback";
    options.component_mask = fixture->component_mask;
    options.hooks = &fixture->hooks;
    options.callbacks = &fixture->engines.callbacks;
    CHECK_OK(vlj_model_open(fixture->bundle.path, &options, &fixture->model));
}

void stream_fixture_close(stream_fixture *fixture) {
    vlj_model_close(fixture->model);
    bundle_fixture_remove(&fixture->bundle);
}

vlj_status push_grey(vlj_stream *stream, int grey, int64_t timestamp_ns) {
    uint8_t pixels[PICTURE_HEIGHT * PICTURE_WIDTH * 3];
    vlj_frame frame;
    memset(pixels, grey, sizeof pixels);
    VLJ_INIT(frame);
    frame.format = VLJ_RGB24;
    frame.width = PICTURE_WIDTH;
    frame.height = PICTURE_HEIGHT;
    frame.planes[0] = pixels;
    frame.timestamp_ns = timestamp_ns;
    return vlj_stream_push(stream, &frame);
}

void replay_grey(vlj_stream *stream, event_log *log, int grey, int64_t timestamp_ns) {
    vlj_status status;
    while ((status = push_grey(stream, grey, timestamp_ns)) == VLJ_WOULD_BLOCK) {
        CHECK_OK(vlj_stream_step(stream));
        event_log_drain(log, stream);
    }
    CHECK_OK(status);
}

void replay_finish(vlj_stream *stream, event_log *log) {
    vlj_event event;
    CHECK_OK(vlj_stream_finish(stream));
    while (vlj_stream_step(stream) == VLJ_OK) {
        event_log_drain(log, stream);
    }
    event_log_drain(log, stream);
    VLJ_INIT(event);
    CHECK_EQ(vlj_stream_poll(stream, &event, -1), VLJ_END);
}

__attribute__((format(printf, 2, 3))) static void put(event_log *log, const char *format, ...) {
    va_list arguments;
    if (log->capacity - log->length < 8192) {
        log->capacity = log->capacity * 2 + 65536;
        log->lines = realloc(log->lines, log->capacity);
        CHECK(log->lines != NULL);
    }
    va_start(arguments, format);
    log->length += (size_t)vsnprintf(log->lines + log->length, log->capacity - log->length, format, arguments);
    va_end(arguments);
}

void event_log_clear(event_log *log) {
    free(log->lines);
    memset(log, 0, sizeof *log);
}

void event_log_add(event_log *log, const vlj_event *event) {
    put(log, "%d %d q%u s%llu w%llu %lld..%lld %a/%a %a l%u n%llu %lld \"%s\"", (int)event->type, (int)event->reason,
        event->query, (unsigned long long)event->sequence, (unsigned long long)event->window,
        (long long)event->start_ns, (long long)event->end_ns, (double)event->score, (double)event->threshold,
        (double)event->confidence, event->level, (unsigned long long)event->count, (long long)event->latency_ns,
        event->text);
    for (uint32_t i = 0; i < event->embedding_width; i++) {
        put(log, " %a", (double)event->embedding[i]);
    }
    put(log, "\n");
    CHECK(event->text != NULL && (event->embedding != NULL) == (event->embedding_width > 0));
    CHECK(event->type >= 1 && event->type <= 7 && event->reason <= 16);
    CHECK_EQ(event->sequence, log->count);
    if (log->count < LOG_EVENTS) {
        vlj_event *kept = &log->events[log->count];
        *kept = *event;
        snprintf(log->texts[log->count], LOG_TEXT_BYTES, "%.*s", LOG_TEXT_BYTES - 1, event->text);
        kept->text = log->texts[log->count];
        kept->embedding = NULL;
    }
    log->count++;
    log->of_type[event->type]++;
    log->dropped[event->reason] += event->type == VLJ_EVENT_DROPPED ? event->count : 0;
}

void event_log_drain(event_log *log, vlj_stream *stream) {
    vlj_event event;
    VLJ_INIT(event);
    while (vlj_stream_poll(stream, &event, 0) == VLJ_OK) {
        event_log_add(log, &event);
    }
}

const vlj_event *event_log_get(const event_log *log, vlj_event_type type, uint32_t n) {
    for (uint32_t i = 0; i < log->count && i < LOG_EVENTS; i++) {
        if (log->events[i].type == type && n-- == 0) {
            return &log->events[i];
        }
    }
    fprintf(stderr, "no such event of type %d in:\n%.*s", (int)type, (int)log->length, log->lines);
    exit(1);
}
