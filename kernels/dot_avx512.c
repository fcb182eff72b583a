/* dot_avx512.c: the vector kernels for AVX-512 with VNNI. Tails are masked loads, so no other kernel is called. */
#include "dot_kernels.h"

#if VLJ_KERNELS_X86

#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c")))

/* The first `left` of 16 or 8 lanes; all where there are as many. */
AVX512 static inline __mmask16 lanes_16(size_t left) {
    return left >= 16 ? (__mmask16)0xFFFF : (__mmask16)((1u << left) - 1u);
}

AVX512 static inline __mmask8 lanes_8(size_t left) {
    return left >= 8 ? (__mmask8)0xFF : (__mmask8)((1u << left) - 1u);
}

AVX512 static inline __m512d load_8(const float *x, __mmask8 lanes) {
    return _mm512_cvtps_pd(_mm256_maskz_loadu_ps(lanes, x));
}

AVX512 static inline __m512 load_half_16(const uint16_t *x, __mmask16 lanes) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes, x));
}

AVX512 static float dot_avx512(const float *x, const float *y, size_t n) {
    __m512 sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        for (size_t j = 0; j < 4; j++) {
            sums[j] = _mm512_fmadd_ps(_mm512_loadu_ps(x + i + 16 * j), _mm512_loadu_ps(y + i + 16 * j), sums[j]);
        }
    }
    for (size_t j = 0; i < n; i += 16, j++) {
        __mmask16 lanes = lanes_16(n - i);
        sums[j] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(lanes, x + i), _mm512_maskz_loadu_ps(lanes, y + i), sums[j]);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])));
}

AVX512 static float dot_half_avx512(const uint16_t *x, const float *y, size_t n) {
    __m512 sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        for (size_t j = 0; j < 4; j++) {
            sums[j] = _mm512_fmadd_ps(load_half_16(x + i + 16 * j, 0xFFFF), _mm512_loadu_ps(y + i + 16 * j), sums[j]);
        }
    }
    for (size_t j = 0; i < n; i += 16, j++) {
        __mmask16 lanes = lanes_16(n - i);
        sums[j] = _mm512_fmadd_ps(load_half_16(x + i, lanes), _mm512_maskz_loadu_ps(lanes, y + i), sums[j]);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])));
}

AVX512 static double square_avx512(const float *x, size_t n) {
    __m512d a = _mm512_setzero_pd(), b = a;
    for (size_t i = 0; i < n; i += 16) {
        __m512d low = load_8(x + i, lanes_8(n - i));
        a = _mm512_fmadd_pd(low, low, a);
        if (i + 8 < n) {
            __m512d high = load_8(x + i + 8, lanes_8(n - i - 8));
            b = _mm512_fmadd_pd(high, high, b);
        }
    }
    return _mm512_reduce_add_pd(_mm512_add_pd(a, b));
}

AVX512 static inline __m512d difference_8(const float *x, const float *y, __mmask8 lanes) {
    return _mm512_sub_pd(load_8(x, lanes), load_8(y, lanes));
}

AVX512 static double distance_avx512(const float *x, const float *y, size_t n) {
    __m512d a = _mm512_setzero_pd(), b = a;
    for (size_t i = 0; i < n; i += 16) {
        __m512d low = difference_8(x + i, y + i, lanes_8(n - i));
        a = _mm512_fmadd_pd(low, low, a);
        if (i + 8 < n) {
            __m512d high = difference_8(x + i + 8, y + i + 8, lanes_8(n - i - 8));
            b = _mm512_fmadd_pd(high, high, b);
        }
    }
    return _mm512_reduce_add_pd(_mm512_add_pd(a, b));
}

AVX512 static void add_avx512(double *sum, const float *x, double sign, size_t n) {
    __m512d signs = _mm512_set1_pd(sign);
    for (size_t i = 0; i < n; i += 8) {
        __mmask8 lanes = lanes_8(n - i);
        __m512d added = _mm512_fmadd_pd(signs, load_8(x + i, lanes), _mm512_maskz_loadu_pd(lanes, sum + i));
        _mm512_mask_storeu_pd(sum + i, lanes, added);
    }
}

AVX512 static double sum_square_avx512(const double *sum, double scale, size_t n) {
    __m512d a = _mm512_setzero_pd(), b = a;
    for (size_t i = 0; i < n; i += 16) {
        __m512d low = _mm512_maskz_loadu_pd(lanes_8(n - i), sum + i);
        a = _mm512_fmadd_pd(low, low, a);
        if (i + 8 < n) {
            __m512d high = _mm512_maskz_loadu_pd(lanes_8(n - i - 8), sum + i + 8);
            b = _mm512_fmadd_pd(high, high, b);
        }
    }
    return _mm512_reduce_add_pd(_mm512_add_pd(a, b)) * scale * scale;
}

AVX512 static inline __m512d scaled_difference_8(const double *a, __m512d scale_a, const double *b, __m512d scale_b,
                                                 __mmask8 lanes) {
    /* Both products rounded, none fused: two equal means must lie 0 apart. */
    __m512d scaled_b = _mm512_mul_pd(_mm512_maskz_loadu_pd(lanes, b), scale_b);
    return _mm512_sub_pd(_mm512_mul_pd(_mm512_maskz_loadu_pd(lanes, a), scale_a), scaled_b);
}

AVX512 static double sum_distance_avx512(const double *a, double scale_a, const double *b, double scale_b, size_t n) {
    __m512d x = _mm512_setzero_pd(), y = x, scales_a = _mm512_set1_pd(scale_a), scales_b = _mm512_set1_pd(scale_b);
    for (size_t i = 0; i < n; i += 16) {
        __m512d low = scaled_difference_8(a + i, scales_a, b + i, scales_b, lanes_8(n - i));
        x = _mm512_fmadd_pd(low, low, x);
        if (i + 8 < n) {
            __m512d high = scaled_difference_8(a + i + 8, scales_a, b + i + 8, scales_b, lanes_8(n - i - 8));
            y = _mm512_fmadd_pd(high, high, y);
        }
    }
    return _mm512_reduce_add_pd(_mm512_add_pd(x, y));
}

/* 32 products and their sums in one instruction (VNNI), where AVX2 takes three. */
AVX512 static int32_t dot_int8_avx512(const int8_t *x, const int16_t *y, size_t n) {
    __m512i a = _mm512_setzero_si512(), b = a;
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        _mm_prefetch((const char *)((uintptr_t)x + i + VLJ_DOT_INT8_AHEAD), _MM_HINT_T0);
        __m512i low = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(x + i)));
        __m512i high = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(x + i + 32)));
        a = _mm512_dpwssd_epi32(a, low, _mm512_loadu_si512(y + i));
        b = _mm512_dpwssd_epi32(b, high, _mm512_loadu_si512(y + i + 32));
    }
    for (; i < n; i += 32) {
        __mmask32 lanes = n - i >= 32 ? 0xFFFFFFFFu : (1u << (n - i)) - 1u;
        __m512i low = _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(lanes, x + i));
        a = _mm512_dpwssd_epi32(a, low, _mm512_maskz_loadu_epi16(lanes, y + i));
    }
    return _mm512_reduce_add_epi32(_mm512_add_epi32(a, b));
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
    .dot_int8 = dot_int8_avx512,
};

#else
typedef int vlj_dot_avx512_is_for_x86; /* ISO C wants one declaration per file */
#endif
