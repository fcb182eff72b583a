/* resize_avx2.c: the resize kernels for AVX2. Sums are exact integers, so results equal the generic ones bit for bit.
 */
#include "resize_kernels.h"

#if VLJ_KERNELS_X86

#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2")))

/* Two neighbouring weights in one 32-bit lane, as vpmaddwd wants them. */
static inline int32_t weight_pair(int16_t low, int16_t high) {
    return (int32_t)((uint32_t)(uint16_t)low | (uint32_t)(uint16_t)high << 16);
}

/* Adds two rows' 32 bytes to four vectors of sums. Unpacking stays within 128-bit lanes: sums[0] holds columns 0-3 |
 * 16-19, sums[1] 4-7 | 20-23, sums[2] 8-11 | 24-27, sums[3] 12-15 | 28-31. */
AVX2 static inline void add_two_rows(const uint8_t *even, const uint8_t *odd, __m256i weights, __m256i sums[4]) {
    __m256i zero = _mm256_setzero_si256();
    __m256i a = _mm256_loadu_si256((const __m256i *)even), b = _mm256_loadu_si256((const __m256i *)odd);
    __m256i low = _mm256_unpacklo_epi8(a, b), high = _mm256_unpackhi_epi8(a, b);
    sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(_mm256_unpacklo_epi8(low, zero), weights));
    sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(_mm256_unpackhi_epi8(low, zero), weights));
    sums[2] = _mm256_add_epi32(sums[2], _mm256_madd_epi16(_mm256_unpacklo_epi8(high, zero), weights));
    sums[3] = _mm256_add_epi32(sums[3], _mm256_madd_epi16(_mm256_unpackhi_epi8(high, zero), weights));
}

AVX2 static inline void rows_32(const uint8_t *rows, size_t stride, const int16_t *weights, uint32_t count,
                                uint32_t shift, int16_t *out) {
    uint32_t drop = shift - VLJ_RESIZE_FRACTION_BITS;
    __m256i half = _mm256_set1_epi32(1 << (drop - 1u));
    __m256i sums[4] = {half, half, half, half};
    uint32_t k = 0;
    for (; k + 1 < count; k += 2) {
        add_two_rows(rows + k * stride, rows + (k + 1) * stride,
                     _mm256_set1_epi32(weight_pair(weights[k], weights[k + 1])), sums);
    }
    if (k < count) { /* an odd last row, paired with itself at weight 0: nothing beyond the picture is read */
        add_two_rows(rows + k * stride, rows + k * stride, _mm256_set1_epi32(weight_pair(weights[k], 0)), sums);
    }
    __m128i bits = _mm_cvtsi32_si128((int)drop);
    for (int i = 0; i < 4; i++) {
        sums[i] = _mm256_srl_epi32(sums[i], bits);
    }
    __m256i first = _mm256_packs_epi32(sums[0], sums[1]), second = _mm256_packs_epi32(sums[2], sums[3]);
    _mm256_storeu_si256((__m256i *)out, _mm256_permute2x128_si256(first, second, 0x20));
    _mm256_storeu_si256((__m256i *)(out + 16), _mm256_permute2x128_si256(first, second, 0x31));
}

AVX2 static void rows_avx2(const uint8_t *rows, size_t stride, const int16_t *weights, uint32_t count, uint32_t shift,
                           int16_t *out, size_t n) {
    if (n < 32) {
        vlj_resize_generic.rows(rows, stride, weights, count, shift, out, n);
        return;
    }
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        rows_32(rows + i, stride, weights, count, shift, out + i);
    }
    if (i < n) { /* the tail overlaps columns that are done, so that no load passes the row's end */
        rows_32(rows + n - 32, stride, weights, count, shift, out + n - 32);
    }
}

/* One output pixel: lanes hold channels 0, 1, 2 and 0. Four taps a step: 0, 1 in the low half, 2, 3 in the high one. */
AVX2 static inline __m128i pixel_rgb(const int16_t *pixel, const int16_t *weights, uint32_t taps) {
    const __m256i pairs = _mm256_setr_epi8(0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, -1, -1, -1, -1, /* r0 r1 g0 g1 b0 b1 */
                                           0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, -1, -1, -1, -1);
    const __m256i spread = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    __m256i sum = _mm256_setzero_si256();
    for (uint32_t k = 0; k < taps; k += 4) {
        __m256i values =
            _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(pixel + (size_t)k * 3u))),
                                    _mm_loadu_si128((const __m128i *)(pixel + (size_t)k * 3u + 6u)), 1);
        __m256i four = _mm256_castsi128_si256(_mm_loadl_epi64((const __m128i *)(weights + k)));
        sum = _mm256_add_epi32(
            sum, _mm256_madd_epi16(_mm256_shuffle_epi8(values, pairs), _mm256_permutevar8x32_epi32(four, spread)));
    }
    return _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
}

static inline void store_4(uint8_t *to, __m128i four_bytes) {
    int32_t bytes = _mm_cvtsi128_si32(four_bytes);
    memcpy(to, &bytes, 4);
}

AVX2 static void columns_rgb_avx2(const int16_t *row, const vlj_resize_axis *axis, uint8_t *plane0, uint8_t *plane1,
                                  uint8_t *plane2) {
    uint32_t drop = axis->shift + VLJ_RESIZE_FRACTION_BITS, n = axis->out_count;
    if (n < 4) {
        vlj_resize_generic.columns_rgb(row, axis, plane0, plane1, plane2);
        return;
    }
    const __m128i half = _mm_set1_epi32(1 << (drop - 1u)), bits = _mm_cvtsi32_si128((int)drop);
    const __m128i planar = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    for (uint32_t done = 0; done < n;) {
        uint32_t x = done + 4 <= n ? done : n - 4; /* the tail overlaps outputs that are done */
        __m128i pixels[4];
        for (uint32_t i = 0; i < 4; i++) {
            const int16_t *pixel = row + (size_t)axis->first[x + i] * 3u;
            __m128i sum = pixel_rgb(pixel, axis->weights + (size_t)(x + i) * axis->taps, axis->taps);
            pixels[i] = _mm_srl_epi32(_mm_add_epi32(sum, half), bits);
        }
        __m128i bytes = _mm_packus_epi16(_mm_packs_epi32(pixels[0], pixels[1]), _mm_packs_epi32(pixels[2], pixels[3]));
        bytes = _mm_shuffle_epi8(bytes, planar); /* rrrr gggg bbbb 0000 */
        store_4(plane0 + x, bytes);
        store_4(plane1 + x, _mm_srli_si128(bytes, 4));
        store_4(plane2 + x, _mm_srli_si128(bytes, 8));
        done = x + 4;
    }
}

AVX2 static void columns_gray_avx2(const int16_t *row, const vlj_resize_axis *axis, uint8_t *plane) {
    uint32_t drop = axis->shift + VLJ_RESIZE_FRACTION_BITS;
    for (uint32_t x = 0; x < axis->out_count; x++) {
        const int16_t *pixel = row + axis->first[x];
        const int16_t *weights = axis->weights + (size_t)x * axis->taps;
        __m128i sum = _mm_setzero_si128();
        for (uint32_t k = 0; k < axis->taps; k += 4) { /* taps are a multiple of 4: half a register */
            sum = _mm_add_epi32(sum, _mm_madd_epi16(_mm_loadl_epi64((const __m128i *)(pixel + k)),
                                                    _mm_loadl_epi64((const __m128i *)(weights + k))));
        }
        int32_t total = _mm_cvtsi128_si32(sum) + _mm_extract_epi32(sum, 1);
        plane[x] = (uint8_t)((total + (1 << (drop - 1u))) >> drop);
    }
}

const vlj_resize_kernels vlj_resize_avx2 = {
    .name = "avx2",
    .isa = VLJ_ISA_AVX2,
    .rows = rows_avx2,
    .columns_rgb = columns_rgb_avx2,
    .columns_gray = columns_gray_avx2,
};

#else
typedef int vlj_resize_avx2_is_for_x86; /* ISO C wants one declaration per file */
#endif
