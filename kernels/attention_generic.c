/* attention_generic.c: attention in portable C and float32, for heads of any even width. */
#include <math.h>
#include <string.h>

#include "attention_kernels.h"

static size_t scratch_bytes(const vlj_attention *a) {
    return (2 * a->tokens * a->width + 2 * a->width + a->tokens) * sizeof(float); /* keys, values, two rows, scores */
}

/* A row of one head. */
static void load(const vlj_attention *a, size_t token, size_t head, float *row) {
    size_t at = (token * (a->heads + 2 * a->kv_heads) + head) * a->width;
    for (size_t d = 0; d < a->width; d++) {
        if (a->qkv_is_bfloat16) {
            uint32_t bits = (uint32_t)((const uint16_t *)a->qkv)[at + d] << 16;
            memcpy(&row[d], &bits, sizeof bits);
        } else {
            row[d] = ((const float *)a->qkv)[at + d];
        }
    }
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

static void store(const vlj_attention *a, size_t token, size_t head, const float *row) {
    size_t at = (token * a->heads + head) * a->width;
    for (size_t d = 0; d < a->width; d++) {
        if (a->out_scale == 0.0f) {
            ((float *)a->out)[at + d] = row[d];
        } else {
            float steps = row[d] / a->out_scale;
            steps = steps > 127.0f ? 127.0f : steps > -128.0f ? steps : -128.0f; /* NaN too */
            ((int8_t *)a->out)[at + d] = (int8_t)rintf(steps);
        }
    }
}

static void run(const vlj_attention *a, size_t first, size_t count, void *scratch) {
    size_t n = a->tokens, width = a->width, group = a->heads / a->kv_heads;
    float *keys = scratch, *values = keys + n * width, *row = values + n * width, *query = row + width;
    float *scores = query + width;
    for (size_t h = first; h < first + count; h++) {
        for (size_t j = 0; j < n && (h == first || h % group == 0); j++) {
            load(a, j, a->heads + h / group, row);
            rotate(a, row, j, keys + j * width);
            load(a, j, a->heads + a->kv_heads + h / group, values + j * width);
        }
        for (size_t i = 0; i < n; i++) {
            load(a, i, h, row);
            rotate(a, row, i, query);
            for (size_t j = 0; j < n; j++) {
                scores[j] = 0.0f;
                for (size_t d = 0; d < width; d++) {
                    scores[j] += query[d] * keys[j * width + d];
                }
            }
            softmax(a->mask, n, scores);
            memset(row, 0, width * sizeof *row);
            for (size_t j = 0; j < n; j++) {
                for (size_t d = 0; d < width; d++) {
                    row[d] += scores[j] * values[j * width + d];
                }
            }
            store(a, i, h, row);
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
