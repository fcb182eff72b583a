/* yuv_generic.c: the NV12 and I420 kernels in plain C. */
#include "yuv_kernels.h"

static void columns_generic(const int16_t *row, const vlj_resize_axis *axis, int16_t *out) {
    for (uint32_t x = 0; x < axis->out_count; x++) {
        const int16_t *values = row + axis->first[x], *weights = axis->weights + (size_t)x * axis->taps;
        int32_t sum = 1 << (axis->shift - 1u);
        for (uint32_t k = 0; k < axis->count[x]; k++) {
            sum += weights[k] * values[k];
        }
        out[x] = (int16_t)(sum >> axis->shift);
    }
}

static void columns_pairs_generic(const int16_t *row, const vlj_resize_axis *axis, int16_t *out0, int16_t *out1) {
    for (uint32_t x = 0; x < axis->out_count; x++) {
        const int16_t *values = row + (size_t)axis->first[x] * 2u, *weights = axis->weights + (size_t)x * axis->taps;
        int32_t sum0 = 1 << (axis->shift - 1u), sum1 = sum0;
        for (uint32_t k = 0; k < axis->count[x]; k++) {
            sum0 += weights[k] * values[2u * k];
            sum1 += weights[k] * values[2u * k + 1u];
        }
        out0[x] = (int16_t)(sum0 >> axis->shift);
        out1[x] = (int16_t)(sum1 >> axis->shift);
    }
}

static inline uint8_t clip(int32_t value) {
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static void colours_generic(const int16_t *y, const int16_t *u, const int16_t *v, const vlj_yuv_matrix *matrix,
                            uint8_t *red, uint8_t *green, uint8_t *blue, size_t n) {
    const uint32_t drop = VLJ_RESIZE_FRACTION_BITS + VLJ_YUV_FACTOR_BITS;
    const int32_t half = 1 << (drop - 1u);
    for (size_t i = 0; i < n; i++) {
        int32_t luma = (y[i] - matrix->offset) * matrix->luma + half;
        int32_t from_u = u[i] - (128 << VLJ_RESIZE_FRACTION_BITS), from_v = v[i] - (128 << VLJ_RESIZE_FRACTION_BITS);
        red[i] = clip((luma + from_v * matrix->red_v) >> drop);
        green[i] = clip((luma + from_u * matrix->green_u + from_v * matrix->green_v) >> drop);
        blue[i] = clip((luma + from_u * matrix->blue_u) >> drop);
    }
}

const vlj_yuv_kernels vlj_yuv_generic = {
    .name = "generic",
    .isa = VLJ_ISA_GENERIC,
    .columns = columns_generic,
    .columns_pairs = columns_pairs_generic,
    .colours = colours_generic,
};
