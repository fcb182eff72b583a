/* attention_amx_weigh.h: scores of a block become weights, 2^score in BF16, with their sums.
 *
 * A score comes times 2^23, so that, made an integer, it is a float's exponent and fraction: the high halves of two
 * keys' scores are two BF16 of which only the fraction is still to be looked up (2^x - 1 by 7 bits of x). The sums are
 * of the same rounded weights.
 */
#ifndef VLJ_KERNELS_ATTENTION_AMX_WEIGH_H
#define VLJ_KERNELS_ATTENTION_AMX_WEIGH_H

#include <string.h>

#include "attention_amx_pack.h"

/* round(128 * (2^((i + 0.5) / 128) - 1)): the fraction of 2^x for x in the middle of what was cut off. */
static const uint8_t fractions[128] __attribute__((aligned(64))) = {
    0,   1,   2,   2,   3,   4,   5,   5,   6,   7,   7,   8,   9,   10,  10,  11,  12,  13, 13,  14,  15,  16,
    17,  17,  18,  19,  20,  21,  21,  22,  23,  24,  25,  25,  26,  27,  28,  29,  30,  31, 31,  32,  33,  34,
    35,  36,  37,  38,  38,  39,  40,  41,  42,  43,  44,  45,  46,  47,  48,  49,  50,  51, 52,  53,  54,  54,
    55,  56,  57,  58,  60,  61,  62,  63,  64,  65,  66,  67,  68,  69,  70,  71,  72,  73, 74,  75,  76,  78,
    79,  80,  81,  82,  83,  84,  86,  87,  88,  89,  90,  91,  93,  94,  95,  96,  97,  99, 100, 101, 102, 104,
    105, 106, 107, 109, 110, 111, 113, 114, 115, 116, 118, 119, 120, 122, 123, 125, 126, 127};

/* 2^score of two keys and 16 queries. A score beyond an integer's range becomes the lowest one: weight 0. */
AMX_INLINE __m512i weights_of(const float *even, const float *odd, __m512i bias, __m512i low, __m512i high) {
    __m512i i = _mm512_cvtps_epi32(_mm512_load_ps(even)), j = _mm512_cvtps_epi32(_mm512_load_ps(odd));
    __m512i words = _mm512_mask_mov_epi16(_mm512_srli_epi32(i, 16), 0xAAAAAAAAu, j);
    words = _mm512_max_epi16(_mm512_adds_epi16(words, bias), _mm512_setzero_si512());
    __m512i fraction = _mm512_permutex2var_epi8(low, words, high);
    return _mm512_ternarylogic_epi32(_mm512_set1_epi16(0x7f), fraction, words, 0xCA); /* fraction where there is 0x7f */
}

/* Pairs of keys first ... last - 1 of a block of scores; `mask` NULL or a word per key. */
AMX_INLINE void weigh(const float *scores, const int16_t *mask, int16_t bias, int first, int last, uint16_t *weights,
                      __m512 sums[4]) {
    const __m512i low = _mm512_load_si512(fractions), high = _mm512_load_si512(fractions + 64);
    const __m512bh one = (__m512bh)_mm512_set1_epi16(0x3f80);
#pragma GCC unroll 8
    for (int r = first; r < last; r++) {
        __m512i b = _mm512_set1_epi16(bias);
        if (mask != NULL) {
            int32_t pair;
            memcpy(&pair, mask + 2 * r, sizeof pair);
            b = _mm512_adds_epi16(b, _mm512_set1_epi32(pair));
        }
        __m512i p = weights_of(scores + 32 * r, scores + 32 * r + 16, b, low, high);
        __m512i q = weights_of(scores + 512 + 32 * r, scores + 528 + 32 * r, b, low, high);
        _mm512_store_si512(weights + r * 32, p);
        _mm512_store_si512(weights + 512 + r * 32, q);
        sums[r & 1] = _mm512_dpbf16_ps(sums[r & 1], (__m512bh)p, one);
        sums[2 + (r & 1)] = _mm512_dpbf16_ps(sums[2 + (r & 1)], (__m512bh)q, one);
    }
}

#endif
