/* stream_report.c: what a stream has counted and timed, as numbers and as a trace. */
#include "stream.h"

#include "abi.h"

static vlj_trace_thread thread_of(const vlj_stream *stream, vlj_stage stage) {
    if (stage == VLJ_STAGE_FRAME) {
        return VLJ_TRACE_PUSH;
    }
    bool text = stage == VLJ_STAGE_PREFILL || stage == VLJ_STAGE_TOKENS;
    return text && stream->plan.mode == VLJ_REALTIME ? VLJ_TRACE_DECODE : VLJ_TRACE_WINDOWS;
}

void vlj_stream_record(vlj_stream *stream, vlj_stage stage, int64_t start_ns, int64_t duration_ns, uint64_t window,
                       uint32_t query) {
    vlj_span span = {.start_ns = start_ns,
                     .duration_ns = duration_ns,
                     .window = window,
                     .stage = (uint16_t)stage,
                     .thread = (uint16_t)thread_of(stream, stage),
                     .query = query};
    vlj_mutex_lock(&stream->mutex);
    vlj_histogram_record(&stream->stages[stage], duration_ns);
    if (stage != VLJ_STAGE_OVERHEAD) { /* a sum of gaps, not a stretch of time */
        vlj_trace_record(&stream->trace, &span);
    }
    vlj_mutex_unlock(&stream->mutex);
}

vlj_status vlj_stream_stats(const vlj_stream *stream, vlj_stats *stats) {
    if (stream == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "stream is NULL");
    }
    vlj_mutex *mutex = (vlj_mutex *)&stream->mutex; /* reading changes nothing that a caller sees */
    vlj_mutex_lock(mutex);
    vlj_stats found = stream->counters;
    found.level = stream->overload.level;
    found.events_dropped = stream->events.dropped;
    for (int i = 0; i < VLJ_STAGE_COUNT; i++) {
        vlj_histogram_summary(&stream->stages[i], &found.stages[i]);
    }
    vlj_mutex_unlock(mutex);
    found.allocations = vlj_host_allocations(vlj_model_host(stream->model)) + vlj_host_allocations(&stream->host) -
                        stream->allocations_at_open;
    return vlj_struct_write(stats, &found, sizeof found, "stats");
}

vlj_status vlj_stream_trace(const vlj_stream *stream, char *json, size_t json_bytes, size_t *written) {
    if (stream == NULL || written == NULL || (json == NULL && json_bytes > 0)) {
        return vlj_fail(VLJ_E_ARGUMENT, "%s is NULL", stream == NULL ? "stream" : written == NULL ? "written" : "json");
    }
    vlj_mutex *mutex = (vlj_mutex *)&stream->mutex;
    vlj_text_writer writer = {.text = json, .capacity = json_bytes};
    vlj_trace_begin(&writer, stream->config->name);
    vlj_mutex_lock(mutex);
    uint64_t first = vlj_trace_first(&stream->trace), count = stream->trace.count;
    vlj_mutex_unlock(mutex);
    for (uint64_t i = first; i < count; i++) {
        vlj_span span;
        vlj_mutex_lock(mutex); /* for one copy, so that a push in between never waits for the formatting */
        bool kept = vlj_trace_get(&stream->trace, i, &span);
        vlj_mutex_unlock(mutex);
        if (kept) {
            vlj_trace_span(&writer, &span);
        }
    }
    vlj_trace_end(&writer, stream->query_texts, stream->plan.query_count);
    *written = writer.length;
    if (writer.length >= json_bytes) {
        return vlj_fail(VLJ_E_BUFFER, "the trace needs %zu bytes, the buffer has %zu", writer.length + 1, json_bytes);
    }
    json[writer.length] = '\0';
    return VLJ_OK;
}
