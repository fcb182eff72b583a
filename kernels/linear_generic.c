/* linear_generic.c: the linear map in plain C, and what the others are tested against. */
#include <math.h>
#include <string.h>

#include "linear_kernels.h"

static float value(const void *from, vlj_linear_type type, size_t at) {
    if (type == VLJ_LINEAR_BFLOAT16) {
        uint32_t bits = (uint32_t)((const uint16_t *)from)[at] << 16;
        float x;
        memcpy(&x, &bits, sizeof x);
        return x;
    }
    return ((const float *)from)[at];
}

static uint16_t to_bfloat16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (x != x) {
        return (uint16_t)(bits >> 16 | 0x40u);
    }
    return (uint16_t)((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

/* What is no number becomes the least one, as conversions of x86 have it. */
static int8_t to_int8(float x) {
    return x >= 127.0f ? INT8_MAX : x > -128.0f ? (int8_t)rintf(x) : INT8_MIN;
}

static size_t scratch_bytes(const vlj_linear *l) {
    return (l->inner + 63) / 64 * 64;
}

static void round_row(const vlj_linear *l, size_t row, int8_t *to) {
    const size_t at = row * l->inner, n = l->inner;
    double mean = 0.0, square = 0.0;
    if (l->in_type == VLJ_LINEAR_INT8) {
        memcpy(to, (const int8_t *)l->in + at, n);
        return;
    }
    for (size_t k = 0; k < n && l->norm == VLJ_LINEAR_LAYER_NORM; k++) {
        mean += (double)value(l->in, l->in_type, at + k) / (double)n;
    }
    for (size_t k = 0; k < n && l->norm != VLJ_LINEAR_NO_NORM; k++) {
        double x = (double)value(l->in, l->in_type, at + k) - mean;
        square += x * x / (double)n;
    }
    float factor = (float)(1.0 / sqrt(square + (double)l->epsilon));
    for (size_t k = 0; k < n; k++) {
        float x = value(l->in, l->in_type, at + k);
        if (l->norm != VLJ_LINEAR_NO_NORM) {
            x = (x - (float)mean) * factor * l->norm_weight[k] + (l->norm_bias != NULL ? l->norm_bias[k] : 0.0f);
        }
        to[k] = to_int8(x / l->in_scale);
    }
}

static float activated(vlj_linear_activation activation, float x) {
    switch (activation) {
    case VLJ_LINEAR_GELU: return 0.5f * x * (1.0f + erff(x * 0.70710678f));
    case VLJ_LINEAR_SILU: return x / (1.0f + expf(-x));
    default: return x;
    }
}

static void put(const vlj_linear *l, size_t at, float x) {
    switch (l->out_type) {
    case VLJ_LINEAR_INT8: ((int8_t *)l->out)[at] = to_int8(x / l->out_scale); break;
    case VLJ_LINEAR_BFLOAT16: ((uint16_t *)l->out)[at] = to_bfloat16(x); break;
    default: ((float *)l->out)[at] = x;
    }
}

static void run(const vlj_linear *l, size_t first, size_t count, void *scratch) {
    int8_t *row = scratch;
    for (size_t r = first; r < first + count; r++) {
        round_row(l, r, row);
        for (size_t c = 0; c < l->columns; c++) {
            const int8_t *w = l->weights + c / 16 * 16 * l->inner + c % 16 * 4;
            int32_t sum = 0;
            for (size_t k = 0; k < l->inner; k++) {
                sum += row[k] * w[k / 4 * 64 + k % 4];
            }
            size_t at = r * l->columns + c;
            float x = (float)sum * l->scale[c] + (l->bias != NULL ? l->bias[c] : 0.0f);
            x = activated(l->activation, x);
            x *= l->factor != NULL ? value(l->factor, VLJ_LINEAR_BFLOAT16, at) : 1.0f;
            x += l->sum != NULL ? l->sum[at] : 0.0f;
            put(l, at, x);
        }
    }
}

const vlj_linear_kernels vlj_linear_generic = {
    .name = "generic",
    .isa = VLJ_ISA_GENERIC,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
