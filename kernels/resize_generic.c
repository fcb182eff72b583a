/* resize_generic.c: the resize kernels in plain C, written so that compilers vectorise the row pass (NEON, SSE2, RVV).
 */
#include "resize_kernels.h"

#define BLOCK 64u /* columns whose sums stay in registers or L1 */

static void rows_generic(const uint8_t *rows, size_t stride, const int16_t *weights, uint32_t count, uint32_t shift,
                         int16_t *out, size_t n) {
    uint32_t drop = shift - VLJ_RESIZE_FRACTION_BITS;
    for (size_t start = 0; start < n; start += BLOCK) {
        size_t width = n - start < BLOCK ? n - start : BLOCK;
        int32_t sums[BLOCK];
        for (size_t i = 0; i < BLOCK; i++) {
            sums[i] = 1 << (drop - 1u);
        }
        for (uint32_t k = 0; k < count; k++) {
            const uint8_t *row = rows + k * stride + start;
            int32_t weight = weights[k];
            if (width == BLOCK) { /* a constant trip count vectorises best */
                for (size_t i = 0; i < BLOCK; i++) {
                    sums[i] += weight * row[i];
                }
            } else {
                for (size_t i = 0; i < width; i++) {
                    sums[i] += weight * row[i];
                }
            }
        }
        for (size_t i = 0; i < width; i++) {
            out[start + i] = (int16_t)(sums[i] >> drop);
        }
    }
}

static void columns_rgb_generic(const int16_t *row, const vlj_resize_axis *axis, uint8_t *plane0, uint8_t *plane1,
                                uint8_t *plane2) {
    uint32_t drop = axis->shift + VLJ_RESIZE_FRACTION_BITS;
    for (uint32_t x = 0; x < axis->out_count; x++) {
        const int16_t *pixel = row + (size_t)axis->first[x] * 3u;
        const int16_t *weights = axis->weights + (size_t)x * axis->taps;
        int32_t sum0 = 1 << (drop - 1u), sum1 = sum0, sum2 = sum0;
        for (uint32_t k = 0; k < axis->count[x]; k++, pixel += 3) {
            sum0 += weights[k] * pixel[0];
            sum1 += weights[k] * pixel[1];
            sum2 += weights[k] * pixel[2];
        }
        plane0[x] = (uint8_t)(sum0 >> drop);
        plane1[x] = (uint8_t)(sum1 >> drop);
        plane2[x] = (uint8_t)(sum2 >> drop);
    }
}

static void columns_gray_generic(const int16_t *row, const vlj_resize_axis *axis, uint8_t *plane) {
    uint32_t drop = axis->shift + VLJ_RESIZE_FRACTION_BITS;
    for (uint32_t x = 0; x < axis->out_count; x++) {
        const int16_t *pixel = row + axis->first[x];
        const int16_t *weights = axis->weights + (size_t)x * axis->taps;
        int32_t sum = 1 << (drop - 1u);
        for (uint32_t k = 0; k < axis->count[x]; k++) {
            sum += weights[k] * pixel[k];
        }
        plane[x] = (uint8_t)(sum >> drop);
    }
}

const vlj_resize_kernels vlj_resize_generic = {
    .name = "generic",
    .isa = VLJ_ISA_GENERIC,
    .rows = rows_generic,
    .columns_rgb = columns_rgb_generic,
    .columns_gray = columns_gray_generic,
};
