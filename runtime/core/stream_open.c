/* stream_open.c: makes a stream with all the memory and threads that it will ever use, and frees it. */
#include "stream.h"

#include "abi.h"

/* Points every part into the stream's own allocation. */
static void place_parts(vlj_stream *stream) {
    uint8_t *base = (uint8_t *)stream;
    const vlj_stream_plan *plan = &stream->plan;
    size_t width = stream->config->embedding_width;
    float *embeddings = (float *)(base + plan->embeddings_at);

    stream->tracks = (vlj_track *)(base + plan->tracks_at);
    stream->slots = (vlj_decode_slot *)(base + plan->slots_at);
    for (uint32_t q = 0; q < plan->query_count; q++) {
        stream->tracks[q].gate = vlj_gate_init(base + plan->gates_at + q * plan->gate_stride, &plan->gate);
    }
    for (uint32_t i = 0; i < 2 * plan->query_count; i++, embeddings += width) {
        stream->slots[i].embedding = embeddings;
        atomic_init(&stream->slots[i].generation, 0);
    }
    stream->mean = embeddings;
    stream->decode_embedding = embeddings + width;
    stream->text = (char *)base + plan->text_at;
    vlj_trace_init(&stream->trace, base + plan->trace_at, plan->trace_capacity);
    vlj_event_queue_init(&stream->events, base + plan->events_at, plan->event_capacity, (uint32_t)width,
                         plan->text_bytes);
    vlj_frame_ring_init(&stream->ring, base + plan->ring_at, vlj_config_frame_bytes(stream->config),
                        plan->window_frames, plan->ring_frames);
    vlj_sampler_init(&stream->sampler, plan->fps);
    vlj_overload_init(&stream->overload);
    stream->window_interval_ns = (double)plan->stride * 1e9 / plan->fps;
}

static void copy_query_texts(vlj_stream *stream, const vlj_query *queries) {
    stream->query_texts = (const char **)((uint8_t *)stream + stream->plan.queries_at);
    char *at = (char *)(stream->query_texts + stream->plan.query_count);
    for (uint32_t i = 0; i < stream->plan.query_count; i++) {
        const char *text = queries[i].text != NULL ? queries[i].text : "";
        size_t bytes = strlen(text) + 1;
        memcpy(at, text, bytes);
        stream->query_texts[i] = at;
        at += bytes;
    }
}

static vlj_status open_parts(vlj_stream *stream) {
    const vlj_stream_plan *plan = &stream->plan;
    const vlj_config *config = stream->config;
    const vlj_query *queries = plan->queries != NULL ? plan->queries : &plan->bundle_query;
    place_parts(stream);
    copy_query_texts(stream, queries);
    vlj_status status =
        vlj_workspace_open(stream->model, &stream->host, plan->query_count, plan->longest_query, &stream->workspace);
    if (status == VLJ_OK) {
        status = vlj_workspace_set_queries(stream->workspace, queries, plan->query_count);
    }
    if (status == VLJ_OK) {
        status = vlj_preprocessor_open(&stream->host, plan->max_frame_width, plan->max_frame_height,
                                       config->resize_short_side, config->height, config->width, &stream->preprocessor);
    }
    if (status == VLJ_OK && plan->text_source == VLJ_TEXT_DECODER) {
        status = vlj_decoder_open(stream->model, &stream->host, &stream->decoder);
    }
    return status;
}

static vlj_status open_threads(vlj_stream *stream) {
    stream->has_mutex = vlj_mutex_init(&stream->mutex);
    stream->has_conditions = stream->has_mutex && vlj_condition_init(&stream->windows_wake) &&
                             vlj_condition_init(&stream->decode_wake) && vlj_condition_init(&stream->decode_idle) &&
                             vlj_condition_init(&stream->events_ready);
    bool ok = stream->has_conditions;
    if (ok && stream->plan.mode == VLJ_REALTIME) {
        stream->has_window_thread = vlj_thread_start(&stream->window_thread, vlj_stream_window_thread, stream);
        ok = stream->has_window_thread;
        if (ok && stream->plan.text_source != VLJ_TEXT_NONE) {
            stream->has_decode_thread = vlj_thread_start(&stream->decode_thread, vlj_stream_decode_thread, stream);
            ok = stream->has_decode_thread;
        }
    }
    return ok ? VLJ_OK : vlj_fail(VLJ_E_MEMORY, "the system gives no lock or thread for a stream");
}

vlj_status vlj_stream_open(vlj_model *model, const vlj_stream_options *options, vlj_stream **stream) {
    if (stream == NULL || model == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "%s is NULL", stream == NULL ? "stream" : "model");
    }
    *stream = NULL;
    vlj_stream_options known;
    vlj_stream_plan plan;
    vlj_status status = vlj_struct_read(&known, sizeof known, options, "stream_options");
    status = status == VLJ_OK ? vlj_stream_plan_make(model, &known, &plan) : status;
    if (status != VLJ_OK) {
        return status;
    }
    const vlj_host *host = vlj_model_host(model);
    vlj_host own; /* a stream's bytes are not the model's */
    vlj_host_fork(&own, host);
    vlj_stream *opened = vlj_alloc(&own, plan.bytes, VLJ_ALIGNMENT);
    if (opened == NULL) {
        return vlj_fail(VLJ_E_MEMORY, "no memory for %zu bytes of a stream", plan.bytes);
    }
    opened->model = model;
    opened->config = vlj_model_config(model);
    opened->plan = plan;
    vlj_host_fork(&opened->host, host);
    opened->tells_latency = plan.mode == VLJ_REALTIME || vlj_host_has_clock(host);
    status = open_parts(opened);
    status = status == VLJ_OK ? open_threads(opened) : status;
    if (status != VLJ_OK) {
        vlj_stream_close(opened);
        return status;
    }
    if (known.text_source == VLJ_TEXT_DECODER && plan.text_source == VLJ_TEXT_PHRASE_BANK) {
        vlj_logf(host, VLJ_LOG_INFO, "the bundle has no Y-Decoder: texts come from phrase bank %u", known.phrase_bank);
    }
    opened->plan.queries = NULL; /* the caller's, and no longer ours */
    opened->allocations_at_open = vlj_host_allocations(host) + vlj_host_allocations(&opened->host);
    *stream = opened;
    return VLJ_OK;
}

void vlj_stream_close(vlj_stream *stream) {
    if (stream == NULL) {
        return;
    }
    if (stream->has_conditions) {
        vlj_stream_cancel(stream);
    }
    if (stream->has_window_thread) {
        vlj_thread_join(stream->window_thread);
    }
    if (stream->has_decode_thread) {
        vlj_thread_join(stream->decode_thread);
    }
    if (stream->has_conditions) {
        vlj_condition_destroy(&stream->windows_wake);
        vlj_condition_destroy(&stream->decode_wake);
        vlj_condition_destroy(&stream->decode_idle);
        vlj_condition_destroy(&stream->events_ready);
    }
    if (stream->has_mutex) {
        vlj_mutex_destroy(&stream->mutex);
    }
    vlj_decoder_close(stream->decoder);
    vlj_preprocessor_close(stream->preprocessor);
    vlj_workspace_close(stream->workspace);
    vlj_host own;
    vlj_host_fork(&own, vlj_model_host(stream->model));
    vlj_free(&own, stream, stream->plan.bytes);
}
