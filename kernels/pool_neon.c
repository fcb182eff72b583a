/* pool_neon.c: the pooling kernels for AArch64. */
#include "pool_kernels.h"

#if VLJ_KERNELS_NEON

#include <arm_neon.h>

/* Four rows at a time: the sums stay in L1, and are loaded and stored once for four rows that stream by. */
static void weighted_sum_neon(const float *rows, const float *weights, size_t count, size_t width, float *sum) {
    size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        const float *a = rows + i * width, *b = a + width, *c = b + width, *d = c + width;
        float32x4_t four = vld1q_f32(weights + i);
        if (vmaxvq_f32(vabsq_f32(four)) == 0.0f) {
            continue;
        }
        size_t j = 0;
        for (; j + 8 <= width; j += 8) {
            float32x4_t low = vfmaq_laneq_f32(vld1q_f32(sum + j), vld1q_f32(a + j), four, 0);
            float32x4_t high = vfmaq_laneq_f32(vld1q_f32(sum + j + 4), vld1q_f32(a + j + 4), four, 0);
            low = vfmaq_laneq_f32(low, vld1q_f32(b + j), four, 1);
            high = vfmaq_laneq_f32(high, vld1q_f32(b + j + 4), four, 1);
            low = vfmaq_laneq_f32(low, vld1q_f32(c + j), four, 2);
            high = vfmaq_laneq_f32(high, vld1q_f32(c + j + 4), four, 2);
            low = vfmaq_laneq_f32(low, vld1q_f32(d + j), four, 3);
            high = vfmaq_laneq_f32(high, vld1q_f32(d + j + 4), four, 3);
            vst1q_f32(sum + j, low);
            vst1q_f32(sum + j + 4, high);
        }
        for (; j < width; j++) {
            sum[j] += weights[i] * a[j] + weights[i + 1] * b[j] + weights[i + 2] * c[j] + weights[i + 3] * d[j];
        }
    }
    vlj_pool_generic.weighted_sum(rows + i * width, weights + i, count - i, width, sum);
}

const vlj_pool_kernels vlj_pool_neon = {
    .name = "neon",
    .isa = VLJ_ISA_NEON,
    .weighted_sum = weighted_sum_neon,
};

#else
typedef int vlj_pool_neon_is_for_aarch64; /* ISO C wants one declaration per file */
#endif
