/* stream_events.c: events out of a stream: emit, poll, and the ways to its end: finish, cancel, failure. */
#include "stream.h"

#include "abi.h"

void vlj_stream_emit(vlj_stream *stream, vlj_event *event, int64_t arrival_ns, bool text_lives) {
    if (stream->tells_latency && arrival_ns != VLJ_NO_ARRIVAL) {
        event->latency_ns = vlj_now(&stream->host) - arrival_ns;
    }
    vlj_mutex_lock(&stream->mutex);
    if (!stream->ended) { /* cancelled meanwhile: END is the next event */
        vlj_event_queue_push(&stream->events, event, text_lives);
        vlj_condition_broadcast(&stream->events_ready);
    }
    vlj_mutex_unlock(&stream->mutex);
}

void vlj_stream_tell_drops(vlj_stream *stream, uint64_t window) {
    vlj_mutex_lock(&stream->mutex);
    const struct {
        vlj_reason reason;
        uint64_t count;
        uint32_t query;
    } drops[] = {{VLJ_REASON_FRAME_RING_FULL, stream->untold_full, 0},
                 {VLJ_REASON_TIMESTAMP, stream->untold_timestamps, 0},
                 {VLJ_REASON_WINDOW_LATE, stream->untold_late, 0},
                 {VLJ_REASON_DECODE_SUPERSEDED, stream->untold_superseded, stream->untold_superseded_query}};
    stream->untold_full = stream->untold_timestamps = stream->untold_late = stream->untold_superseded = 0;
    vlj_mutex_unlock(&stream->mutex);
    for (size_t i = 0; i < sizeof drops / sizeof drops[0]; i++) {
        if (drops[i].count > 0) {
            vlj_event event = {.type = VLJ_EVENT_DROPPED,
                               .reason = drops[i].reason,
                               .query = drops[i].query,
                               .window = window,
                               .count = drops[i].count};
            vlj_stream_emit(stream, &event, VLJ_NO_ARRIVAL, false);
        }
    }
}

/* Locked. Nothing is emitted from here on; every thread and poller looks up. */
static void end(vlj_stream *stream) {
    stream->ended = true;
    vlj_condition_broadcast(&stream->events_ready);
}

void vlj_stream_end(vlj_stream *stream) {
    vlj_mutex_lock(&stream->mutex);
    end(stream);
    vlj_mutex_unlock(&stream->mutex);
}

void vlj_stream_fail(vlj_stream *stream, vlj_status status, bool told) {
    vlj_stream_tell_drops(stream, stream->last_window);
    vlj_mutex_lock(&stream->mutex);
    if (!stream->ended) {
        vlj_error_copy(stream->failure_text, sizeof stream->failure_text);
        stream->failure = status;
        stream->failure_told = told;
        vlj_stream_cancel_texts(stream);
        end(stream);
    }
    vlj_mutex_unlock(&stream->mutex);
}

vlj_status vlj_stream_finish(vlj_stream *stream) {
    if (stream == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "stream is NULL");
    }
    vlj_mutex_lock(&stream->mutex);
    stream->finishing = true;
    vlj_condition_broadcast(&stream->windows_wake);
    vlj_condition_broadcast(&stream->decode_wake); /* deferred texts come out now */
    vlj_mutex_unlock(&stream->mutex);
    return VLJ_OK;
}

vlj_status vlj_stream_cancel(vlj_stream *stream) {
    if (stream == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "stream is NULL");
    }
    vlj_mutex_lock(&stream->mutex);
    stream->stop = true;
    stream->failure_told = true;
    vlj_event_queue_clear(&stream->events);
    vlj_stream_cancel_texts(stream);
    end(stream);
    vlj_condition_broadcast(&stream->windows_wake);
    vlj_condition_broadcast(&stream->decode_wake);
    vlj_condition_broadcast(&stream->decode_idle);
    vlj_mutex_unlock(&stream->mutex);
    return VLJ_OK;
}

/* Locked. The next event, the failure that ended the stream, END, or VLJ_WOULD_BLOCK. */
static vlj_status next(vlj_stream *stream, vlj_event *event) {
    if (vlj_event_queue_pop(&stream->events, event)) {
        return VLJ_OK;
    }
    if (!stream->ended) {
        return VLJ_WOULD_BLOCK;
    }
    if (stream->failure != VLJ_OK && !stream->failure_told) {
        stream->failure_told = true;
        return vlj_fail(stream->failure, "%s", stream->failure_text);
    }
    if (stream->end_told) {
        return VLJ_END;
    }
    stream->end_told = true;
    *event = (vlj_event){.struct_size = (uint32_t)sizeof *event,
                         .type = VLJ_EVENT_END,
                         .sequence = stream->events.sequence++,
                         .window = stream->counters.windows,
                         .start_ns = stream->counters.first_frame_ns,
                         .end_ns = stream->counters.last_frame_ns,
                         .text = ""};
    return VLJ_OK;
}

vlj_status vlj_stream_poll(vlj_stream *stream, vlj_event *event, int64_t timeout_ns) {
    if (stream == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "stream is NULL");
    }
    vlj_event found = {.text = ""};
    vlj_status status = vlj_struct_write(event, &found, sizeof found, "event"); /* before one is taken from the queue */
    if (status != VLJ_OK) {
        return status;
    }
    int64_t until_ns = timeout_ns > 0 ? vlj_monotonic_ns() + timeout_ns : 0;
    vlj_mutex_lock(&stream->mutex);
    /* a replay's events come from vlj_stream_step, so there is nobody to wait for */
    while ((status = next(stream, &found)) == VLJ_WOULD_BLOCK && timeout_ns != 0 && stream->plan.mode == VLJ_REALTIME) {
        if (timeout_ns < 0) {
            vlj_condition_wait(&stream->events_ready, &stream->mutex);
            continue;
        }
        int64_t left_ns = until_ns - vlj_monotonic_ns();
        if (left_ns <= 0) {
            break;
        }
        vlj_condition_wait_for(&stream->events_ready, &stream->mutex, left_ns);
    }
    vlj_mutex_unlock(&stream->mutex);
    return status == VLJ_OK ? vlj_struct_write(event, &found, sizeof found, "event") : status;
}
