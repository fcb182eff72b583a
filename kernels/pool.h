/* pool.h: the Predictor's tail in one call: masked mean over tokens, projection, unit length. Bound by memory: every
 * byte is read once, in order. */
#ifndef VLJ_KERNELS_POOL_H
#define VLJ_KERNELS_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "isa.h"

#define VLJ_POOL_SMALLEST_NORM 1e-12 /* shorter vectors are divided by this, as torch.nn.functional.normalize does */

typedef struct vlj_pool_kernels {
    const char *name;
    vlj_isa isa;
    /* sum[j] += weights[i] * rows[i * width + j], i < count. Rows of weight 0 aren't read where four are so in a row.
     */
    void (*weighted_sum)(const float *rows, const float *weights, size_t count, size_t width, float *sum);
} vlj_pool_kernels;

/* NULL when the name is unknown or the CPU lacks it. */
const vlj_pool_kernels *vlj_pool_kernels_named(const char *name);
/* The fastest that this CPU has, VLJ_ISA permitting. */
const vlj_pool_kernels *vlj_pool_kernels_best(void);

/* hidden [tokens, width], mask [tokens] >= 0 (weights of the mean; 1 and 0 in a bundle), weight [width, embedding],
 * bias [embedding] -> unit row [embedding]. `scratch` takes width floats. A mask of zeros alone gives NaN, as 0 / 0
 * does. */
void vlj_pool_project(const vlj_pool_kernels *kernels, const float *hidden, const float *mask, size_t tokens,
                      size_t width, const float *weight, const float *bias, size_t embedding, float *scratch,
                      float *out);

#endif
