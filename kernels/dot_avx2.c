/* dot_avx2.c: the vector kernels for AVX2, FMA and F16C. Tails shorter than a step go through the generic ones. */
#include "dot_kernels.h"

#if VLJ_KERNELS_X86

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,fma,f16c")))

AVX2 static inline float total_float(__m256 sum) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

AVX2 static inline double total_double(__m256d sum) {
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(sum), _mm256_extractf128_pd(sum, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

AVX2 static inline __m256d load_4(const float *x) {
    return _mm256_cvtps_pd(_mm_loadu_ps(x));
}

AVX2 static inline __m256 load_half_8(const uint16_t *x) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)x));
}

AVX2 static float dot_avx2(const float *x, const float *y, size_t n) {
    __m256 a = _mm256_setzero_ps(), b = a, c = a, d = a;
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        a = _mm256_fmadd_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i), a);
        b = _mm256_fmadd_ps(_mm256_loadu_ps(x + i + 8), _mm256_loadu_ps(y + i + 8), b);
        c = _mm256_fmadd_ps(_mm256_loadu_ps(x + i + 16), _mm256_loadu_ps(y + i + 16), c);
        d = _mm256_fmadd_ps(_mm256_loadu_ps(x + i + 24), _mm256_loadu_ps(y + i + 24), d);
    }
    float sum = total_float(_mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d)));
    return i == n ? sum : sum + vlj_dot_generic.dot(x + i, y + i, n - i);
}

AVX2 static float dot_half_avx2(const uint16_t *x, const float *y, size_t n) {
    __m256 a = _mm256_setzero_ps(), b = a, c = a, d = a;
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        a = _mm256_fmadd_ps(load_half_8(x + i), _mm256_loadu_ps(y + i), a);
        b = _mm256_fmadd_ps(load_half_8(x + i + 8), _mm256_loadu_ps(y + i + 8), b);
        c = _mm256_fmadd_ps(load_half_8(x + i + 16), _mm256_loadu_ps(y + i + 16), c);
        d = _mm256_fmadd_ps(load_half_8(x + i + 24), _mm256_loadu_ps(y + i + 24), d);
    }
    float sum = total_float(_mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d)));
    return i == n ? sum : sum + vlj_dot_generic.dot_half(x + i, y + i, n - i);
}

AVX2 static double square_avx2(const float *x, size_t n) {
    __m256d sums[4] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd()};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (size_t j = 0; j < 4; j++) {
            __m256d four = load_4(x + i + 4 * j);
            sums[j] = _mm256_fmadd_pd(four, four, sums[j]);
        }
    }
    double sum = total_double(_mm256_add_pd(_mm256_add_pd(sums[0], sums[1]), _mm256_add_pd(sums[2], sums[3])));
    return i == n ? sum : sum + vlj_dot_generic.square(x + i, n - i);
}

AVX2 static double distance_avx2(const float *x, const float *y, size_t n) {
    __m256d sums[4] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd()};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (size_t j = 0; j < 4; j++) {
            __m256d difference = _mm256_sub_pd(load_4(x + i + 4 * j), load_4(y + i + 4 * j));
            sums[j] = _mm256_fmadd_pd(difference, difference, sums[j]);
        }
    }
    double sum = total_double(_mm256_add_pd(_mm256_add_pd(sums[0], sums[1]), _mm256_add_pd(sums[2], sums[3])));
    return i == n ? sum : sum + vlj_dot_generic.distance(x + i, y + i, n - i);
}

AVX2 static void add_avx2(double *sum, const float *x, double sign, size_t n) {
    __m256d signs = _mm256_set1_pd(sign);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        _mm256_storeu_pd(sum + i, _mm256_fmadd_pd(signs, load_4(x + i), _mm256_loadu_pd(sum + i)));
    }
    vlj_dot_generic.add(sum + i, x + i, sign, n - i);
}

AVX2 static double sum_square_avx2(const double *sum, double scale, size_t n) {
    __m256d sums[4] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd()};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (size_t j = 0; j < 4; j++) {
            __m256d four = _mm256_loadu_pd(sum + i + 4 * j);
            sums[j] = _mm256_fmadd_pd(four, four, sums[j]);
        }
    }
    double total = total_double(_mm256_add_pd(_mm256_add_pd(sums[0], sums[1]), _mm256_add_pd(sums[2], sums[3])));
    return total * scale * scale + (i == n ? 0.0 : vlj_dot_generic.sum_square(sum + i, scale, n - i));
}

AVX2 static double sum_distance_avx2(const double *a, double scale_a, const double *b, double scale_b, size_t n) {
    __m256d sums[4] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd()};
    __m256d scales_a = _mm256_set1_pd(scale_a), scales_b = _mm256_set1_pd(scale_b);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (size_t j = 0; j < 4; j++) {
            /* Both products rounded, none fused: two equal means must lie 0 apart. */
            __m256d scaled_b = _mm256_mul_pd(_mm256_loadu_pd(b + i + 4 * j), scales_b);
            __m256d difference = _mm256_sub_pd(_mm256_mul_pd(_mm256_loadu_pd(a + i + 4 * j), scales_a), scaled_b);
            sums[j] = _mm256_fmadd_pd(difference, difference, sums[j]);
        }
    }
    double sum = total_double(_mm256_add_pd(_mm256_add_pd(sums[0], sums[1]), _mm256_add_pd(sums[2], sums[3])));
    return i == n ? sum : sum + vlj_dot_generic.sum_distance(a + i, scale_a, b + i, scale_b, n - i);
}

AVX2 static int32_t dot_int8_avx2(const int8_t *x, const int16_t *y, size_t n) {
    __m256i a = _mm256_setzero_si256(), b = a;
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        _mm_prefetch((const char *)((uintptr_t)x + i + VLJ_DOT_INT8_AHEAD), _MM_HINT_T0);
        __m256i low = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(x + i)));
        __m256i high = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(x + i + 16)));
        a = _mm256_add_epi32(a, _mm256_madd_epi16(low, _mm256_loadu_si256((const __m256i *)(y + i))));
        b = _mm256_add_epi32(b, _mm256_madd_epi16(high, _mm256_loadu_si256((const __m256i *)(y + i + 16))));
    }
    a = _mm256_add_epi32(a, b);
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    four = _mm_hadd_epi32(four, four);
    four = _mm_hadd_epi32(four, four);
    return _mm_cvtsi128_si32(four) + vlj_dot_generic.dot_int8(x + i, y + i, n - i);
}

const vlj_dot_kernels vlj_dot_avx2 = {
    .name = "avx2",
    .isa = VLJ_ISA_AVX2,
    .dot = dot_avx2,
    .dot_half = dot_half_avx2,
    .square = square_avx2,
    .distance = distance_avx2,
    .add = add_avx2,
    .sum_square = sum_square_avx2,
    .sum_distance = sum_distance_avx2,
    .dot_int8 = dot_int8_avx2,
};

#else
typedef int vlj_dot_avx2_is_for_x86; /* ISO C wants one declaration per file */
#endif
