/* linear_amx_pack.h: rows, normed and rounded to INT8, into tiles of 16 rows by 64 values: [rows / 16][inner / 64]. */
#ifndef VLJ_KERNELS_LINEAR_AMX_PACK_H
#define VLJ_KERNELS_LINEAR_AMX_PACK_H

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "linear.h"

#define AMX __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512bf16,amx-tile,amx-int8,fma")))
#define AMX_INLINE AMX static inline __attribute__((always_inline))

enum { BLOCK = 32, TILE = 1024 }; /* rows or columns that are worked on at once; bytes */

/* 16 values from element `at`. */
AMX_INLINE __m512 load_16(const void *from, vlj_linear_type type, size_t at) {
    if (type == VLJ_LINEAR_BFLOAT16) {
        __m256i halves = _mm256_loadu_si256((const void *)((const uint16_t *)from + at));
        return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16);
    }
    return _mm512_loadu_ps((const float *)from + at);
}

/* Of a row: what is taken off each value, and what the difference is multiplied by. */
AMX_INLINE void norm_of(const vlj_linear *l, vlj_linear_type type, size_t at, float *offset, float *factor) {
    __m512 sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()}, squares[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    float n = (float)l->inner;
    *offset = 0.0f;
    if (l->norm == VLJ_LINEAR_LAYER_NORM) {
        for (size_t k = 0; k < l->inner; k += 32) {
            sum[0] = _mm512_add_ps(sum[0], load_16(l->in, type, at + k));
            sum[1] = _mm512_add_ps(sum[1], load_16(l->in, type, at + k + 16));
        }
        *offset = _mm512_reduce_add_ps(_mm512_add_ps(sum[0], sum[1])) / n;
    }
    __m512 mean = _mm512_set1_ps(*offset); /* in two passes: a difference of large sums would lose digits */
    for (size_t k = 0; k < l->inner; k += 32) {
        __m512 x = _mm512_sub_ps(load_16(l->in, type, at + k), mean);
        __m512 y = _mm512_sub_ps(load_16(l->in, type, at + k + 16), mean);
        squares[0] = _mm512_fmadd_ps(x, x, squares[0]);
        squares[1] = _mm512_fmadd_ps(y, y, squares[1]);
    }
    *factor = 1.0f / sqrtf(_mm512_reduce_add_ps(_mm512_add_ps(squares[0], squares[1])) / n + l->epsilon);
}

AMX_INLINE __m128i rounded(__m512 x) {
    return _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x));
}

AMX_INLINE void pack_floats(const vlj_linear *l, vlj_linear_type type, size_t row, int8_t *to) {
    const size_t at = row * l->inner;
    const __m512 steps = _mm512_set1_ps(1.0f / l->in_scale), zero = _mm512_setzero_ps();
    float offset, factor;
    if (l->norm == VLJ_LINEAR_NO_NORM) {
        for (size_t k = 0; k < l->inner; k += 16) {
            __m128i bytes = rounded(_mm512_mul_ps(load_16(l->in, type, at + k), steps));
            _mm_store_si128((void *)(to + k / 64 * TILE + k % 64), bytes);
        }
        return;
    }
    norm_of(l, type, at, &offset, &factor);
    const __m512 mean = _mm512_set1_ps(offset), length = _mm512_set1_ps(factor);
    for (size_t k = 0; k < l->inner; k += 16) {
        __m512 x = _mm512_mul_ps(_mm512_sub_ps(load_16(l->in, type, at + k), mean), length);
        __m512 bias = l->norm_bias != NULL ? _mm512_loadu_ps(l->norm_bias + k) : zero;
        x = _mm512_fmadd_ps(x, _mm512_loadu_ps(l->norm_weight + k), bias);
        _mm_store_si128((void *)(to + k / 64 * TILE + k % 64), rounded(_mm512_mul_ps(x, steps)));
    }
}

/* Rows beyond the last one are zeros. */
AMX static void pack_rows(const vlj_linear *l, size_t first, size_t count, int8_t *packed) {
    for (size_t r = 0; r < (count + BLOCK - 1) / BLOCK * BLOCK; r++) {
        int8_t *to = packed + r / 16 * 16 * l->inner + r % 16 * 64;
        if (r >= count || l->in_type == VLJ_LINEAR_INT8) {
            const int8_t *from = (const int8_t *)l->in + (first + r) * l->inner;
            for (size_t k = 0; k < l->inner; k += 64) {
                __m512i x = r < count ? _mm512_loadu_si512(from + k) : _mm512_setzero_si512();
                _mm512_store_si512(to + k / 64 * TILE, x);
            }
        } else if (l->in_type == VLJ_LINEAR_BFLOAT16) {
            pack_floats(l, VLJ_LINEAR_BFLOAT16, first + r, to);
        } else {
            pack_floats(l, VLJ_LINEAR_FLOAT32, first + r, to);
        }
    }
}

#endif
