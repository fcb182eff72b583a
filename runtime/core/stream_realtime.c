/* stream_realtime.c: the thread that works on the latest window, and the ladder that it climbs when it is too slow. */
#include "stream.h"

/* Weight of the newest interval in the moving average between windows. */
static const double INTERVAL_WEIGHT = 0.25;

/* Frames of the window that is read, and of the one that is offered, must stay. */
static void hold_frames(vlj_stream *stream) {
    uint64_t first = UINT64_MAX;
    if (stream->window_running) {
        first = vlj_stream_first_frame(stream, stream->running_window);
    } else if (stream->window_offered) { /* always later than the running one */
        first = vlj_stream_first_frame(stream, stream->offered_window);
    }
    vlj_frame_ring_hold(&stream->ring, first);
}

void vlj_stream_offer_window(vlj_stream *stream, uint64_t window) {
    int64_t now_ns = vlj_monotonic_ns();
    if (stream->last_complete_ns != 0) {
        double interval_ns = (double)(now_ns - stream->last_complete_ns);
        stream->window_interval_ns += INTERVAL_WEIGHT * (interval_ns - stream->window_interval_ns);
    }
    stream->last_complete_ns = now_ns;
    if (window % vlj_overload_stride_factor(stream->overload.level) != 0) {
        return;
    }
    if (stream->window_offered) { /* nobody came for the one before: the latest wins */
        stream->counters.windows_dropped++;
        stream->untold_late++;
        stream->overtaken++;
    }
    stream->window_offered = true;
    stream->offered_window = window;
    stream->offered_ns = now_ns;
    hold_frames(stream);
    vlj_condition_signal(&stream->windows_wake);
}

/* Shows the ladder what this window saw; true: `event` tells of a new level. */
static bool observe(vlj_stream *stream, const vlj_overload_observation *seen, uint64_t window, vlj_event *event) {
    uint32_t before = stream->overload.level;
    int change = vlj_overload_observe(&stream->overload, seen);
    if (change == 0) {
        return false;
    }
    uint32_t level = stream->overload.level;
    stream->counters.degradations += change > 0;
    stream->counters.recoveries += change < 0;
    *event = (vlj_event){.type = change > 0 ? VLJ_EVENT_DEGRADED : VLJ_EVENT_RECOVERED,
                         .reason = vlj_overload_reason(change > 0 ? level : before),
                         .window = window,
                         .level = level};
    vlj_condition_signal(&stream->decode_wake); /* a deferred text may go on */
    return true;
}

/* Locked, and locked again when it returns; unlocked while it works. */
static vlj_status run_offered(vlj_stream *stream) {
    uint64_t window = stream->offered_window;
    int64_t start_ns = vlj_monotonic_ns();
    vlj_overload_observation seen = {.interval_ns = (int64_t)stream->window_interval_ns,
                                     .wait_ns = start_ns - stream->offered_ns};
    stream->window_offered = false;
    stream->window_running = true;
    stream->running_window = window;
    hold_frames(stream);
    vlj_mutex_unlock(&stream->mutex);

    vlj_status status = vlj_stream_run_window(stream, window);
    seen.service_ns = vlj_monotonic_ns() - start_ns;

    vlj_mutex_lock(&stream->mutex);
    stream->window_running = false;
    hold_frames(stream);
    vlj_event event;
    seen.overtaken = stream->overtaken;
    stream->overtaken = 0;
    if (status == VLJ_OK && !stream->finishing && observe(stream, &seen, window, &event)) {
        vlj_mutex_unlock(&stream->mutex);
        vlj_stream_emit(stream, &event, VLJ_NO_ARRIVAL, false);
        vlj_mutex_lock(&stream->mutex);
    }
    return status;
}

/* Locked. What is left after the last frame; false: nothing. */
static bool offer_short_clip(vlj_stream *stream) {
    uint32_t frames = stream->plan.window_frames;
    if (stream->ring.count == 0 || stream->ring.count >= frames) {
        return false;
    }
    stream->counters.bytes_copied[VLJ_STAGE_FRAME] += vlj_frame_ring_pad(&stream->ring, frames);
    vlj_stream_offer_window(stream, 0);
    return true;
}

/* Locked at both ends. All windows are done: close segments, let every text come out, end. */
static vlj_status finish(vlj_stream *stream) {
    vlj_stream_wait_for_texts(stream); /* closing texts must not overtake the ones before them */
    vlj_mutex_unlock(&stream->mutex);
    vlj_status status = vlj_stream_close_segments(stream);
    vlj_mutex_lock(&stream->mutex);
    if (status == VLJ_OK) {
        vlj_stream_wait_for_texts(stream);
    }
    return status;
}

void *vlj_stream_window_thread(void *argument) {
    vlj_stream *stream = argument;
    vlj_status status = VLJ_OK;
    vlj_thread_name("vlj-windows");
    vlj_cpus_enter(vlj_model_cpus(stream->model, VLJ_X_ENCODER), NULL);
    vlj_mutex_lock(&stream->mutex);
    while (!stream->stop && status == VLJ_OK) {
        if (stream->window_offered) {
            status = run_offered(stream);
        } else if (!stream->finishing || stream->pushing) {
            vlj_condition_wait(&stream->windows_wake, &stream->mutex);
        } else if (!offer_short_clip(stream)) {
            status = finish(stream);
            break;
        }
    }
    vlj_mutex_unlock(&stream->mutex);
    if (status != VLJ_OK) {
        vlj_stream_fail(stream, status, false);
    } else {
        vlj_stream_tell_drops(stream, stream->last_window);
        vlj_stream_end(stream);
    }
    return NULL;
}
