/* stream_replay.c: the work of a replay, one window at a time on the caller's thread. */
#include "stream.h"

#include "error.h"

/* Locked. After the last frame, a clip that is shorter than one window makes its only one by repeating that frame. */
static bool window_waits(vlj_stream *stream) {
    uint32_t frames = stream->plan.window_frames;
    if (stream->finishing && stream->ring.count < frames) {
        stream->counters.bytes_copied[VLJ_STAGE_FRAME] +=
            vlj_frame_ring_pad(&stream->ring, frames); /* nothing happens where there is no frame at all */
    }
    return stream->ring.count >= vlj_stream_first_frame(stream, stream->next_window) + frames;
}

static vlj_status fail(vlj_stream *stream, vlj_status status) {
    vlj_stream_fail(stream, status, true);
    return status;
}

static vlj_status finish(vlj_stream *stream) {
    vlj_status status = vlj_stream_close_segments(stream);
    if (status != VLJ_OK) {
        return fail(stream, status);
    }
    vlj_stream_tell_drops(stream, stream->last_window);
    vlj_stream_end(stream);
    return VLJ_OK;
}

vlj_status vlj_stream_step(vlj_stream *stream) {
    if (stream == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "stream is NULL");
    }
    if (stream->plan.mode != VLJ_REPLAY) {
        return vlj_fail(VLJ_E_STATE, "vlj_stream_step is for replay: a real-time stream works by itself");
    }
    vlj_mutex_lock(&stream->mutex);
    /* room for all that one step may give: nothing is ever lost in a replay (stream_plan.c has the same sum) */
    bool works = !stream->ended && vlj_event_queue_room(&stream->events) >= 4 * stream->plan.query_count + 4;
    bool waits = works && window_waits(stream);
    bool finishing = stream->finishing;
    uint64_t window = stream->next_window;
    vlj_mutex_unlock(&stream->mutex);
    if (!works || (!waits && !finishing)) {
        return VLJ_WOULD_BLOCK;
    }
    if (!waits) {
        return finish(stream);
    }
    vlj_status status = vlj_stream_run_window(stream, window);
    if (status != VLJ_OK) {
        return fail(stream, status);
    }
    vlj_mutex_lock(&stream->mutex);
    stream->next_window++;
    vlj_mutex_unlock(&stream->mutex);
    return VLJ_OK;
}
