/* decoder.c: greedy decode by a prefix LM. The embedding becomes K soft tokens, which see one another; then one token
 * after the other, over a KV cache of fixed length whose unused columns the attention mask hides.
 *
 * All buffers are made at open, in one allocation, and each engine run gets the same ones: nothing is allocated per
 * decode.
 */
#include "decoder.h"

#include <math.h>
#include <string.h>

#include "abi.h"
#include "decoder_text.h"
#include "model.h"
#include "sections.h"

#define HIDDEN (-1e9f) /* additive mask: exp() of it is 0, and a sum of two doesn't overflow */

struct vlj_decoder {
    vlj_model *model;
    const vlj_host *host;
    const vlj_config *config;
    size_t bytes; /* of this allocation */
    vlj_text_table vocabulary;
    vlj_matrix token_embeddings;
    uint32_t past;      /* cache columns in use */
    float *embedding;   /* [E] */
    float *inputs;      /* [K + 1, W]: soft tokens and the begin token, then one token */
    int64_t *positions; /* [K + 1] */
    float *mask;        /* [K + 1, C + K + 1] */
    float *kv_cache;    /* [P, G, C, H] */
    float *kv_new;      /* [P, G, K + 1, H] */
    float *logits;      /* [V] */
};

/* Offsets of the buffers, in the order of the struct; the last is the total. */
enum { EMBEDDING, INPUTS, POSITIONS, MASK, KV_CACHE, KV_NEW, LOGITS, TOTAL, PARTS };

/* The config bounds every dimension and the cache's bytes; what products remain are checked here. 0: they don't fit. */
static int plan_layout(const vlj_config *c, size_t offsets[PARTS]) {
    size_t prompt = (size_t)c->decoder_prefix_tokens + 1u, heads = (size_t)c->decoder_planes * c->decoder_kv_heads;
    const size_t counts[TOTAL][3] = {
        [EMBEDDING] = {1, c->embedding_width, sizeof(float)},
        [INPUTS] = {prompt, c->decoder_width, sizeof(float)},
        [POSITIONS] = {1, prompt, sizeof(int64_t)},
        [MASK] = {prompt, c->decoder_cache_length + prompt, sizeof(float)},
        [KV_CACHE] = {heads, (size_t)c->decoder_cache_length * c->decoder_head_dim, sizeof(float)},
        [KV_NEW] = {heads, prompt * c->decoder_head_dim, sizeof(float)},
        [LOGITS] = {1, c->decoder_vocabulary, sizeof(float)},
    };
    size_t at = vlj_align_up(sizeof(vlj_decoder), VLJ_ALIGNMENT);
    for (int i = 0; i < TOTAL; i++) {
        size_t bytes;
        offsets[i] = at;
        if (!vlj_size_mul(counts[i][0], counts[i][1], &bytes) || !vlj_size_mul(bytes, counts[i][2], &bytes) ||
            bytes > SIZE_MAX / 2 || !vlj_size_add(at, vlj_align_up(bytes, VLJ_ALIGNMENT), &at)) {
            return 0;
        }
    }
    offsets[TOTAL] = at;
    return 1;
}

size_t vlj_decoder_bytes(const vlj_model *model) {
    size_t offsets[PARTS];
    const vlj_config *config = vlj_model_config(model);
    return config->decoder_vocabulary > 0 && plan_layout(config, offsets) ? offsets[TOTAL] : 0;
}

/* The tables' sizes are checked against the config when the model is opened. */
static vlj_status read_tables(vlj_decoder *decoder) {
    const vlj_index *index = vlj_model_index(decoder->model);
    vlj_section section;
    vlj_status status = vlj_index_find(index, VLJ_SECTION_VOCABULARY, "y_decoder", &section);
    if (status == VLJ_OK) {
        status = vlj_read_vocabulary(index, &section, &decoder->vocabulary);
    }
    if (status == VLJ_OK) {
        status = vlj_index_find(index, VLJ_SECTION_TOKEN_EMBEDDINGS, "y_decoder", &section);
    }
    if (status == VLJ_OK) {
        status = vlj_read_token_embeddings(index, &section, &decoder->token_embeddings);
    }
    return status;
}

vlj_status vlj_decoder_open(vlj_model *model, const vlj_host *host, vlj_decoder **decoder) {
    *decoder = NULL;
    const vlj_config *config = vlj_model_config(model);
    if (!vlj_model_has(model, VLJ_Y_DECODER_PREFIX) || !vlj_model_has(model, VLJ_Y_DECODER)) {
        return vlj_fail(VLJ_E_BUNDLE_MISSING,
                        "%s: the Y-Decoder is not open: the bundle has none, or component_mask leaves it out",
                        vlj_index_path(vlj_model_index(model)));
    }
    size_t offsets[PARTS];
    if (!plan_layout(config, offsets)) {
        return vlj_fail(VLJ_E_MEMORY, "the Y-Decoder's buffers don't fit in memory");
    }
    uint8_t *memory = vlj_alloc(host, offsets[TOTAL], VLJ_ALIGNMENT);
    if (memory == NULL) {
        return vlj_fail(VLJ_E_MEMORY, "no memory for a Y-Decoder (%zu bytes)", offsets[TOTAL]);
    }
    vlj_decoder *made = (vlj_decoder *)memory;
    made->model = model;
    made->host = host;
    made->config = config;
    made->bytes = offsets[TOTAL];
    made->embedding = (float *)(memory + offsets[EMBEDDING]);
    made->inputs = (float *)(memory + offsets[INPUTS]);
    made->positions = (int64_t *)(memory + offsets[POSITIONS]);
    made->mask = (float *)(memory + offsets[MASK]);
    made->kv_cache = (float *)(memory + offsets[KV_CACHE]);
    made->kv_new = (float *)(memory + offsets[KV_NEW]);
    made->logits = (float *)(memory + offsets[LOGITS]);
    vlj_status status = read_tables(made);
    if (status != VLJ_OK) {
        vlj_decoder_close(made);
        return status;
    }
    *decoder = made;
    return VLJ_OK;
}

void vlj_decoder_close(vlj_decoder *decoder) {
    if (decoder != NULL) {
        vlj_free(decoder->host, decoder, decoder->bytes);
    }
}

static float *cache_row(const vlj_decoder *d, size_t head) {
    return d->kv_cache + head * d->config->decoder_cache_length * d->config->decoder_head_dim;
}

static size_t cache_heads(const vlj_config *c) {
    return (size_t)c->decoder_planes * c->decoder_kv_heads;
}

/* Hidden columns have weight 0, but 0 * NaN is NaN: what an earlier text left behind must be finite, so it goes. */
static void clear_cache(vlj_decoder *d) {
    for (size_t head = 0; head < cache_heads(d->config); head++) {
        memset(cache_row(d, head), 0, (size_t)d->past * d->config->decoder_head_dim * sizeof(float));
    }
    d->past = 0;
}

static void append_to_cache(vlj_decoder *d, uint32_t tokens) {
    size_t width = d->config->decoder_head_dim, new_floats = tokens * width;
    for (size_t head = 0; head < cache_heads(d->config); head++) {
        memcpy(cache_row(d, head) + d->past * width, d->kv_new + head * new_floats, new_floats * sizeof(float));
    }
    d->past += tokens;
}

/* Mask [tokens, C + tokens] over the cache's columns, then the new tokens' own. All but the last of a prompt are soft
 * tokens: they see one another, before and after. The last token sees everything, itself included. */
static void fill_mask(const vlj_decoder *d, uint32_t tokens) {
    uint32_t cache_length = d->config->decoder_cache_length;
    float *row = d->mask;
    for (uint32_t i = 0; i < tokens; i++, row += cache_length + tokens) {
        for (uint32_t column = 0; column < cache_length; column++) {
            row[column] = column < d->past ? 0.0f : HIDDEN;
        }
        for (uint32_t j = 0; j < tokens; j++) {
            row[cache_length + j] = j + 1 < tokens || i + 1 == tokens ? 0.0f : HIDDEN;
        }
    }
}

/* Runs the first `tokens` rows of inputs at the next positions: logits of the last, and the cache grown by all. */
static vlj_status run_tokens(vlj_decoder *d, uint32_t tokens) {
    const vlj_config *c = d->config;
    const vlj_signature *s = vlj_model_signature(d->model, VLJ_Y_DECODER);
    for (uint32_t i = 0; i < tokens; i++) {
        d->positions[i] = (int64_t)d->past + i;
    }
    fill_mask(d, tokens);
    vlj_tensor inputs[4], outputs[2];
    vlj_tensor_set(&inputs[0], &s->inputs[0], (const int64_t[]){1, tokens, c->decoder_width}, d->inputs);
    vlj_tensor_set(&inputs[1], &s->inputs[1], (const int64_t[]){tokens}, d->positions);
    vlj_tensor_set(&inputs[2], &s->inputs[2], (const int64_t[]){tokens, (int64_t)c->decoder_cache_length + tokens},
                   d->mask);
    vlj_tensor_set(&inputs[3], &s->inputs[3], s->inputs[3].shape, d->kv_cache);
    vlj_tensor_set(&outputs[0], &s->outputs[0], s->outputs[0].shape, d->logits);
    vlj_tensor_set(&outputs[1], &s->outputs[1],
                   (const int64_t[]){c->decoder_planes, c->decoder_kv_heads, tokens, c->decoder_head_dim}, d->kv_new);
    vlj_status status = vlj_model_run(d->model, VLJ_Y_DECODER, inputs, 4, outputs, 2);
    if (status == VLJ_OK) {
        append_to_cache(d, tokens);
    }
    return status;
}

/* Soft tokens of the embedding, and the begin token after them. */
static vlj_status run_prompt(vlj_decoder *d, const float *embedding) {
    const vlj_config *c = d->config;
    const vlj_signature *s = vlj_model_signature(d->model, VLJ_Y_DECODER_PREFIX);
    memcpy(d->embedding, embedding, c->embedding_width * sizeof(float));
    vlj_tensor input, output;
    vlj_tensor_set(&input, &s->inputs[0], s->inputs[0].shape, d->embedding);
    vlj_tensor_set(&output, &s->outputs[0], s->outputs[0].shape, d->inputs);
    vlj_status status = vlj_model_run(d->model, VLJ_Y_DECODER_PREFIX, &input, 1, &output, 1);
    if (status != VLJ_OK) {
        return status;
    }
    vlj_matrix_row(&d->token_embeddings, c->begin_token,
                   d->inputs + (size_t)c->decoder_prefix_tokens * c->decoder_width);
    return run_tokens(d, c->decoder_prefix_tokens + 1u);
}

/* The most likely token (the lowest of equals) and the natural log of its probability. */
static vlj_status choose_token(const vlj_decoder *d, uint32_t *token, double *logprob) {
    uint32_t best = 0, count = d->config->decoder_vocabulary;
    for (uint32_t i = 1; i < count; i++) {
        best = d->logits[i] > d->logits[best] ? i : best;
    }
    double sum = 0.0;
    for (uint32_t i = 0; i < count; i++) {
        float below = d->logits[i] - d->logits[best];
        sum += below > -30.0f || isnan(below) ? (double)expf(below) : 0.0; /* e^-30 of the best: nothing */
    }
    if (!isfinite(sum) || !isfinite(d->logits[best])) {
        return vlj_fail(VLJ_E_BACKEND_RUN, "component y_decoder gave logits with NaN or infinity");
    }
    *token = best;
    *logprob = -log(sum);
    return VLJ_OK;
}

static int is_cancelled(const atomic_uint *generation, unsigned expected) {
    return generation != NULL && atomic_load_explicit(generation, memory_order_acquire) != expected;
}

/* Tokens until the end token, the limit, a full buffer or a cancel. */
static vlj_status generate(vlj_decoder *d, const atomic_uint *generation, unsigned expected, vlj_decoder_text *text,
                           vlj_decode_result *result) {
    double logprobs = 0.0;
    for (;;) {
        uint32_t token = 0;
        double logprob = 0.0;
        vlj_status status = choose_token(d, &token, &logprob);
        if (status != VLJ_OK) {
            return status;
        }
        result->complete = token == d->config->end_token;
        if (!result->complete && !vlj_decoder_text_append(text, &d->vocabulary, token)) {
            break; /* the buffer is full: a token that is told in part is not counted */
        }
        logprobs += logprob;
        result->token_count += !result->complete;
        result->mean_logprob = (float)(logprobs / (result->token_count + result->complete));
        if (result->complete || result->token_count == d->config->max_new_tokens) {
            break;
        }
        if (is_cancelled(generation, expected)) {
            return vlj_fail(VLJ_E_CANCELLED, "the decode was cancelled after %u tokens", result->token_count);
        }
        vlj_matrix_row(&d->token_embeddings, token, d->inputs);
        status = run_tokens(d, 1);
        if (status != VLJ_OK) {
            return status;
        }
    }
    return VLJ_OK;
}

vlj_status vlj_decoder_run(vlj_decoder *d, const float *embedding, const atomic_uint *generation, unsigned expected,
                           char *text, size_t text_bytes, vlj_decode_result *result) {
    if (text == NULL || text_bytes == 0) {
        return vlj_fail(text == NULL ? VLJ_E_ARGUMENT : VLJ_E_BUFFER, "text has no room for even a NUL");
    }
    text[0] = '\0';
    if (is_cancelled(generation, expected)) {
        return vlj_fail(VLJ_E_CANCELLED, "the decode was cancelled before it began");
    }
    vlj_decode_result found = {0};
    vlj_decoder_text written = {.bytes = text, .capacity = text_bytes};
    int64_t start_ns = vlj_now(d->host);
    clear_cache(d);
    vlj_status status = run_prompt(d, embedding);
    int64_t prompt_ns = vlj_now(d->host);
    if (status == VLJ_OK && is_cancelled(generation, expected)) {
        status = vlj_fail(VLJ_E_CANCELLED, "the decode was cancelled after its prompt");
    }
    if (status == VLJ_OK) {
        status = generate(d, generation, expected, &written, &found);
    }
    if (status != VLJ_OK) {
        text[0] = '\0';
        return status;
    }
    vlj_decoder_text_finish(&written);
    found.prefill_ns = prompt_ns - start_ns;
    found.tokens_ns = vlj_now(d->host) - prompt_ns;
    return vlj_struct_write(result, &found, sizeof found, "result");
}

static void close_lazy(void *decoder) {
    vlj_decoder_close(decoder);
}

vlj_status vlj_decode(vlj_model *model, const float *embedding, size_t embedding_floats, char *text, size_t text_bytes,
                      vlj_decode_result *result) {
    if (model == NULL || embedding == NULL || result == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "vlj_decode: %s is NULL",
                        model == NULL       ? "model"
                        : embedding == NULL ? "embedding"
                                            : "result");
    }
    uint32_t width = vlj_model_config(model)->embedding_width;
    if (embedding_floats != width) {
        return vlj_fail(VLJ_E_ARGUMENT, "embedding has %zu floats, expected %u", embedding_floats, width);
    }
    vlj_lazy_slot *slot = vlj_model_lazy(model, VLJ_LAZY_DECODER);
    pthread_mutex_lock(&slot->mutex);
    vlj_status status = VLJ_OK;
    if (slot->object == NULL) {
        vlj_decoder *made = NULL;
        status = vlj_decoder_open(model, vlj_model_host(model), &made);
        slot->object = made;
        slot->close = close_lazy;
    }
    if (status == VLJ_OK) {
        status = vlj_decoder_run(slot->object, embedding, NULL, 0, text, text_bytes, result);
    }
    pthread_mutex_unlock(&slot->mutex);
    return status;
}
