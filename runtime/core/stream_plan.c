/* stream_plan.c: resolves a stream's options against its bundle, and plans every byte that the stream will hold. */
#include "stream.h"

#include <math.h>

#include "abi.h"

enum { DEFAULT_EVENTS = 256, MOST_EVENTS = 1 << 16, MOST_QUERIES = 256, MOST_SPANS = 1 << 22, MOST_STRIDE = 1 << 16 };
enum { DEFAULT_FRAME_SIDE = 3840, LEAST_TEXT_BYTES = 256, MOST_TEXT_BYTES = 2048 };

static vlj_status choose_queries(const vlj_model *model, const vlj_stream_options *options, vlj_stream_plan *plan) {
    if (options->queries == NULL) {
        VLJ_INIT(plan->bundle_query);
        vlj_status status = vlj_model_query_at(model, 0, &plan->bundle_query);
        if (status != VLJ_OK) {
            return vlj_fail(VLJ_E_QUERY, "no query was given and the bundle has none compiled");
        }
        plan->query_count = 1;
        plan->longest_query = plan->bundle_query.token_count;
        return VLJ_OK;
    }
    if (options->query_count == 0 || options->query_count > MOST_QUERIES) {
        return vlj_fail(VLJ_E_QUERY, "query_count is %u, expected 1 to %d", options->query_count, MOST_QUERIES);
    }
    plan->queries = options->queries;
    plan->query_count = options->query_count;
    plan->longest_query = 1;
    uint32_t most = vlj_model_config(model)->max_query_tokens;
    for (uint32_t i = 0; i < options->query_count; i++) {
        uint32_t tokens = options->queries[i].token_count;
        if (options->queries[i].embeddings == NULL || tokens == 0) {
            return vlj_fail(VLJ_E_QUERY, "query %u is empty", i);
        }
        if (tokens > most) {
            return vlj_fail(VLJ_E_QUERY, "query %u has %u tokens, the bundle allows %u", i, tokens, most);
        }
        plan->longest_query = tokens > plan->longest_query ? tokens : plan->longest_query;
    }
    return VLJ_OK;
}

/* Who makes texts, and when. Asking for the Y-Decoder is also what a zeroed options struct does, so a bundle without
 * one answers from its phrase bank where it has one. */
static vlj_status choose_texts(const vlj_model *model, const vlj_stream_options *options, vlj_stream_plan *plan) {
    if ((uint32_t)options->text_source > VLJ_TEXT_NONE || (uint32_t)options->decode_when > VLJ_DECODE_BOTH) {
        return vlj_fail(VLJ_E_ARGUMENT, "%s is %u, expected 0 to %d",
                        (uint32_t)options->text_source > VLJ_TEXT_NONE ? "text_source" : "decode_when",
                        (uint32_t)options->text_source > VLJ_TEXT_NONE ? (uint32_t)options->text_source
                                                                       : (uint32_t)options->decode_when,
                        (uint32_t)options->text_source > VLJ_TEXT_NONE ? (int)VLJ_TEXT_NONE : (int)VLJ_DECODE_BOTH);
    }
    plan->text_source = options->text_source;
    plan->decode_when = options->use_decode_when || options->decode_when != VLJ_DECODE_NEVER
                            ? options->decode_when
                            : vlj_model_config(model)->decode_when;
    if (plan->decode_when == VLJ_DECODE_NEVER || plan->text_source == VLJ_TEXT_NONE) {
        plan->text_source = VLJ_TEXT_NONE;
        plan->decode_when = VLJ_DECODE_NEVER;
        return VLJ_OK;
    }
    bool has_decoder = vlj_model_has(model, VLJ_Y_DECODER) && vlj_model_has(model, VLJ_Y_DECODER_PREFIX);
    if (plan->text_source == VLJ_TEXT_DECODER && !has_decoder) {
        plan->text_source = VLJ_TEXT_PHRASE_BANK;
        if (vlj_phrase_bank_open(model, options->phrase_bank, &plan->phrases) != VLJ_OK) {
            return vlj_fail(VLJ_E_STATE,
                            "text_source is the Y-Decoder, but the open bundle has neither that nor phrase bank %u: "
                            "take VLJ_TEXT_NONE",
                            options->phrase_bank);
        }
        return VLJ_OK;
    }
    return plan->text_source == VLJ_TEXT_PHRASE_BANK ? vlj_phrase_bank_open(model, options->phrase_bank, &plan->phrases)
                                                     : VLJ_OK;
}

static vlj_status choose_rates(const vlj_config *config, const vlj_stream_options *options, vlj_stream_plan *plan) {
    plan->window_frames = config->frames;
    plan->stride = options->stride != 0 ? options->stride : config->stride;
    if (plan->stride > MOST_STRIDE) {
        return vlj_fail(VLJ_E_ARGUMENT, "stride is %u sampled frames, expected at most %d", plan->stride, MOST_STRIDE);
    }
    plan->fps = options->fps != 0 ? (double)options->fps : (double)config->fps;
    if (!isfinite(plan->fps) || plan->fps < 1e-3 || plan->fps > 1e4) {
        return vlj_fail(VLJ_E_ARGUMENT, "fps is %g, expected 0.001 to 10000", plan->fps);
    }
    plan->ring_stride = plan->stride < plan->window_frames ? plan->stride : plan->window_frames;
    /* Replay never takes a frame while a window waits. In real time one window is read, the next waits, and frames go
     * on coming: room for both at the doubled stride, and for another window's worth of frames. */
    plan->ring_frames =
        options->mode == VLJ_REPLAY ? plan->window_frames : 2 * plan->window_frames + 2 * plan->ring_stride;
    return VLJ_OK;
}

static vlj_status choose_capacities(const vlj_config *config, const vlj_stream_options *options,
                                    vlj_stream_plan *plan) {
    /* what one step may give: EMBEDDING, SHIFT and two texts for each query, and what was dropped */
    uint32_t least = 4 * plan->query_count + 4;
    uint32_t usual = least > DEFAULT_EVENTS ? least : DEFAULT_EVENTS;
    plan->event_capacity = options->event_capacity != 0 ? options->event_capacity : usual;
    if (plan->event_capacity < least || plan->event_capacity > MOST_EVENTS) {
        return vlj_fail(VLJ_E_ARGUMENT, "event_capacity is %u, expected %u (for %u queries) to %d",
                        plan->event_capacity, least, plan->query_count, MOST_EVENTS);
    }
    plan->trace_capacity = options->trace_capacity;
    if (plan->trace_capacity > MOST_SPANS) {
        return vlj_fail(VLJ_E_ARGUMENT, "trace_capacity is %u spans, expected at most %d", plan->trace_capacity,
                        MOST_SPANS);
    }
    plan->max_frame_width = options->max_frame_width != 0 ? options->max_frame_width : DEFAULT_FRAME_SIDE;
    plan->max_frame_height = options->max_frame_height != 0 ? options->max_frame_height : DEFAULT_FRAME_SIDE;
    if (plan->max_frame_width > VLJ_MAX_FRAME_SIDE || plan->max_frame_height > VLJ_MAX_FRAME_SIDE) {
        return vlj_fail(VLJ_E_ARGUMENT, "max_frame is %u x %u pixels, expected at most %u on each side",
                        plan->max_frame_width, plan->max_frame_height, VLJ_MAX_FRAME_SIDE);
    }
    /* Tokens are about four bytes in English; three times that, within bounds. A longer text is cut at a character. */
    uint64_t text_bytes = plan->text_source == VLJ_TEXT_DECODER ? 64 + UINT64_C(12) * config->max_new_tokens : 0;
    text_bytes = text_bytes < LEAST_TEXT_BYTES ? LEAST_TEXT_BYTES : text_bytes;
    plan->text_bytes = text_bytes > MOST_TEXT_BYTES ? MOST_TEXT_BYTES : (uint32_t)text_bytes;
    return VLJ_OK;
}

static size_t place(size_t *total, size_t bytes) {
    size_t at = vlj_align_up(*total, VLJ_ALIGNMENT);
    *total = at + bytes;
    return at;
}

static vlj_status lay_out(const vlj_model *model, vlj_stream_plan *plan) {
    const vlj_config *config = vlj_model_config(model);
    size_t width = config->embedding_width, queries = plan->query_count, total = sizeof(vlj_stream), query_texts = 0;
    /* the parts that grow without a bound of their own, in 64 bits, so that the sums below fit size_t */
    uint64_t most = ((uint64_t)plan->ring_frames + plan->window_frames) * vlj_config_frame_bytes(config) +
                    ((uint64_t)plan->event_capacity + 1) * (width * 4 + plan->text_bytes + sizeof(vlj_event_slot)) +
                    (uint64_t)plan->trace_capacity * sizeof(vlj_span);
    if (most > SIZE_MAX / 4) {
        return vlj_fail(VLJ_E_MEMORY, "a stream with these options needs %llu bytes", (unsigned long long)most);
    }
    const vlj_query *list = plan->queries != NULL ? plan->queries : &plan->bundle_query;
    for (uint32_t i = 0; i < plan->query_count; i++) {
        query_texts += list[i].text != NULL ? strlen(list[i].text) + 1 : 1;
    }
    plan->gate_stride = vlj_align_up(vlj_gate_bytes(&plan->gate), VLJ_ALIGNMENT);
    plan->tracks_at = place(&total, queries * sizeof(vlj_track));
    plan->gates_at = place(&total, queries * plan->gate_stride);
    plan->slots_at = place(&total, 2 * queries * sizeof(vlj_decode_slot));
    plan->embeddings_at = place(&total, (2 * queries + 2) * width * sizeof(float)); /* slots, mean, the running job */
    plan->text_at = place(&total, plan->text_bytes);
    plan->queries_at = place(&total, queries * sizeof(char *) + query_texts);
    plan->trace_at = place(&total, plan->trace_capacity * sizeof(vlj_span));
    plan->events_at =
        place(&total, vlj_event_queue_bytes(plan->event_capacity, config->embedding_width, plan->text_bytes));
    plan->ring_at =
        place(&total, vlj_frame_ring_bytes(vlj_config_frame_bytes(config), plan->window_frames, plan->ring_frames));
    plan->bytes = total;

    size_t workspace = vlj_workspace_bytes(model, plan->query_count, plan->longest_query);
    if (workspace == 0) {
        return vlj_fail(VLJ_E_MEMORY, "%u queries of %u tokens don't fit the address space", plan->query_count,
                        plan->longest_query);
    }
    plan->other_bytes = workspace +
                        vlj_preprocessor_bytes(plan->max_frame_width, plan->max_frame_height, config->resize_short_side,
                                               config->height, config->width) +
                        (plan->text_source == VLJ_TEXT_DECODER ? vlj_decoder_bytes(model) : 0);
    return VLJ_OK;
}

vlj_status vlj_stream_plan_make(const vlj_model *model, const vlj_stream_options *options, vlj_stream_plan *plan) {
    *plan = (vlj_stream_plan){.mode = options->mode, .emit_embeddings = options->emit_embeddings != 0};
    const vlj_config *config = vlj_model_config(model);
    if ((uint32_t)options->mode > VLJ_REALTIME) {
        return vlj_fail(VLJ_E_ARGUMENT, "mode is %u, expected 0 (replay) or 1 (real time)", (uint32_t)options->mode);
    }
    vlj_status status = choose_queries(model, options, plan);
    status = status == VLJ_OK ? choose_texts(model, options, plan) : status;
    status = status == VLJ_OK ? choose_rates(config, options, plan) : status;
    status = status == VLJ_OK ? choose_capacities(config, options, plan) : status;
    if (status == VLJ_OK) {
        vlj_gate_options asked;
        status = options->gate == NULL ? VLJ_OK : vlj_struct_read(&asked, sizeof asked, options->gate, "gate");
        if (status == VLJ_OK) {
            status = vlj_gate_resolve(options->gate == NULL ? NULL : &asked, &config->gate, config->embedding_width,
                                      &plan->gate);
        }
    }
    return status == VLJ_OK ? lay_out(model, plan) : status;
}

vlj_status vlj_query_memory(const vlj_model *model, const vlj_stream_options *options, vlj_memory *memory) {
    if (model == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "model is NULL");
    }
    vlj_stream_options known;
    vlj_stream_plan plan;
    vlj_memory result;
    vlj_status status = vlj_struct_read(&known, sizeof known, options, "stream_options");
    status = status == VLJ_OK ? vlj_stream_plan_make(model, &known, &plan) : status;
    if (status != VLJ_OK) {
        return status;
    }
    VLJ_INIT(result);
    vlj_model_memory(model, &result);
    result.stream_bytes = plan.bytes + plan.other_bytes;
    return vlj_struct_write(memory, &result, sizeof result, "memory");
}
