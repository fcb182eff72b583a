/* resize_neon.c: the resize kernels for AArch64. Sums are exact integers, so results equal the generic ones bit for
 * bit.
 */
#include "resize_kernels.h"

#if VLJ_KERNELS_NEON

#include <arm_neon.h>

/* 16 columns: sums of all rows, then the shift; narrowing in two steps keeps them exact. */
static inline void rows_16(const uint8_t *rows, size_t stride, const int16_t *weights, uint32_t count, int32x4_t drop,
                           int32x4_t half, int16_t *out) {
    int32x4_t sums[4] = {half, half, half, half};
    for (uint32_t k = 0; k < count; k++) {
        uint8x16_t bytes = vld1q_u8(rows + k * stride);
        int16x8_t low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes)));
        int16x8_t high = vreinterpretq_s16_u16(vmovl_high_u8(bytes));
        sums[0] = vmlal_n_s16(sums[0], vget_low_s16(low), weights[k]);
        sums[1] = vmlal_high_n_s16(sums[1], low, weights[k]);
        sums[2] = vmlal_n_s16(sums[2], vget_low_s16(high), weights[k]);
        sums[3] = vmlal_high_n_s16(sums[3], high, weights[k]);
    }
    for (int i = 0; i < 4; i++) {
        sums[i] = vshlq_s32(sums[i], drop);
    }
    vst1q_s16(out, vcombine_s16(vmovn_s32(sums[0]), vmovn_s32(sums[1])));
    vst1q_s16(out + 8, vcombine_s16(vmovn_s32(sums[2]), vmovn_s32(sums[3])));
}

static void rows_neon(const uint8_t *rows, size_t stride, const int16_t *weights, uint32_t count, uint32_t shift,
                      int16_t *out, size_t n) {
    if (n < 16) {
        vlj_resize_generic.rows(rows, stride, weights, count, shift, out, n);
        return;
    }
    int32_t bits = (int32_t)(shift - VLJ_RESIZE_FRACTION_BITS);
    int32x4_t drop = vdupq_n_s32(-bits), half = vdupq_n_s32(1 << (bits - 1)); /* a shift to the left by less than 0 */
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        rows_16(rows + i, stride, weights, count, drop, half, out + i);
    }
    if (i < n) { /* the tail overlaps columns that are done, so that no load passes the row's end */
        rows_16(rows + n - 16, stride, weights, count, drop, half, out + n - 16);
    }
}

static void columns_rgb_neon(const int16_t *row, const vlj_resize_axis *axis, uint8_t *plane0, uint8_t *plane1,
                             uint8_t *plane2) {
    const uint32_t drop = axis->shift + VLJ_RESIZE_FRACTION_BITS;
    const int32_t half = 1 << (drop - 1u);
    for (uint32_t x = 0; x < axis->out_count; x++) {
        const int16_t *pixels = row + (size_t)axis->first[x] * 3u, *weights = axis->weights + (size_t)x * axis->taps;
        int32x4_t sums[3] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
        for (uint32_t k = 0; k < axis->taps; k += 4) { /* taps are a multiple of 4 */
            int16x4x3_t channels = vld3_s16(pixels + (size_t)k * 3u);
            int16x4_t four = vld1_s16(weights + k);
            for (int channel = 0; channel < 3; channel++) {
                sums[channel] = vmlal_s16(sums[channel], channels.val[channel], four);
            }
        }
        plane0[x] = (uint8_t)((vaddvq_s32(sums[0]) + half) >> drop);
        plane1[x] = (uint8_t)((vaddvq_s32(sums[1]) + half) >> drop);
        plane2[x] = (uint8_t)((vaddvq_s32(sums[2]) + half) >> drop);
    }
}

static void columns_gray_neon(const int16_t *row, const vlj_resize_axis *axis, uint8_t *plane) {
    const uint32_t drop = axis->shift + VLJ_RESIZE_FRACTION_BITS;
    for (uint32_t x = 0; x < axis->out_count; x++) {
        const int16_t *pixels = row + axis->first[x], *weights = axis->weights + (size_t)x * axis->taps;
        int32x4_t sum = vdupq_n_s32(0);
        for (uint32_t k = 0; k < axis->taps; k += 4) {
            sum = vmlal_s16(sum, vld1_s16(pixels + k), vld1_s16(weights + k));
        }
        plane[x] = (uint8_t)((vaddvq_s32(sum) + (1 << (drop - 1u))) >> drop);
    }
}

const vlj_resize_kernels vlj_resize_neon = {
    .name = "neon",
    .isa = VLJ_ISA_NEON,
    .rows = rows_neon,
    .columns_rgb = columns_rgb_neon,
    .columns_gray = columns_gray_neon,
};

#else
typedef int vlj_resize_neon_is_for_aarch64; /* ISO C wants one declaration per file */
#endif
