/* dot_avx512.c: the vector kernels for AVX-512 (F, BW, DQ, VL). Tails shorter than a step go through the generic ones.
 */
#include "dot_kernels.h"

#if VLJ_KERNELS_X86

#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))

AVX512 static inline __m512d load_8(const float *x) {
    return _mm512_cvtps_pd(_mm256_loadu_ps(x));
}

AVX512 static inline __m512 load_half_16(const uint16_t *x) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)x));
}

AVX512 static float dot_avx512(const float *x, const float *y, size_t n) {
    __m512 a = _mm512_setzero_ps(), b = a, c = a, d = a;
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        a = _mm512_fmadd_ps(_mm512_loadu_ps(x + i), _mm512_loadu_ps(y + i), a);
        b = _mm512_fmadd_ps(_mm512_loadu_ps(x + i + 16), _mm512_loadu_ps(y + i + 16), b);
        c = _mm512_fmadd_ps(_mm512_loadu_ps(x + i + 32), _mm512_loadu_ps(y + i + 32), c);
        d = _mm512_fmadd_ps(_mm512_loadu_ps(x + i + 48), _mm512_loadu_ps(y + i + 48), d);
    }
    float sum = _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d)));
    return i == n ? sum : sum + vlj_dot_generic.dot(x + i, y + i, n - i);
}

AVX512 static float dot_half_avx512(const uint16_t *x, const float *y, size_t n) {
    __m512 a = _mm512_setzero_ps(), b = a, c = a, d = a;
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        a = _mm512_fmadd_ps(load_half_16(x + i), _mm512_loadu_ps(y + i), a);
        b = _mm512_fmadd_ps(load_half_16(x + i + 16), _mm512_loadu_ps(y + i + 16), b);
        c = _mm512_fmadd_ps(load_half_16(x + i + 32), _mm512_loadu_ps(y + i + 32), c);
        d = _mm512_fmadd_ps(load_half_16(x + i + 48), _mm512_loadu_ps(y + i + 48), d);
    }
    float sum = _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d)));
    return i == n ? sum : sum + vlj_dot_generic.dot_half(x + i, y + i, n - i);
}

AVX512 static double square_avx512(const float *x, size_t n) {
    __m512d sums[4] = {_mm512_setzero_pd(), _mm512_setzero_pd(), _mm512_setzero_pd(), _mm512_setzero_pd()};
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        for (size_t j = 0; j < 4; j++) {
            __m512d eight = load_8(x + i + 8 * j);
            sums[j] = _mm512_fmadd_pd(eight, eight, sums[j]);
        }
    }
    double sum = _mm512_reduce_add_pd(_mm512_add_pd(_mm512_add_pd(sums[0], sums[1]), _mm512_add_pd(sums[2], sums[3])));
    return i == n ? sum : sum + vlj_dot_generic.square(x + i, n - i);
}

AVX512 static double distance_avx512(const float *x, const float *y, size_t n) {
    __m512d sums[4] = {_mm512_setzero_pd(), _mm512_setzero_pd(), _mm512_setzero_pd(), _mm512_setzero_pd()};
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        for (size_t j = 0; j < 4; j++) {
            __m512d difference = _mm512_sub_pd(load_8(x + i + 8 * j), load_8(y + i + 8 * j));
            sums[j] = _mm512_fmadd_pd(difference, difference, sums[j]);
        }
    }
    double sum = _mm512_reduce_add_pd(_mm512_add_pd(_mm512_add_pd(sums[0], sums[1]), _mm512_add_pd(sums[2], sums[3])));
    return i == n ? sum : sum + vlj_dot_generic.distance(x + i, y + i, n - i);
}

AVX512 static void add_avx512(double *sum, const float *x, double sign, size_t n) {
    __m512d signs = _mm512_set1_pd(sign);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        _mm512_storeu_pd(sum + i, _mm512_fmadd_pd(signs, load_8(x + i), _mm512_loadu_pd(sum + i)));
    }
    vlj_dot_generic.add(sum + i, x + i, sign, n - i);
}

AVX512 static double sum_square_avx512(const double *sum, double scale, size_t n) {
    __m512d sums[4] = {_mm512_setzero_pd(), _mm512_setzero_pd(), _mm512_setzero_pd(), _mm512_setzero_pd()};
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        for (size_t j = 0; j < 4; j++) {
            __m512d eight = _mm512_loadu_pd(sum + i + 8 * j);
            sums[j] = _mm512_fmadd_pd(eight, eight, sums[j]);
        }
    }
    double total =
        _mm512_reduce_add_pd(_mm512_add_pd(_mm512_add_pd(sums[0], sums[1]), _mm512_add_pd(sums[2], sums[3])));
    return total * scale * scale + (i == n ? 0.0 : vlj_dot_generic.sum_square(sum + i, scale, n - i));
}

AVX512 static double sum_distance_avx512(const double *a, double scale_a, const double *b, double scale_b, size_t n) {
    __m512d sums[4] = {_mm512_setzero_pd(), _mm512_setzero_pd(), _mm512_setzero_pd(), _mm512_setzero_pd()};
    __m512d scales_a = _mm512_set1_pd(scale_a), scales_b = _mm512_set1_pd(scale_b);
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        for (size_t j = 0; j < 4; j++) {
            __m512d scaled_b = _mm512_mul_pd(_mm512_loadu_pd(b + i + 8 * j), scales_b);
            __m512d difference = _mm512_fmsub_pd(_mm512_loadu_pd(a + i + 8 * j), scales_a, scaled_b);
            sums[j] = _mm512_fmadd_pd(difference, difference, sums[j]);
        }
    }
    double sum = _mm512_reduce_add_pd(_mm512_add_pd(_mm512_add_pd(sums[0], sums[1]), _mm512_add_pd(sums[2], sums[3])));
    return i == n ? sum : sum + vlj_dot_generic.sum_distance(a + i, scale_a, b + i, scale_b, n - i);
}

const vlj_dot_kernels vlj_dot_avx512 = {
    .name = "avx512",
    .isa = VLJ_ISA_AVX512,
    .dot = dot_avx512,
    .dot_half = dot_half_avx512,
    .square = square_avx512,
    .distance = distance_avx512,
    .add = add_avx512,
    .sum_square = sum_square_avx512,
    .sum_distance = sum_distance_avx512,
};

#else
typedef int vlj_dot_avx512_is_for_x86; /* ISO C wants one declaration per file */
#endif
