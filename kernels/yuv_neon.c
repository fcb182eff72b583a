/* yuv_neon.c: the NV12 and I420 kernels for AArch64. Sums are exact integers, so results equal the generic ones bit for
 * bit. */
#include "yuv_kernels.h"

#if VLJ_KERNELS_NEON

#include <arm_neon.h>

static void columns_neon(const int16_t *row, const vlj_resize_axis *axis, int16_t *out) {
    const int32_t half = 1 << (axis->shift - 1u);
    for (uint32_t x = 0; x < axis->out_count; x++) {
        const int16_t *values = row + axis->first[x], *weights = axis->weights + (size_t)x * axis->taps;
        int32x4_t sum = vdupq_n_s32(0);
        for (uint32_t k = 0; k < axis->taps; k += 4) { /* taps are a multiple of 4 */
            sum = vmlal_s16(sum, vld1_s16(values + k), vld1_s16(weights + k));
        }
        out[x] = (int16_t)((vaddvq_s32(sum) + half) >> axis->shift);
    }
}

static void columns_pairs_neon(const int16_t *row, const vlj_resize_axis *axis, int16_t *out0, int16_t *out1) {
    const int32_t half = 1 << (axis->shift - 1u);
    for (uint32_t x = 0; x < axis->out_count; x++) {
        const int16_t *values = row + (size_t)axis->first[x] * 2u, *weights = axis->weights + (size_t)x * axis->taps;
        int32x4_t sum0 = vdupq_n_s32(0), sum1 = sum0;
        for (uint32_t k = 0; k < axis->taps; k += 4) {
            int16x4x2_t both = vld2_s16(values + 2u * (size_t)k);
            int16x4_t four = vld1_s16(weights + k);
            sum0 = vmlal_s16(sum0, both.val[0], four);
            sum1 = vmlal_s16(sum1, both.val[1], four);
        }
        out0[x] = (int16_t)((vaddvq_s32(sum0) + half) >> axis->shift);
        out1[x] = (int16_t)((vaddvq_s32(sum1) + half) >> axis->shift);
    }
}

/* 8 sums to 8 clipped bytes. */
static inline void store_bytes(uint8_t *to, int32x4_t low, int32x4_t high) {
    enum { DROP = VLJ_RESIZE_FRACTION_BITS + VLJ_YUV_FACTOR_BITS };
    int16x8_t words = vcombine_s16(vqmovn_s32(vshrq_n_s32(low, DROP)), vqmovn_s32(vshrq_n_s32(high, DROP)));
    vst1_u8(to, vqmovun_s16(words));
}

static void colours_neon(const int16_t *y, const int16_t *u, const int16_t *v, const vlj_yuv_matrix *matrix,
                         uint8_t *red, uint8_t *green, uint8_t *blue, size_t n) {
    const int32x4_t half = vdupq_n_s32(1 << (VLJ_RESIZE_FRACTION_BITS + VLJ_YUV_FACTOR_BITS - 1u));
    const int16x8_t middle = vdupq_n_s16(128 << VLJ_RESIZE_FRACTION_BITS), offset = vdupq_n_s16(matrix->offset);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        int16x8_t luma = vsubq_s16(vld1q_s16(y + i), offset);
        int16x8_t from_u = vsubq_s16(vld1q_s16(u + i), middle), from_v = vsubq_s16(vld1q_s16(v + i), middle);
        int32x4_t low = vmlal_n_s16(half, vget_low_s16(luma), matrix->luma);
        int32x4_t high = vmlal_high_n_s16(half, luma, matrix->luma);
        store_bytes(red + i, vmlal_n_s16(low, vget_low_s16(from_v), matrix->red_v),
                    vmlal_high_n_s16(high, from_v, matrix->red_v));
        store_bytes(blue + i, vmlal_n_s16(low, vget_low_s16(from_u), matrix->blue_u),
                    vmlal_high_n_s16(high, from_u, matrix->blue_u));
        low = vmlal_n_s16(low, vget_low_s16(from_u), matrix->green_u);
        high = vmlal_high_n_s16(high, from_u, matrix->green_u);
        store_bytes(green + i, vmlal_n_s16(low, vget_low_s16(from_v), matrix->green_v),
                    vmlal_high_n_s16(high, from_v, matrix->green_v));
    }
    vlj_yuv_generic.colours(y + i, u + i, v + i, matrix, red + i, green + i, blue + i, n - i);
}

const vlj_yuv_kernels vlj_yuv_neon = {
    .name = "neon",
    .isa = VLJ_ISA_NEON,
    .columns = columns_neon,
    .columns_pairs = columns_pairs_neon,
    .colours = colours_neon,
};

#else
typedef int vlj_yuv_neon_is_for_aarch64; /* ISO C wants one declaration per file */
#endif
