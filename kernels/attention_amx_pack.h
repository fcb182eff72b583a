/* attention_amx_pack.h: heads out of the projection's rows into the BF16 tiles that attention_amx.c multiplies.
 *
 * A tile is 16 rows of 64 bytes. Of a product's left side, a row is 32 values; of its right side, row r holds the
 * values 2r and 2r + 1 of 16 columns. Rows beyond the last token are zeros.
 */
#ifndef VLJ_KERNELS_ATTENTION_AMX_PACK_H
#define VLJ_KERNELS_ATTENTION_AMX_PACK_H

#include <immintrin.h>

#include "attention.h"

#define AMX __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512bf16,amx-tile,amx-bf16,fma")))
#define AMX_INLINE AMX static inline __attribute__((always_inline))

enum { WIDTH = 64, BLOCK = 32 }; /* of a head; queries or keys that are worked on at once */

/* 16 rows of 16 words become columns. */
AMX_INLINE void transpose_16(__m512i r[16]) {
    __m512i t[16];
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 4; i++) {
        r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (int i = 0; i < 8; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    }
}

/* 16 values of the projection, from element `at`. */
AMX_INLINE __m512 load_16(const vlj_attention *a, size_t at) {
    if (a->qkv_is_bfloat16) {
        __m256i halves = _mm256_loadu_si256((const void *)((const uint16_t *)a->qkv + at));
        return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16);
    }
    return _mm512_loadu_ps((const float *)a->qkv + at);
}

/* A head's row, which begins at element `at`, rotated in float32 and rounded once: values 0-31 and 32-63. */
AMX_INLINE void rotated_row(const vlj_attention *a, size_t at, size_t token, __m512 scale, __m512i *low,
                            __m512i *high) {
    const float *c = a->cosine + token * WIDTH, *s = a->sine + token * WIDTH;
    __m512 in[4], out[4];
    for (int i = 0; i < 4; i++) {
        in[i] = _mm512_mul_ps(load_16(a, at + 16 * (size_t)i), scale);
    }
    for (int i = 0; i < 4; i++) {
        __m512 turned = _mm512_mul_ps(in[i ^ 2], _mm512_loadu_ps(s + 16 * i));
        out[i] = _mm512_fmadd_ps(in[i], _mm512_loadu_ps(c + 16 * i), turned);
    }
    *low = (__m512i)_mm512_cvtne2ps_pbh(out[1], out[0]);
    *high = (__m512i)_mm512_cvtne2ps_pbh(out[3], out[2]);
}

AMX_INLINE __m512 add_squares(__m512 sum, __m512i pairs) {
    return _mm512_dpbf16_ps(sum, (__m512bh)pairs, (__m512bh)pairs);
}

/* The larger one; NaN once there was one, so that no bound is taken from it. */
AMX_INLINE float larger(float most, float x) {
    return most != most || x <= most ? most : x;
}

/* Keys: rows of 64 values, the left side of K Q^T. Returns the largest square of a key's length. Heads begin at
 * element `at` of the projection, rows are `stride` apart. */
AMX static float pack_keys(const vlj_attention *a, size_t at, size_t stride, size_t padded, uint16_t *out) {
    const __m512 one = _mm512_set1_ps(1.0f);
    float most = 0.0f;
    for (size_t n = 0; n < padded; n += 16) {
        __m512i squares[16];
        for (size_t j = 0; j < 16; j++) {
            __m512i low = _mm512_setzero_si512(), high = low;
            if (n + j < a->tokens) {
                rotated_row(a, at + (n + j) * stride, n + j, one, &low, &high);
            }
            _mm512_store_si512(out + (n + j) * WIDTH, low);
            _mm512_store_si512(out + (n + j) * WIDTH + 32, high);
            squares[j] = (__m512i)add_squares(add_squares(_mm512_setzero_ps(), low), high);
        }
        transpose_16(squares);
        __m512 sum = (__m512)squares[0];
        for (int j = 1; j < 16; j++) {
            sum = _mm512_add_ps(sum, (__m512)squares[j]);
        }
        float lanes[16]; /* a vector's maximum would pass over NaN */
        _mm512_storeu_ps(lanes, sum);
        for (int j = 0; j < 16; j++) {
            most = larger(most, lanes[j]);
        }
    }
    return most;
}

/* Queries times `scale`: the right side of K Q^T, four tiles per block: [2 of 16 queries][2 of 32 values]. `squares`
 * has the largest square of a query's length in each block. */
AMX static void pack_queries(const vlj_attention *a, size_t at, size_t stride, size_t padded, float scale,
                             uint16_t *out, float *squares) {
    const __m512 factor = _mm512_set1_ps(scale);
    for (size_t n = 0; n < padded; n += 16) {
        __m512i low[16], high[16];
        __m512 sum = _mm512_setzero_ps();
        for (size_t j = 0; j < 16; j++) {
            low[j] = high[j] = _mm512_setzero_si512();
            if (n + j < a->tokens) {
                rotated_row(a, at + (n + j) * stride, n + j, factor, &low[j], &high[j]);
            }
        }
        transpose_16(low);
        transpose_16(high);
        for (size_t j = 0; j < 16; j++) {
            _mm512_store_si512(out + n * WIDTH + j * 32, low[j]);
            _mm512_store_si512(out + n * WIDTH + 512 + j * 32, high[j]);
            sum = add_squares(add_squares(sum, low[j]), high[j]);
        }
        float lanes[16], most = n % BLOCK == 0 ? 0.0f : squares[n / BLOCK];
        _mm512_storeu_ps(lanes, sum);
        for (int j = 0; j < 16; j++) {
            most = larger(most, lanes[j]);
        }
        squares[n / BLOCK] = most;
    }
}

AMX_INLINE __m512 value_row(const vlj_attention *a, size_t at, size_t stride, size_t token) {
    return token < a->tokens ? load_16(a, at + token * stride) : _mm512_setzero_ps();
}

/* Values, transposed: the left side of V^T P^T. Two halves of 32 values; in each, tiles [keys / 32][2 of 16 values]. */
AMX static void pack_values(const vlj_attention *a, size_t at, size_t stride, size_t padded, uint16_t *out) {
    const __m512i half = _mm512_set1_epi32(0x8000); /* rounds: what is cut off is the low half of each word */
    for (size_t n = 0; n < padded; n += BLOCK) {
        for (size_t d = 0; d < 4; d++) {
            __m512i s[16];
            for (size_t r = 0; r < 16; r++) {
                __m512i even = (__m512i)value_row(a, at + 16 * d, stride, n + 2 * r);
                __m512i odd = (__m512i)value_row(a, at + 16 * d, stride, n + 2 * r + 1);
                even = _mm512_srli_epi32(_mm512_add_epi32(even, half), 16);
                s[r] = _mm512_mask_mov_epi16(even, 0xAAAAAAAAu, _mm512_add_epi32(odd, half));
            }
            transpose_16(s);
            uint16_t *tile = out + (d >> 1) * padded * 32 + n * 32 + (d & 1) * 512;
            for (size_t r = 0; r < 16; r++) {
                _mm512_store_si512(tile + r * 32, s[r]);
            }
        }
    }
}

#endif
