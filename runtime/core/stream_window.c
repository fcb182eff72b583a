/* stream_window.c: the work on one window: encode once, predict all queries, gate each, tell what happened. */
#include "stream.h"

#include "error.h"

typedef struct window {
    uint64_t index;
    int64_t start_ns, end_ns, arrival_ns;
} window;

static vlj_event event_of(vlj_event_type type, const window *w, uint32_t query, const vlj_gate_result *gate) {
    return (vlj_event){.type = type,
                       .query = query,
                       .window = w->index,
                       .start_ns = w->start_ns,
                       .end_ns = w->end_ns,
                       .score = gate->score,
                       .threshold = gate->threshold};
}

/* First frame of the segment that is open now: its first prediction may be an earlier window's. */
static int64_t segment_start(const vlj_stream *stream, const vlj_track *track, const window *w) {
    int64_t end_ns = vlj_gate_segment_start_ns(track->gate); /* the gate knows windows by their last frame */
    uint64_t kept = stream->windows_done + 1;                /* this window's span is among them */
    for (uint32_t i = 0; i < VLJ_KEPT_SPANS && i < kept; i++) {
        if (stream->spans[i].end_ns == end_ns) {
            return stream->spans[i].start_ns;
        }
    }
    return w->start_ns;
}

/* Replay makes the text here and now, so that it follows its SHIFT; real time leaves it to the decode thread. */
static void submit(vlj_stream *stream, const vlj_decode_job *job) {
    if (stream->plan.mode == VLJ_REALTIME) {
        vlj_stream_post_text(stream, job);
        return;
    }
    int64_t start_ns = vlj_monotonic_ns();
    const atomic_uint *generation = &vlj_stream_slot(stream, job)->generation;
    vlj_stream_make_text(stream, job, generation, 0);
    stream->decode_ns += vlj_monotonic_ns() - start_ns;
}

/* Texts of a shift: what just closed, then what just began. */
static vlj_status submit_shift(vlj_stream *stream, uint32_t query, const window *w, const vlj_gate_result *gate) {
    vlj_track *track = &stream->tracks[query];
    size_t width = stream->config->embedding_width;
    vlj_decode_job job = {.query = query,
                          .window = w->index,
                          .arrival_ns = w->arrival_ns,
                          .score = gate->score,
                          .threshold = gate->threshold,
                          .embedding = stream->mean};
    vlj_status status = VLJ_OK;
    if (stream->plan.decode_when & VLJ_DECODE_CLOSE && vlj_gate_closed_count(track->gate) > 0) {
        job.reason = VLJ_REASON_CLOSE;
        job.start_ns = track->segment_start_ns;
        job.end_ns = vlj_gate_closed_end_ns(track->gate);
        status = vlj_gate_closed_mean(track->gate, stream->mean, width);
        if (status == VLJ_OK) {
            submit(stream, &job);
        }
    }
    track->segment_start_ns = segment_start(stream, track, w);
    if (status == VLJ_OK && stream->plan.decode_when & VLJ_DECODE_ONSET) {
        job.reason = VLJ_REASON_ONSET;
        job.start_ns = track->segment_start_ns;
        job.end_ns = w->end_ns;
        status = vlj_gate_recent_mean(track->gate, stream->mean, width);
        if (status == VLJ_OK) {
            submit(stream, &job);
        }
    }
    return status;
}

static vlj_status gate_query(vlj_stream *stream, uint32_t query, const float *embedding, const window *w,
                             int64_t *gate_ns) {
    vlj_gate_result result;
    VLJ_INIT(result);
    int64_t start_ns = vlj_monotonic_ns();
    vlj_status status = vlj_gate_push(stream->tracks[query].gate, embedding, w->end_ns, &result);
    *gate_ns += vlj_monotonic_ns() - start_ns;
    if (status != VLJ_OK) {
        return status;
    }
    if (stream->plan.emit_embeddings) {
        vlj_event event = event_of(VLJ_EVENT_EMBEDDING, w, query, &result);
        event.embedding = embedding;
        vlj_stream_emit(stream, &event, w->arrival_ns, false);
    }
    if (!result.shift) {
        return VLJ_OK;
    }
    vlj_event event = event_of(VLJ_EVENT_SHIFT, w, query, &result);
    event.reason = result.reason;
    vlj_mutex_lock(&stream->mutex);
    stream->counters.shifts++;
    vlj_mutex_unlock(&stream->mutex);
    vlj_stream_emit(stream, &event, w->arrival_ns, false);
    return submit_shift(stream, query, w, &result);
}

vlj_status vlj_stream_run_window(vlj_stream *stream, uint64_t index) {
    uint64_t first = vlj_stream_first_frame(stream, index), last = first + stream->plan.window_frames - 1;
    window w = {.index = index,
                .start_ns = vlj_frame_ring_timestamp(&stream->ring, first),
                .end_ns = vlj_frame_ring_timestamp(&stream->ring, last),
                .arrival_ns = vlj_frame_ring_arrival(&stream->ring, last)};
    const float *embeddings = NULL;
    int64_t gate_ns = 0;
    stream->decode_ns = 0;
    vlj_stream_tell_drops(stream, index);

    int64_t start_ns = vlj_monotonic_ns();
    vlj_status status = vlj_workspace_encode(stream->workspace, vlj_frame_ring_window(&stream->ring, first));
    int64_t encoded_ns = vlj_monotonic_ns();
    status = status == VLJ_OK ? vlj_workspace_predict(stream->workspace, &embeddings) : status;
    int64_t predicted_ns = vlj_monotonic_ns();
    if (status != VLJ_OK) {
        return status;
    }
    stream->spans[stream->windows_done % VLJ_KEPT_SPANS] = (vlj_window_span){w.start_ns, w.end_ns};
    for (uint32_t q = 0; q < stream->plan.query_count && status == VLJ_OK; q++) {
        status = gate_query(stream, q, embeddings + (size_t)q * stream->config->embedding_width, &w, &gate_ns);
    }
    stream->windows_done++;
    stream->last_window = index;
    int64_t window_ns = vlj_monotonic_ns() - start_ns - stream->decode_ns;
    int64_t engines_ns = predicted_ns - start_ns;

    vlj_stream_record(stream, VLJ_STAGE_ENCODE, start_ns, encoded_ns - start_ns, index, 0);
    vlj_stream_record(stream, VLJ_STAGE_PREDICT, encoded_ns, predicted_ns - encoded_ns, index, 0);
    vlj_stream_record(stream, VLJ_STAGE_GATE, predicted_ns, gate_ns, index, 0);
    vlj_stream_record(stream, VLJ_STAGE_WINDOW, start_ns, window_ns, index, 0);
    vlj_stream_record(stream, VLJ_STAGE_OVERHEAD, predicted_ns, window_ns - engines_ns, index, 0);
    uint64_t encode_copied = 0, predict_copied = 0;
    vlj_workspace_copied(stream->workspace, &encode_copied, &predict_copied);
    size_t embedding_bytes = stream->config->embedding_width * sizeof(float); /* into the gate, and into an event */
    vlj_mutex_lock(&stream->mutex);
    stream->counters.windows++;
    stream->counters.predictions += stream->plan.query_count;
    stream->counters.bytes_copied[VLJ_STAGE_ENCODE] = encode_copied;
    stream->counters.bytes_copied[VLJ_STAGE_PREDICT] = predict_copied;
    stream->counters.bytes_copied[VLJ_STAGE_GATE] +=
        stream->plan.query_count * embedding_bytes * (stream->plan.emit_embeddings ? 2 : 1);
    vlj_mutex_unlock(&stream->mutex);
    return status;
}

vlj_status vlj_stream_close_segments(vlj_stream *stream) {
    size_t width = stream->config->embedding_width;
    for (uint32_t q = 0; q < stream->plan.query_count; q++) {
        const vlj_track *track = &stream->tracks[q];
        if (!(stream->plan.decode_when & VLJ_DECODE_CLOSE) || vlj_gate_segment_count(track->gate) == 0) {
            continue;
        }
        vlj_decode_job job = {.query = q,
                              .reason = VLJ_REASON_END,
                              .window = stream->last_window,
                              .start_ns = track->segment_start_ns,
                              .end_ns = vlj_gate_segment_end_ns(track->gate),
                              .arrival_ns = VLJ_NO_ARRIVAL,
                              .embedding = stream->mean};
        vlj_status status = vlj_gate_segment_mean(track->gate, stream->mean, width);
        if (status != VLJ_OK) {
            return status;
        }
        submit(stream, &job);
    }
    return VLJ_OK;
}
