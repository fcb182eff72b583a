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

const vlj_pool_kernels vlj_pool_avx2 = {
    .name = "avx2",
    .isa = VLJ_ISA_AVX2,
    .weighted_sum = weighted_sum_avx2,
};

#else
typedef int vlj_pool_avx2_is_for_x86; /* ISO C wants one declaration per file */
#endif
