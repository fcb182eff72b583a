/* pool_generic.c: the pooling kernels in plain C. */
#include "pool_kernels.h"

static void weighted_sum_generic(const float *rows, const float *weights, size_t count, size_t width, float *sum) {
    for (size_t i = 0; i < count; i++) {
        const float *row = rows + i * width, weight = weights[i];
        for (size_t j = 0; weight != 0.0f && j < width; j++) {
            sum[j] += weight * row[j];
        }
    }
}

const vlj_pool_kernels vlj_pool_generic = {
    .name = "generic",
    .isa = VLJ_ISA_GENERIC,
    .weighted_sum = weighted_sum_generic,
};
