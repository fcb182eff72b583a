/* pool_avx2.c: the pooling kernels for AVX2 and FMA. */
#include "pool_kernels.h"

#if VLJ_KERNELS_X86

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,fma")))

/* Four rows at a time: the sums stay in L1, and are loaded and stored once for four rows that stream by. */
AVX2 static void weighted_sum_avx2(const float *rows, const float *weights, size_t count, size_t width, float *sum) {
    size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        const float *a = rows + i * width, *b = a + width, *c = b + width, *d = c + width;
        if (weights[i] == 0.0f && weights[i + 1] == 0.0f && weights[i + 2] == 0.0f && weights[i + 3] == 0.0f) {
            continue;
        }
        __m256 wa = _mm256_set1_ps(weights[i]), wb = _mm256_set1_ps(weights[i + 1]);
        __m256 wc = _mm256_set1_ps(weights[i + 2]), wd = _mm256_set1_ps(weights[i + 3]);
        size_t j = 0;
        for (; j + 16 <= width; j += 16) {
            __m256 low = _mm256_fmadd_ps(wa, _mm256_loadu_ps(a + j), _mm256_loadu_ps(sum + j));
            __m256 high = _mm256_fmadd_ps(wa, _mm256_loadu_ps(a + j + 8), _mm256_loadu_ps(sum + j + 8));
            low = _mm256_fmadd_ps(wb, _mm256_loadu_ps(b + j), low);
            high = _mm256_fmadd_ps(wb, _mm256_loadu_ps(b + j + 8), high);
            low = _mm256_fmadd_ps(wc, _mm256_loadu_ps(c + j), low);
            high = _mm256_fmadd_ps(wc, _mm256_loadu_ps(c + j + 8), high);
            low = _mm256_fmadd_ps(wd, _mm256_loadu_ps(d + j), low);
            high = _mm256_fmadd_ps(wd, _mm256_loadu_ps(d + j + 8), high);
            _mm256_storeu_ps(sum + j, low);
            _mm256_storeu_ps(sum + j + 8, high);
        }
        for (; j < width; j++) {
            sum[j] += weights[i] * a[j] + weights[i + 1] * b[j] + weights[i + 2] * c[j] + weights[i + 3] * d[j];
        }
    }
    vlj_pool_generic.weighted_sum(rows + i * width, weights + i, count - i, width, sum);
}

AVX2 static int32_t dot_int8_avx2(const int8_t *x, const int16_t *y, size_t n) {
    __m256i a = _mm256_setzero_si256(), b = a;
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        __m256i low = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(x + i)));
        __m256i high = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(x + i + 16)));
        a = _mm256_add_epi32(a, _mm256_madd_epi16(low, _mm256_loadu_si256((const __m256i *)(y + i))));
        b = _mm256_add_epi32(b, _mm256_madd_epi16(high, _mm256_loadu_si256((const __m256i *)(y + i + 16))));
    }
    a = _mm256_add_epi32(a, b);
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    four = _mm_hadd_epi32(four, four);
    four = _mm_hadd_epi32(four, four);
    return _mm_cvtsi128_si32(four) + vlj_pool_generic.dot_int8(x + i, y + i, n - i);
}

const vlj_pool_kernels vlj_pool_avx2 = {
    .name = "avx2",
    .isa = VLJ_ISA_AVX2,
    .weighted_sum = weighted_sum_avx2,
    .dot_int8 = dot_int8_avx2,
};

#else
typedef int vlj_pool_avx2_is_for_x86; /* ISO C wants one declaration per file */
#endif
