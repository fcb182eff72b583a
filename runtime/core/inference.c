/* inference.c: encode, predict and text embedding over planned buffers: for streams (workspace) and direct calls. */
#include "inference.h"

#include <string.h>

#include "error.h"
#include "model.h"

/* ---- the runs ---- */

/* One NaN in an embedding would stay in every running mean after it, so it is stopped here. */
static vlj_status check_finite(const float *embeddings, size_t floats, vlj_component component) {
    float sum = 0.0f;
    for (size_t i = 0; i < floats; i++) {
        sum += embeddings[i] * 0.0f; /* 0 for every finite value, else NaN */
    }
    return sum == 0.0f ? VLJ_OK
                       : vlj_fail(VLJ_E_BACKEND_RUN, "component %s gave an embedding with NaN or infinity",
                                  vlj_component_name(component));
}

static vlj_status run_encoder(vlj_model *model, const uint8_t *frames, float *visual_tokens, uint64_t *copied) {
    const vlj_signature *s = vlj_model_signature(model, VLJ_X_ENCODER);
    vlj_tensor input, output;
    vlj_tensor_set(&input, &s->inputs[0], s->inputs[0].shape, (void *)frames); /* engines only read inputs */
    vlj_tensor_set(&output, &s->outputs[0], s->outputs[0].shape, visual_tokens);
    return vlj_model_run_counted(model, VLJ_X_ENCODER, &input, 1, &output, 1, copied);
}

static void set_predictor_inputs(const vlj_model *model, const float *visual_tokens, const float *query_embeddings,
                                 const float *query_mask, uint32_t queries, uint32_t tokens, vlj_tensor inputs[3]) {
    const vlj_signature *s = vlj_model_signature(model, VLJ_PREDICTOR);
    const vlj_config *c = vlj_model_config(model);
    vlj_tensor_set(&inputs[0], &s->inputs[0], s->inputs[0].shape, (void *)visual_tokens);
    vlj_tensor_set(&inputs[1], &s->inputs[1], (const int64_t[]){queries, tokens, c->query_width},
                   (void *)query_embeddings);
    vlj_tensor_set(&inputs[2], &s->inputs[2], (const int64_t[]){queries, tokens}, (void *)query_mask);
}

static vlj_status run_predictor(vlj_model *model, const float *visual_tokens, const float *query_embeddings,
                                const float *query_mask, uint32_t queries, uint32_t tokens, float *embeddings,
                                uint64_t *copied) {
    const vlj_signature *s = vlj_model_signature(model, VLJ_PREDICTOR);
    const vlj_config *c = vlj_model_config(model);
    vlj_tensor inputs[3], output;
    set_predictor_inputs(model, visual_tokens, query_embeddings, query_mask, queries, tokens, inputs);
    vlj_tensor_set(&output, &s->outputs[0], (const int64_t[]){queries, c->embedding_width}, embeddings);
    vlj_status status = vlj_model_run_counted(model, VLJ_PREDICTOR, inputs, 3, &output, 1, copied);
    return status == VLJ_OK ? check_finite(embeddings, (size_t)queries * c->embedding_width, VLJ_PREDICTOR) : status;
}

/* The longest query's tokens, after each was checked. */
static vlj_status check_queries(const vlj_query *queries, uint32_t count, uint32_t most_tokens, uint32_t *longest) {
    if (queries == NULL || count == 0) {
        return vlj_fail(VLJ_E_QUERY, "no query was given");
    }
    *longest = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (queries[i].struct_size != sizeof queries[i]) { /* an array's stride, so it cannot differ */
            return vlj_fail(VLJ_E_ARGUMENT, "queries[%u].struct_size is %u, expected %zu: set it with VLJ_INIT", i,
                            queries[i].struct_size, sizeof queries[i]);
        }
        if (queries[i].embeddings == NULL || queries[i].token_count == 0) {
            return vlj_fail(VLJ_E_QUERY, "query %u is empty", i);
        }
        if (queries[i].token_count > most_tokens) {
            return vlj_fail(VLJ_E_QUERY, "query %u has %u tokens, at most %u fit", i, queries[i].token_count,
                            most_tokens);
        }
        *longest = queries[i].token_count > *longest ? queries[i].token_count : *longest;
    }
    return VLJ_OK;
}

/* Writes embeddings [count, tokens, width] and mask [count, tokens]; shorter queries end in zeros. */
static void pad_queries(const vlj_query *queries, uint32_t count, uint32_t tokens, uint32_t width, float *embeddings,
                        float *mask) {
    for (uint32_t i = 0; i < count; i++) {
        size_t used = queries[i].token_count, padding = tokens - used;
        memcpy(embeddings, queries[i].embeddings, used * width * sizeof(float));
        memset(embeddings + used * width, 0, padding * width * sizeof(float));
        embeddings += (size_t)tokens * width;
        for (uint32_t token = 0; token < tokens; token++) {
            *mask++ = token < used ? 1.0f : 0.0f;
        }
    }
}

/* Adds a part of floats [a, b] to a block; 0 when the sum doesn't fit. */
static int add_part(size_t *bytes, size_t *offset, size_t a, size_t b) {
    size_t size = sizeof(float);
    if (!vlj_size_mul(size, a, &size) || !vlj_size_mul(size, b, &size) || size > SIZE_MAX / 4 ||
        *bytes > SIZE_MAX / 4) {
        return 0;
    }
    *offset = *bytes;
    *bytes += vlj_align_up(size, VLJ_ALIGNMENT);
    return 1;
}

/* ---- workspace ---- */

struct vlj_workspace {
    vlj_model *model;
    const vlj_host *host;
    size_t bytes;
    uint32_t max_queries, max_query_tokens;
    uint32_t query_count, query_tokens; /* Q, and L: the longest of them */
    uint32_t encoded;                   /* a window has been encoded */
    float *visual_tokens;               /* on the backend's device where it keeps them there */
    float *query_embeddings, *query_mask;
    float *embeddings;
    uint64_t encode_copied, predict_copied; /* bytes that the backend copied to and from its own memory */
};

/* Offsets in the one block that holds the struct and its buffers. */
typedef struct plan {
    size_t visual_tokens, query_embeddings, query_mask, embeddings, bytes;
} plan;

static int make_plan(const vlj_model *model, uint32_t queries, uint32_t tokens, plan *p) {
    const vlj_config *c = vlj_model_config(model);
    uint32_t visual_tokens = vlj_model_keeps_tokens(model) ? 0 : c->visual_tokens;
    size_t all_tokens = 0;
    p->bytes = vlj_align_up(sizeof(vlj_workspace), VLJ_ALIGNMENT);
    return vlj_size_mul(queries, tokens, &all_tokens) &&
           add_part(&p->bytes, &p->visual_tokens, visual_tokens, c->visual_width) &&
           add_part(&p->bytes, &p->query_embeddings, all_tokens, c->query_width) &&
           add_part(&p->bytes, &p->query_mask, all_tokens, 1) &&
           add_part(&p->bytes, &p->embeddings, queries, c->embedding_width);
}

size_t vlj_workspace_bytes(const vlj_model *model, uint32_t max_queries, uint32_t max_query_tokens) {
    plan p;
    return make_plan(model, max_queries, max_query_tokens, &p) ? p.bytes : 0;
}

vlj_status vlj_workspace_open(vlj_model *model, const vlj_host *host, uint32_t max_queries, uint32_t max_query_tokens,
                              vlj_workspace **workspace) {
    uint32_t most = vlj_model_config(model)->max_query_tokens;
    plan p;
    *workspace = NULL;
    if (max_queries == 0 || max_query_tokens == 0 || max_query_tokens > most) {
        return vlj_fail(VLJ_E_QUERY, "%u queries of up to %u tokens, expected at least one query of 1 to %u tokens",
                        max_queries, max_query_tokens, most);
    }
    if (!make_plan(model, max_queries, max_query_tokens, &p)) {
        return vlj_fail(VLJ_E_MEMORY, "%u queries of %u tokens do not fit in memory", max_queries, max_query_tokens);
    }
    uint8_t *block = vlj_alloc(host, p.bytes, 0);
    if (block == NULL) {
        return vlj_fail(VLJ_E_MEMORY, "no memory for %zu bytes of encode and predict buffers", p.bytes);
    }
    vlj_workspace *made = (vlj_workspace *)block;
    made->model = model;
    made->host = host;
    made->bytes = p.bytes;
    made->max_queries = max_queries;
    made->max_query_tokens = max_query_tokens;
    made->visual_tokens = (float *)(block + p.visual_tokens);
    made->query_embeddings = (float *)(block + p.query_embeddings);
    made->query_mask = (float *)(block + p.query_mask);
    made->embeddings = (float *)(block + p.embeddings);
    if (vlj_model_keeps_tokens(model)) {
        const vlj_config *c = vlj_model_config(model);
        size_t bytes = (size_t)c->visual_tokens * c->visual_width * sizeof(float); /* config.c bounds it */
        made->visual_tokens = vlj_model_device_alloc(model, bytes);
        if (made->visual_tokens == NULL) {
            vlj_free(host, block, p.bytes);
            return vlj_fail(VLJ_E_MEMORY, "no memory on the device for %zu bytes of visual tokens", bytes);
        }
    }
    *workspace = made;
    return VLJ_OK;
}

vlj_status vlj_workspace_set_queries(vlj_workspace *workspace, const vlj_query *queries, uint32_t count) {
    uint32_t longest = 0;
    if (count > workspace->max_queries) {
        return vlj_fail(VLJ_E_QUERY, "%u queries, at most %u were planned for", count, workspace->max_queries);
    }
    vlj_status status = check_queries(queries, count, workspace->max_query_tokens, &longest);
    if (status == VLJ_OK) {
        pad_queries(queries, count, longest, vlj_model_config(workspace->model)->query_width,
                    workspace->query_embeddings, workspace->query_mask);
        workspace->query_count = count;
        workspace->query_tokens = longest;
        vlj_tensor inputs[3];
        set_predictor_inputs(workspace->model, workspace->visual_tokens, workspace->query_embeddings,
                             workspace->query_mask, count, longest, inputs);
        vlj_model_prepare(workspace->model, VLJ_PREDICTOR, inputs, 3);
    }
    return status;
}

vlj_status vlj_workspace_encode(vlj_workspace *workspace, const uint8_t *frames) {
    vlj_status status = run_encoder(workspace->model, frames, workspace->visual_tokens, &workspace->encode_copied);
    workspace->encoded = status == VLJ_OK;
    return status;
}

vlj_status vlj_workspace_predict(vlj_workspace *workspace, const float **embeddings) {
    if (workspace->query_count == 0 || !workspace->encoded) {
        return vlj_fail(VLJ_E_STATE, "predict needs %s first", workspace->encoded ? "queries" : "an encoded window");
    }
    *embeddings = workspace->embeddings;
    return run_predictor(workspace->model, workspace->visual_tokens, workspace->query_embeddings, workspace->query_mask,
                         workspace->query_count, workspace->query_tokens, workspace->embeddings,
                         &workspace->predict_copied);
}

void vlj_workspace_copied(const vlj_workspace *workspace, uint64_t *encode_bytes, uint64_t *predict_bytes) {
    *encode_bytes = workspace->encode_copied;
    *predict_bytes = workspace->predict_copied;
}

void vlj_workspace_close(vlj_workspace *workspace) {
    if (workspace != NULL) {
        if (vlj_model_keeps_tokens(workspace->model)) {
            vlj_model_device_free(workspace->model, workspace->visual_tokens);
        }
        vlj_free(workspace->host, workspace, workspace->bytes);
    }
}

/* ---- direct calls ---- */

static vlj_status check_floats(const char *what, size_t found, size_t expected) {
    return found >= expected
               ? VLJ_OK
               : vlj_fail(VLJ_E_BUFFER, "%s has room for %zu floats, expected %zu", what, found, expected);
}

static size_t visual_floats_of(const vlj_config *c) {
    return (size_t)c->visual_tokens * c->visual_width;
}

vlj_status vlj_encode_window(vlj_model *model, const uint8_t *frames, size_t frame_bytes, float *visual_tokens,
                             size_t visual_floats) {
    if (model == NULL || frames == NULL || visual_tokens == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "vlj_encode_window: %s is NULL",
                        model == NULL    ? "model"
                        : frames == NULL ? "frames"
                                         : "visual_tokens");
    }
    const vlj_config *c = vlj_model_config(model);
    if (frame_bytes != vlj_config_window_bytes(c)) {
        return vlj_fail(VLJ_E_ARGUMENT, "frames has %zu bytes, a window [%u, 3, %u, %u] has %zu", frame_bytes,
                        c->frames, c->height, c->width, vlj_config_window_bytes(c));
    }
    uint64_t copied = 0; /* nobody asks */
    vlj_status status = check_floats("visual_tokens", visual_floats, visual_floats_of(c));
    return status == VLJ_OK ? run_encoder(model, frames, visual_tokens, &copied) : status;
}

/* Padded queries of vlj_predict: made at the first call and grown when a call needs more. */
typedef struct query_buffer {
    const vlj_host *host;
    float *floats;
    size_t bytes;
} query_buffer;

static void close_query_buffer(void *object) {
    query_buffer *buffer = object;
    vlj_free(buffer->host, buffer->floats, buffer->bytes);
    vlj_free(buffer->host, buffer, sizeof *buffer);
}

static vlj_status grow_query_buffer(vlj_lazy_slot *slot, const vlj_host *host, size_t bytes, query_buffer **buffer) {
    if (slot->object == NULL) {
        slot->object = vlj_alloc(host, sizeof(query_buffer), 0);
        slot->close = close_query_buffer;
        if (slot->object != NULL) {
            ((query_buffer *)slot->object)->host = host;
        }
    }
    query_buffer *found = slot->object;
    if (found != NULL && found->bytes < bytes) {
        vlj_free(host, found->floats, found->bytes);
        found->floats = vlj_alloc(host, bytes, 0);
        found->bytes = found->floats != NULL ? bytes : 0;
    }
    *buffer = found;
    return found != NULL && found->floats != NULL ? VLJ_OK
                                                  : vlj_fail(VLJ_E_MEMORY, "no memory for %zu bytes of queries", bytes);
}

vlj_status vlj_predict(vlj_model *model, const float *visual_tokens, size_t visual_floats, const vlj_query *queries,
                       uint32_t query_count, float *embeddings, size_t embedding_floats) {
    if (model == NULL || visual_tokens == NULL || embeddings == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "vlj_predict: %s is NULL",
                        model == NULL           ? "model"
                        : visual_tokens == NULL ? "visual_tokens"
                                                : "embeddings");
    }
    const vlj_config *c = vlj_model_config(model);
    if (visual_floats != visual_floats_of(c)) {
        return vlj_fail(VLJ_E_ARGUMENT, "visual_tokens has %zu floats, expected %zu", visual_floats,
                        visual_floats_of(c));
    }
    uint32_t longest = 0;
    vlj_status status = check_queries(queries, query_count, c->max_query_tokens, &longest);
    if (status == VLJ_OK) {
        status = check_floats("embeddings", embedding_floats, (size_t)query_count * c->embedding_width);
    }
    if (status != VLJ_OK) {
        return status;
    }
    size_t bytes = 0, rows_at = 0, mask_at = 0, tokens = 0;
    if (!vlj_size_mul(query_count, longest, &tokens) || !add_part(&bytes, &rows_at, tokens, c->query_width) ||
        !add_part(&bytes, &mask_at, tokens, 1)) {
        return vlj_fail(VLJ_E_MEMORY, "%u queries of %u tokens do not fit in memory", query_count, longest);
    }
    vlj_lazy_slot *slot = vlj_model_lazy(model, VLJ_LAZY_PREDICT);
    pthread_mutex_lock(&slot->mutex);
    query_buffer *buffer = NULL;
    status = grow_query_buffer(slot, vlj_model_host(model), bytes, &buffer);
    if (status == VLJ_OK) {
        float *rows = buffer->floats + rows_at / sizeof(float), *mask = buffer->floats + mask_at / sizeof(float);
        pad_queries(queries, query_count, longest, c->query_width, rows, mask);
        uint64_t copied = 0;
        status = run_predictor(model, visual_tokens, rows, mask, query_count, longest, embeddings, &copied);
    }
    pthread_mutex_unlock(&slot->mutex);
    return status;
}

vlj_status vlj_embed_tokens(vlj_model *model, const int64_t *token_ids, uint32_t token_count, float *embedding,
                            size_t embedding_floats) {
    if (model == NULL || token_ids == NULL || embedding == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "vlj_embed_tokens: %s is NULL",
                        model == NULL       ? "model"
                        : token_ids == NULL ? "token_ids"
                                            : "embedding");
    }
    const vlj_config *c = vlj_model_config(model);
    if (token_count == 0 || token_count > c->text_max_tokens) {
        return vlj_fail(VLJ_E_QUERY, "a text of %u tokens, the Y-Encoder takes 1 to %u", token_count,
                        c->text_max_tokens);
    }
    vlj_status status = check_floats("embedding", embedding_floats, c->embedding_width);
    if (status != VLJ_OK) {
        return status;
    }
    const vlj_signature *s = vlj_model_signature(model, VLJ_Y_ENCODER);
    vlj_tensor input, output;
    vlj_tensor_set(&input, &s->inputs[0], (const int64_t[]){1, token_count}, (void *)token_ids);
    vlj_tensor_set(&output, &s->outputs[0], s->outputs[0].shape, embedding);
    status = vlj_model_run(model, VLJ_Y_ENCODER, &input, 1, &output, 1);
    return status == VLJ_OK ? check_finite(embedding, c->embedding_width, VLJ_Y_ENCODER) : status;
}
