/* yuv_avx2.c: the NV12 and I420 kernels for AVX2. Sums are exact integers, so results equal the generic ones bit for
 * bit. */
#include "yuv_kernels.h"

#if VLJ_KERNELS_X86

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

/* Four taps of one output: a lane each for the sums of taps 0, 1 and 2, 3. */
AVX2 static inline __m128i four_taps(const int16_t *values, const int16_t *weights) {
    return _mm_madd_epi16(_mm_loadl_epi64((const __m128i *)values), _mm_loadl_epi64((const __m128i *)weights));
}

AVX2 static inline __m128i taps_of(const int16_t *row, const vlj_resize_axis *axis, uint32_t x) {
    const int16_t *values = row + axis->first[x], *weights = axis->weights + (size_t)x * axis->taps;
    __m128i sum = four_taps(values, weights);
    for (uint32_t k = 4; k < axis->taps; k += 4) {
        sum = _mm_add_epi32(sum, four_taps(values + k, weights + k));
    }
    return sum;
}

/* Four outputs' sums of eight taps each. */
AVX2 static inline __m128i sums_of_eight_taps(const int16_t *row, const vlj_resize_axis *axis, uint32_t x) {
    __m128i sums[4];
    for (uint32_t i = 0; i < 4; i++) {
        sums[i] = _mm_madd_epi16(_mm_loadu_si128((const __m128i *)(row + axis->first[x + i])),
                                 _mm_loadu_si128((const __m128i *)(axis->weights + (size_t)(x + i) * 8u)));
    }
    return _mm_hadd_epi32(_mm_hadd_epi32(sums[0], sums[1]), _mm_hadd_epi32(sums[2], sums[3]));
}

AVX2 static void columns_avx2(const int16_t *row, const vlj_resize_axis *axis, int16_t *out) {
    const __m128i half = _mm_set1_epi32(1 << (axis->shift - 1u)), bits = _mm_cvtsi32_si128((int)axis->shift);
    uint32_t n = axis->out_count;
    if (n < 4) {
        vlj_yuv_generic.columns(row, axis, out);
        return;
    }
    for (uint32_t done = 0; done < n;) {
        uint32_t x = done + 4 <= n ? done : n - 4; /* the tail overlaps outputs that are done */
        __m128i sums;
        if (axis->taps == 8) { /* HD pictures: a register for each output */
            sums = sums_of_eight_taps(row, axis, x);
        } else {
            __m128i low = _mm_unpacklo_epi64(taps_of(row, axis, x), taps_of(row, axis, x + 1));
            __m128i high = _mm_unpacklo_epi64(taps_of(row, axis, x + 2), taps_of(row, axis, x + 3));
            sums = _mm_hadd_epi32(low, high);
        }
        sums = _mm_sra_epi32(_mm_add_epi32(sums, half), bits);
        _mm_storel_epi64((__m128i *)(out + x), _mm_packs_epi32(sums, sums));
        done = x + 4;
    }
}

/* Lanes: channel 0 and 1 of taps 0, 1, then of taps 2, 3. */
AVX2 static inline __m128i pairs_of(const int16_t *row, const vlj_resize_axis *axis, uint32_t x) {
    const __m128i order = _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
    const int16_t *values = row + (size_t)axis->first[x] * 2u, *weights = axis->weights + (size_t)x * axis->taps;
    __m128i sum = _mm_setzero_si128();
    for (uint32_t k = 0; k < axis->taps; k += 4) {
        __m128i four = _mm_loadl_epi64((const __m128i *)(weights + k));
        __m128i pixels = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(values + 2u * (size_t)k)), order);
        sum = _mm_add_epi32(sum, _mm_madd_epi16(pixels, _mm_unpacklo_epi32(four, four)));
    }
    return _mm_add_epi32(sum, _mm_unpackhi_epi64(sum, sum)); /* channel 0, channel 1 */
}

AVX2 static void columns_pairs_avx2(const int16_t *row, const vlj_resize_axis *axis, int16_t *out0, int16_t *out1) {
    const __m128i half = _mm_set1_epi32(1 << (axis->shift - 1u)), bits = _mm_cvtsi32_si128((int)axis->shift);
    uint32_t n = axis->out_count;
    if (n < 4) {
        vlj_yuv_generic.columns_pairs(row, axis, out0, out1);
        return;
    }
    for (uint32_t done = 0; done < n;) {
        uint32_t x = done + 4 <= n ? done : n - 4;
        __m128i low = _mm_unpacklo_epi32(pairs_of(row, axis, x), pairs_of(row, axis, x + 1));
        __m128i high = _mm_unpacklo_epi32(pairs_of(row, axis, x + 2), pairs_of(row, axis, x + 3));
        __m128i sums0 = _mm_sra_epi32(_mm_add_epi32(_mm_unpacklo_epi64(low, high), half), bits);
        __m128i sums1 = _mm_sra_epi32(_mm_add_epi32(_mm_unpackhi_epi64(low, high), half), bits);
        _mm_storel_epi64((__m128i *)(out0 + x), _mm_packs_epi32(sums0, sums0));
        _mm_storel_epi64((__m128i *)(out1 + x), _mm_packs_epi32(sums1, sums1));
        done = x + 4;
    }
}

AVX2 static inline __m256i factors(int16_t even, int16_t odd) {
    return _mm256_set1_epi32((int32_t)((uint32_t)(uint16_t)even | (uint32_t)(uint16_t)odd << 16));
}

/* 16 sums to 16 clipped bytes; unpacking went by lanes, so packing puts them in order again. */
AVX2 static inline void store_bytes(uint8_t *to, __m256i low, __m256i high) {
    const int drop = VLJ_RESIZE_FRACTION_BITS + VLJ_YUV_FACTOR_BITS;
    __m256i words = _mm256_packs_epi32(_mm256_srai_epi32(low, drop), _mm256_srai_epi32(high, drop));
    _mm_storeu_si128((__m128i *)to,
                     _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}

AVX2 static void colours_avx2(const int16_t *y, const int16_t *u, const int16_t *v, const vlj_yuv_matrix *matrix,
                              uint8_t *red, uint8_t *green, uint8_t *blue, size_t n) {
    const __m256i half = _mm256_set1_epi32(1 << (VLJ_RESIZE_FRACTION_BITS + VLJ_YUV_FACTOR_BITS - 1u));
    const __m256i middle = _mm256_set1_epi16(128 << VLJ_RESIZE_FRACTION_BITS), zero = _mm256_setzero_si256();
    const __m256i offset = _mm256_set1_epi16(matrix->offset);
    const __m256i for_red = factors(matrix->luma, matrix->red_v), for_blue = factors(matrix->luma, matrix->blue_u);
    const __m256i for_green = factors(matrix->luma, matrix->green_u), more_green = factors(matrix->green_v, 0);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256i luma = _mm256_sub_epi16(_mm256_loadu_si256((const __m256i *)(y + i)), offset);
        __m256i from_u = _mm256_sub_epi16(_mm256_loadu_si256((const __m256i *)(u + i)), middle);
        __m256i from_v = _mm256_sub_epi16(_mm256_loadu_si256((const __m256i *)(v + i)), middle);
        __m256i sums[3][2];
        for (int side = 0; side < 2; side++) {
            __m256i yu = side == 0 ? _mm256_unpacklo_epi16(luma, from_u) : _mm256_unpackhi_epi16(luma, from_u);
            __m256i yv = side == 0 ? _mm256_unpacklo_epi16(luma, from_v) : _mm256_unpackhi_epi16(luma, from_v);
            __m256i v0 = side == 0 ? _mm256_unpacklo_epi16(from_v, zero) : _mm256_unpackhi_epi16(from_v, zero);
            sums[0][side] = _mm256_add_epi32(_mm256_madd_epi16(yv, for_red), half);
            sums[1][side] = _mm256_add_epi32(_mm256_madd_epi16(yu, for_green), half);
            sums[1][side] = _mm256_add_epi32(sums[1][side], _mm256_madd_epi16(v0, more_green));
            sums[2][side] = _mm256_add_epi32(_mm256_madd_epi16(yu, for_blue), half);
        }
        store_bytes(red + i, sums[0][0], sums[0][1]);
        store_bytes(green + i, sums[1][0], sums[1][1]);
        store_bytes(blue + i, sums[2][0], sums[2][1]);
    }
    vlj_yuv_generic.colours(y + i, u + i, v + i, matrix, red + i, green + i, blue + i, n - i);
}

const vlj_yuv_kernels vlj_yuv_avx2 = {
    .name = "avx2",
    .isa = VLJ_ISA_AVX2,
    .columns = columns_avx2,
    .columns_pairs = columns_pairs_avx2,
    .colours = colours_avx2,
};

#else
typedef int vlj_yuv_avx2_is_for_x86; /* ISO C wants one declaration per file */
#endif
