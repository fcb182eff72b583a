/* stream_fixture.h: what the stream tests share: an open model over fixture engines, grey pictures, and a log of
 * events. */
#ifndef VLJ_TESTS_STREAM_FIXTURE_H
#define VLJ_TESTS_STREAM_FIXTURE_H

#include <stdbool.h>

#include "bundle_fixture.h"
#include "check.h"
#include "fixture_engines.h"

enum { PICTURE_WIDTH = 64, PICTURE_HEIGHT = 48 };

typedef struct stream_fixture {
    bundle_fixture bundle; /* change it between _defaults and _open */
    fixture_engines engines;
    vlj_hooks hooks; /* likewise; NULL functions by default */
    uint32_t component_mask;
    vlj_model *model;
    /* counted by the allocator hooks that _count_memory sets */
    atomic_llong allocations, bytes;
} stream_fixture;

void stream_fixture_defaults(stream_fixture *fixture);
void stream_fixture_count_memory(stream_fixture *fixture);
void stream_fixture_open(stream_fixture *fixture);
void stream_fixture_close(stream_fixture *fixture);

/* Pushes a constant RGB24 picture. */
vlj_status push_grey(vlj_stream *stream, int grey, int64_t timestamp_ns);
/* Replay: pushes, stepping and logging as long as windows wait. */
typedef struct event_log event_log;
void replay_grey(vlj_stream *stream, event_log *log, int grey, int64_t timestamp_ns);
/* Replay: finishes, and logs until VLJ_END. */
void replay_finish(vlj_stream *stream, event_log *log);

/* All events, one line each with every field bit by bit, and the parts that tests ask for. */
enum { LOG_EVENTS = 4096, LOG_TEXT_BYTES = 128 };
struct event_log {
    char *lines;
    size_t length, capacity;
    uint32_t count;
    uint32_t of_type[8];          /* by vlj_event_type */
    uint64_t dropped[17];         /* sum of counts by vlj_reason */
    vlj_event events[LOG_EVENTS]; /* the first ones; pointers are not kept but for `text` */
    char texts[LOG_EVENTS][LOG_TEXT_BYTES];
};
void event_log_clear(event_log *log); /* frees, too */
void event_log_add(event_log *log, const vlj_event *event);
/* Takes all that is there now. */
void event_log_drain(event_log *log, vlj_stream *stream);
/* The n-th event (0-based) of a type; fails when there is none. */
const vlj_event *event_log_get(const event_log *log, vlj_event_type type, uint32_t n);

#endif
