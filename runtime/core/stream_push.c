/* stream_push.c: takes one picture: check, sample by timestamp, resize into the ring, and tell when a window is
 * complete. */
#include "stream.h"

#include "abi.h"

/* Locked. A picture may come in, unless the stream has ended or (replay) a window waits for vlj_stream_step. */
static vlj_status may_push(const vlj_stream *stream) {
    if (stream->ended && stream->failure != VLJ_OK) {
        return vlj_fail(VLJ_E_STATE, "the stream has ended: %s", stream->failure_text);
    }
    if (stream->ended || stream->finishing) {
        return vlj_fail(VLJ_E_STATE, "the stream was %s: it takes no more frames",
                        stream->finishing ? "finished" : "cancelled");
    }
    if (stream->pushing) {
        return vlj_fail(VLJ_E_STATE, "two threads push into one stream at a time");
    }
    uint64_t needed = vlj_stream_first_frame(stream, stream->next_window) + stream->plan.window_frames;
    return stream->plan.mode == VLJ_REPLAY && stream->ring.count >= needed ? VLJ_WOULD_BLOCK : VLJ_OK;
}

/* A stream keeps to one size, format and direction of time. */
static vlj_status check_picture(const vlj_stream *stream, const vlj_frame *frame) {
    if (stream->has_format && (frame->width != stream->frame_width || frame->height != stream->frame_height)) {
        return vlj_fail(VLJ_E_FRAME_SIZE,
                        "the picture is %u x %u pixels, but the stream's are %u x %u: open another stream",
                        frame->width, frame->height, stream->frame_width, stream->frame_height);
    }
    if (stream->has_format && frame->format != stream->frame_format) {
        return vlj_fail(VLJ_E_FRAME_FORMAT, "the picture's format is %u, but the stream's is %u: open another stream",
                        (uint32_t)frame->format, (uint32_t)stream->frame_format);
    }
    if (stream->has_format && frame->timestamp_ns <= stream->last_timestamp_ns) {
        return vlj_fail(VLJ_E_TIMESTAMP, "timestamp %lld ns %s %lld ns of the frame before",
                        (long long)frame->timestamp_ns,
                        frame->timestamp_ns == stream->last_timestamp_ns ? "repeats" : "goes back behind",
                        (long long)stream->last_timestamp_ns);
    }
    if (frame->timestamp_ns > VLJ_TIMESTAMP_LIMIT_NS || frame->timestamp_ns < -VLJ_TIMESTAMP_LIMIT_NS) {
        return vlj_fail(VLJ_E_TIMESTAMP, "timestamp %lld ns is out of range", (long long)frame->timestamp_ns);
    }
    return VLJ_OK;
}

/* Resizes into the ring, where engines read it. A picture that finds no room is counted, and VLJ_OK: the pusher can do
 * nothing about it. */
static vlj_status take(vlj_stream *stream, const vlj_frame *frame, bool *kept, size_t *copied) {
    vlj_mutex_lock(&stream->mutex);
    uint8_t *planar = vlj_frame_ring_reserve(&stream->ring);
    if (planar == NULL) {
        stream->counters.frames_dropped++;
        stream->untold_full++;
    }
    vlj_mutex_unlock(&stream->mutex);
    if (planar == NULL) {
        return VLJ_OK;
    }
    int64_t start_ns = vlj_monotonic_ns();
    vlj_status status = vlj_preprocessor_run(stream->preprocessor, frame, planar);
    if (status == VLJ_OK) {
        *copied = vlj_frame_ring_mirror(&stream->ring);
        vlj_stream_record(stream, VLJ_STAGE_FRAME, start_ns, vlj_monotonic_ns() - start_ns, stream->sampled, 0);
        *kept = true;
    }
    return status;
}

/* Locked. The frame is in; perhaps it completes a window. */
static void commit(vlj_stream *stream, int64_t timestamp_ns, int64_t arrival_ns) {
    const vlj_stream_plan *plan = &stream->plan;
    vlj_frame_ring_commit(&stream->ring, timestamp_ns, arrival_ns);
    uint64_t count = stream->ring.count;
    if (plan->mode == VLJ_REALTIME && count >= plan->window_frames &&
        (count - plan->window_frames) % plan->ring_stride == 0) {
        vlj_stream_offer_window(stream, (count - plan->window_frames) / plan->ring_stride);
    }
}

/* The picture's way in while `pushing` keeps everybody else out of the pusher's fields. */
static vlj_status push(vlj_stream *stream, const vlj_frame *frame) {
    int64_t arrival_ns = stream->tells_latency ? vlj_now(&stream->host) : 0;
    vlj_status status = check_picture(stream, frame);
    if (status != VLJ_OK) {
        if (status == VLJ_E_TIMESTAMP) {
            vlj_mutex_lock(&stream->mutex);
            stream->counters.frames_dropped++;
            stream->untold_timestamps++;
            vlj_mutex_unlock(&stream->mutex);
        }
        return status;
    }
    vlj_sampler before = stream->sampler;
    bool sampled = vlj_sampler_take(&stream->sampler, frame->timestamp_ns), kept = false;
    size_t copied = 0;
    /* with a stride beyond T, some sampled frames are part of no window */
    bool wanted = sampled && stream->sampled % stream->plan.stride < stream->plan.window_frames;
    if (wanted) {
        status = take(stream, frame, &kept, &copied);
        if (status != VLJ_OK) {
            stream->sampler = before; /* as if it had never come */
            return status;
        }
    }
    stream->sampled += sampled && kept == wanted; /* the next one takes the place of one that found no room */
    stream->has_format = true;
    stream->frame_format = frame->format;
    stream->frame_width = frame->width;
    stream->frame_height = frame->height;
    stream->last_timestamp_ns = frame->timestamp_ns;

    vlj_mutex_lock(&stream->mutex);
    if (stream->counters.frames_pushed++ == 0) {
        stream->counters.first_frame_ns = frame->timestamp_ns;
    }
    stream->counters.last_frame_ns = frame->timestamp_ns;
    stream->counters.frames_sampled += sampled;
    stream->counters.bytes_copied[VLJ_STAGE_FRAME] += copied;
    if (kept) {
        commit(stream, frame->timestamp_ns, arrival_ns);
    }
    vlj_mutex_unlock(&stream->mutex);
    return VLJ_OK;
}

vlj_status vlj_stream_push(vlj_stream *stream, const vlj_frame *frame) {
    if (stream == NULL || frame == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "%s is NULL", stream == NULL ? "stream" : "frame");
    }
    vlj_frame known;
    vlj_status status = vlj_struct_read(&known, sizeof known, frame, "frame");
    if (status != VLJ_OK) {
        return status;
    }
    vlj_mutex_lock(&stream->mutex);
    status = may_push(stream);
    stream->pushing = stream->pushing || status == VLJ_OK;
    vlj_mutex_unlock(&stream->mutex);
    if (status != VLJ_OK) {
        return status;
    }
    status = push(stream, &known);
    vlj_mutex_lock(&stream->mutex);
    stream->pushing = false;
    if (stream->finishing) { /* the window thread waits for this frame before it closes */
        vlj_condition_signal(&stream->windows_wake);
    }
    vlj_mutex_unlock(&stream->mutex);
    return status;
}
