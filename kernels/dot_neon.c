/* dot_neon.c: the vector kernels for AArch64. Tails shorter than a step go through the generic ones. */
#include "dot_kernels.h"

#if VLJ_KERNELS_NEON

#include <arm_neon.h>

static inline float32x4_t load_half_4(const uint16_t *x) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(x)));
}

/* x[0..3] as two vectors of two doubles. */
static inline float64x2x2_t load_4(const float *x) {
    float32x4_t four = vld1q_f32(x);
    return (float64x2x2_t){{vcvt_f64_f32(vget_low_f32(four)), vcvt_high_f64_f32(four)}};
}

static float dot_neon(const float *x, const float *y, size_t n) {
    float32x4_t sums[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (size_t j = 0; j < 4; j++) {
            sums[j] = vfmaq_f32(sums[j], vld1q_f32(x + i + 4 * j), vld1q_f32(y + i + 4 * j));
        }
    }
    float sum = vaddvq_f32(vaddq_f32(vaddq_f32(sums[0], sums[1]), vaddq_f32(sums[2], sums[3])));
    return i == n ? sum : sum + vlj_dot_generic.dot(x + i, y + i, n - i);
}

static float dot_half_neon(const uint16_t *x, const float *y, size_t n) {
    float32x4_t sums[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (size_t j = 0; j < 4; j++) {
            sums[j] = vfmaq_f32(sums[j], load_half_4(x + i + 4 * j), vld1q_f32(y + i + 4 * j));
        }
    }
    float sum = vaddvq_f32(vaddq_f32(vaddq_f32(sums[0], sums[1]), vaddq_f32(sums[2], sums[3])));
    return i == n ? sum : sum + vlj_dot_generic.dot_half(x + i, y + i, n - i);
}

static double square_neon(const float *x, size_t n) {
    float64x2_t sums[4] = {vdupq_n_f64(0), vdupq_n_f64(0), vdupq_n_f64(0), vdupq_n_f64(0)};
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (size_t j = 0; j < 4; j += 2) {
            float64x2x2_t four = load_4(x + i + 2 * j);
            sums[j] = vfmaq_f64(sums[j], four.val[0], four.val[0]);
            sums[j + 1] = vfmaq_f64(sums[j + 1], four.val[1], four.val[1]);
        }
    }
    double sum = vaddvq_f64(vaddq_f64(vaddq_f64(sums[0], sums[1]), vaddq_f64(sums[2], sums[3])));
    return i == n ? sum : sum + vlj_dot_generic.square(x + i, n - i);
}

static double distance_neon(const float *x, const float *y, size_t n) {
    float64x2_t sums[4] = {vdupq_n_f64(0), vdupq_n_f64(0), vdupq_n_f64(0), vdupq_n_f64(0)};
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (size_t j = 0; j < 4; j += 2) {
            float64x2x2_t a = load_4(x + i + 2 * j), b = load_4(y + i + 2 * j);
            float64x2_t low = vsubq_f64(a.val[0], b.val[0]), high = vsubq_f64(a.val[1], b.val[1]);
            sums[j] = vfmaq_f64(sums[j], low, low);
            sums[j + 1] = vfmaq_f64(sums[j + 1], high, high);
        }
    }
    double sum = vaddvq_f64(vaddq_f64(vaddq_f64(sums[0], sums[1]), vaddq_f64(sums[2], sums[3])));
    return i == n ? sum : sum + vlj_dot_generic.distance(x + i, y + i, n - i);
}

static void add_neon(double *sum, const float *x, double sign, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float64x2x2_t four = load_4(x + i);
        vst1q_f64(sum + i, vfmaq_n_f64(vld1q_f64(sum + i), four.val[0], sign));
        vst1q_f64(sum + i + 2, vfmaq_n_f64(vld1q_f64(sum + i + 2), four.val[1], sign));
    }
    vlj_dot_generic.add(sum + i, x + i, sign, n - i);
}

static double sum_square_neon(const double *sum, double scale, size_t n) {
    float64x2_t sums[4] = {vdupq_n_f64(0), vdupq_n_f64(0), vdupq_n_f64(0), vdupq_n_f64(0)};
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (size_t j = 0; j < 4; j++) {
            float64x2_t two = vld1q_f64(sum + i + 2 * j);
            sums[j] = vfmaq_f64(sums[j], two, two);
        }
    }
    double total = vaddvq_f64(vaddq_f64(vaddq_f64(sums[0], sums[1]), vaddq_f64(sums[2], sums[3])));
    return total * scale * scale + (i == n ? 0.0 : vlj_dot_generic.sum_square(sum + i, scale, n - i));
}

static double sum_distance_neon(const double *a, double scale_a, const double *b, double scale_b, size_t n) {
    float64x2_t sums[4] = {vdupq_n_f64(0), vdupq_n_f64(0), vdupq_n_f64(0), vdupq_n_f64(0)};
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (size_t j = 0; j < 4; j++) {
            float64x2_t scaled_b = vmulq_n_f64(vld1q_f64(b + i + 2 * j), scale_b);
            float64x2_t difference = vsubq_f64(vmulq_n_f64(vld1q_f64(a + i + 2 * j), scale_a), scaled_b);
            sums[j] = vfmaq_f64(sums[j], difference, difference);
        }
    }
    double sum = vaddvq_f64(vaddq_f64(vaddq_f64(sums[0], sums[1]), vaddq_f64(sums[2], sums[3])));
    return i == n ? sum : sum + vlj_dot_generic.sum_distance(a + i, scale_a, b + i, scale_b, n - i);
}

static int32_t dot_int8_neon(const int8_t *x, const int16_t *y, size_t n) {
    int32x4_t a = vdupq_n_s32(0), b = a;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        int8x16_t bytes = vld1q_s8(x + i);
        int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_high_s8(bytes);
        int16x8_t y_low = vld1q_s16(y + i), y_high = vld1q_s16(y + i + 8);
        a = vmlal_s16(a, vget_low_s16(low), vget_low_s16(y_low));
        b = vmlal_high_s16(b, low, y_low);
        a = vmlal_s16(a, vget_low_s16(high), vget_low_s16(y_high));
        b = vmlal_high_s16(b, high, y_high);
    }
    return vaddvq_s32(vaddq_s32(a, b)) + vlj_dot_generic.dot_int8(x + i, y + i, n - i);
}

const vlj_dot_kernels vlj_dot_neon = {
    .name = "neon",
    .isa = VLJ_ISA_NEON,
    .dot = dot_neon,
    .dot_half = dot_half_neon,
    .square = square_neon,
    .distance = distance_neon,
    .add = add_neon,
    .sum_square = sum_square_neon,
    .sum_distance = sum_distance_neon,
    .dot_int8 = dot_int8_neon,
};

#else
typedef int vlj_dot_neon_is_for_aarch64; /* ISO C wants one declaration per file */
#endif
