/* pool.h: the Predictor's tail in one call: masked mean over tokens, projection, unit length; and the nearest rows of a
 * bank of embeddings. Both are bound by memory: every byte is read once, in order. */
#ifndef VLJ_KERNELS_POOL_H
#define VLJ_KERNELS_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "isa.h"

#define VLJ_POOL_SMALLEST_NORM 1e-12 /* shorter vectors are divided by this, as torch.nn.functional.normalize does */
#define VLJ_POOL_QUERY_STEPS 8191    /* of a quantised query: 2^31 / (127 * 8191) rows of sums cannot overflow */
#define VLJ_POOL_MOST_INT8_WIDTH 2048u

typedef struct vlj_pool_kernels {
    const char *name;
    vlj_isa isa;
    /* sum[j] += weights[i] * rows[i * width + j], i < count. Rows of weight 0 aren't read where four are so in a row.
     */
    void (*weighted_sum)(const float *rows, const float *weights, size_t count, size_t width, float *sum);
    /* x . y, exactly; n <= VLJ_POOL_MOST_INT8_WIDTH and |y| <= VLJ_POOL_QUERY_STEPS. */
    int32_t (*dot_int8)(const int8_t *x, const int16_t *y, size_t n);
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

/* The k rows with the largest cosine, best first; equal ones in their order. `query` and rows have unit length (float),
 * or rows are scales[i] * int8 (scales NULL: 1 / 127 for all). 1 <= k <= count. `quantised` takes width int16 values.
 */
void vlj_pool_nearest(const float *rows, size_t count, size_t width, const float *query, uint32_t k, uint32_t *indices,
                      float *cosines);
void vlj_pool_nearest_int8(const vlj_pool_kernels *kernels, const int8_t *rows, const float *scales, size_t count,
                           size_t width, const float *query, uint32_t k, int16_t *quantised, uint32_t *indices,
                           float *cosines);

#endif
