/* attention_generic.c: attention in portable C and float32, for heads of any even width. */
#include <math.h>

#include "attention_kernels.h"

static size_t scratch_bytes(const vlj_attention *a) {
    return (a->tokens * a->width + a->width + a->tokens) * sizeof(float); /* keys, a query, its scores */
}

static void rotate(const vlj_attention *a, const float *x, size_t token, float *rotated) {
    const float *c = a->cosine + token * a->width, *s = a->sine + token * a->width;
    size_t half = a->width / 2;
    for (size_t d = 0; d < half; d++) {
        rotated[d] = x[d] * c[d] + x[d + half] * s[d];
        rotated[d + half] = x[d + half] * c[d + half] + x[d] * s[d + half];
    }
}

/* Scores become weights that sum to 1. */
static void softmax(const float *mask, size_t n, float *scores) {
    float most = -INFINITY;
    double sum = 0.0;
    for (size_t j = 0; j < n; j++) {
        scores[j] += mask != NULL ? mask[j] : 0.0f;
        most = scores[j] > most || scores[j] != scores[j] ? scores[j] : most; /* NaN stays: the row becomes NaN */
    }
    for (size_t j = 0; j < n; j++) {
        scores[j] = expf(scores[j] - most);
        sum += (double)scores[j];
    }
    for (size_t j = 0; j < n; j++) {
        scores[j] = (float)((double)scores[j] / sum);
    }
}

static void run(const vlj_attention *a, size_t first, size_t count, void *scratch) {
    size_t n = a->tokens, width = a->width, group = a->heads / a->kv_heads;
    size_t row = (a->heads + 2 * a->kv_heads) * width;
    float *keys = scratch, *query = keys + n * width, *scores = query + width;
    for (size_t h = first; h < first + count; h++) {
        size_t kv = h / group;
        const float *key = a->qkv + (a->heads + kv) * width, *value = key + a->kv_heads * width;
        for (size_t j = 0; j < n && (h == first || h % group == 0); j++) {
            rotate(a, key + j * row, j, keys + j * width);
        }
        for (size_t i = 0; i < n; i++) {
            float *out = a->out + (i * a->heads + h) * width;
            rotate(a, a->qkv + i * row + h * width, i, query);
            for (size_t j = 0; j < n; j++) {
                scores[j] = 0.0f;
                for (size_t d = 0; d < width; d++) {
                    scores[j] += query[d] * keys[j * width + d];
                }
            }
            softmax(a->mask, n, scores);
            for (size_t d = 0; d < width; d++) {
                out[d] = 0.0f;
            }
            for (size_t j = 0; j < n; j++) {
                for (size_t d = 0; d < width; d++) {
                    out[d] += scores[j] * value[j * row + d];
                }
            }
        }
    }
}

const vlj_attention_kernels vlj_attention_generic = {
    .name = "generic",
    .isa = VLJ_ISA_GENERIC,
    .width = 0,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
