/* linear_amx_finish.h: sums of 32 rows by 32 columns become results: scale, bias, activation, factor, sum, rounding. */
#ifndef VLJ_KERNELS_LINEAR_AMX_FINISH_H
#define VLJ_KERNELS_LINEAR_AMX_FINISH_H

#include "linear_amx_pack.h"

/* x Phi(x). erf(x / sqrt 2) / x is a polynomial of x^2 up to 4.25, fitted to be best times x^2, and a little more than
 * it, so that erf is cut off at 1. The error is below 8e-5, or below 3e-5 of the result. */
AMX_INLINE __m512 gelu(__m512 x) {
    static const float terms[] = {4.68692065e-10f, -2.3261912e-08f, 6.93005153e-07f, -1.39917258e-05f, 0.000205374799f,
                                  -0.00228953129f, 0.019780358f,    -0.13281916f,    0.797847047f};
    const __m512 end = _mm512_set1_ps(4.25f), half = _mm512_set1_ps(0.5f);
    __m512 near = _mm512_max_ps(_mm512_min_ps(x, end), _mm512_sub_ps(_mm512_setzero_ps(), end));
    __m512 square = _mm512_mul_ps(near, near), p = _mm512_set1_ps(-4.2498731e-12f);
#pragma GCC unroll 9
    for (int i = 0; i < 9; i++) {
        p = _mm512_fmadd_ps(p, square, _mm512_set1_ps(terms[i]));
    }
    p = _mm512_mul_ps(_mm512_mul_ps(near, p), half);
    p = _mm512_max_ps(_mm512_min_ps(p, half), _mm512_sub_ps(_mm512_setzero_ps(), half));
    return _mm512_mul_ps(x, _mm512_add_ps(p, half));
}

/* x / (1 + 2^t), t = -x log2 e: 2^t by its whole part and a polynomial of the rest, off by 2e-7 of itself. */
AMX_INLINE __m512 silu(__m512 x) {
    static const float terms[] = {1.3333558e-3f, 9.6181291e-3f, 5.5504109e-2f, 2.4022651e-1f, 6.9314718e-1f, 1.0f};
    __m512 t = _mm512_mul_ps(x, _mm512_set1_ps(-1.44269504f)), p = _mm512_set1_ps(1.5403530e-4f);
    __m512 whole = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 rest = _mm512_sub_ps(t, whole);
#pragma GCC unroll 6
    for (int i = 0; i < 6; i++) {
        p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(terms[i]));
    }
    /* Up to 2^126 and no further: the quotient stays a number. */
    whole = _mm512_min_ps(whole, _mm512_set1_ps(126.0f));
    __m512 below = _mm512_add_ps(_mm512_scalef_ps(p, whole), _mm512_set1_ps(1.0f)), q = _mm512_rcp14_ps(below);
    q = _mm512_mul_ps(q, _mm512_fnmadd_ps(below, q, _mm512_set1_ps(2.0f)));
    return _mm512_mul_ps(x, q);
}

/* 16 columns of a row. `at`: of the result's first element. */
AMX_INLINE __m512 finished(const vlj_linear *l, vlj_linear_activation activation, const int32_t *sums, __m512 scale,
                           __m512 bias, size_t at) {
    __m512 x = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums)), scale, bias);
    if (activation == VLJ_LINEAR_GELU) {
        x = gelu(x);
    } else if (activation == VLJ_LINEAR_SILU) {
        x = silu(x);
    }
    if (l->factor != NULL) {
        x = _mm512_mul_ps(x, load_16(l->factor, VLJ_LINEAR_BFLOAT16, at));
    }
    if (l->sum != NULL) {
        x = _mm512_add_ps(x, _mm512_loadu_ps(l->sum + at));
    }
    return x;
}

/* Sums of up to 32 rows by 32 columns: [2 of 16 rows][2 of 16 columns][16][16]. */
typedef struct block {
    const int32_t *sums;
    size_t first, column; /* in the result */
    size_t rows, finished;
} block;

/* The next `count` rows of a block, or what is left. */
AMX_INLINE void finish(const vlj_linear *l, vlj_linear_activation activation, vlj_linear_type type, block *b,
                       size_t count) {
    const __m512 zero = _mm512_setzero_ps();
    const size_t end = b->finished + count < b->rows ? b->finished + count : b->rows;
    const float *scale = l->scale + b->column, *bias = l->bias != NULL ? l->bias + b->column : NULL;
    for (; b->finished < end; b->finished++) {
        const size_t r = b->finished, at = (b->first + r) * l->columns + b->column;
        const int32_t *row = b->sums + r / 16 * 512 + r % 16 * 16;
        __m512 low = bias != NULL ? _mm512_loadu_ps(bias) : zero;
        __m512 high = bias != NULL ? _mm512_loadu_ps(bias + 16) : zero;
        __m512 x = finished(l, activation, row, _mm512_loadu_ps(scale), low, at);
        __m512 y = finished(l, activation, row + 256, _mm512_loadu_ps(scale + 16), high, at + 16);
        if (type == VLJ_LINEAR_FLOAT32) {
            _mm512_storeu_ps((float *)l->out + at, x);
            _mm512_storeu_ps((float *)l->out + at + 16, y);
        } else if (type == VLJ_LINEAR_BFLOAT16) {
            _mm512_storeu_si512((uint16_t *)l->out + at, (__m512i)_mm512_cvtne2ps_pbh(y, x));
        } else {
            const __m512 steps = _mm512_set1_ps(1.0f / l->out_scale);
            _mm_storeu_si128((void *)((int8_t *)l->out + at), rounded(_mm512_mul_ps(x, steps)));
            _mm_storeu_si128((void *)((int8_t *)l->out + at + 16), rounded(_mm512_mul_ps(y, steps)));
        }
    }
}

#endif
