/* pool.c: dispatch of the pooling kernels by name, and the fused tail of the Predictor. */
#include "pool.h"

#include <math.h>
#include <string.h>

#include "pool_kernels.h"

static const vlj_pool_kernels *const all_kernels[] = {
#if VLJ_KERNELS_X86
    &vlj_pool_avx2,
#endif
#if VLJ_KERNELS_NEON
    &vlj_pool_neon,
#endif
    &vlj_pool_generic,
};

const vlj_pool_kernels *vlj_pool_kernels_named(const char *name) {
    for (size_t i = 0; i < sizeof all_kernels / sizeof all_kernels[0]; i++) {
        if (strcmp(all_kernels[i]->name, name) == 0) {
            return vlj_isa_supported(all_kernels[i]->isa) ? all_kernels[i] : NULL;
        }
    }
    return NULL;
}

const vlj_pool_kernels *vlj_pool_kernels_best(void) {
    vlj_isa limit = vlj_isa_limit();
    size_t i = 0;
    while (all_kernels[i]->isa > limit) {
        i++; /* ends at generic at the latest */
    }
    return all_kernels[i];
}

void vlj_pool_project(const vlj_pool_kernels *kernels, const float *hidden, const float *mask, size_t tokens,
                      size_t width, const float *weight, const float *bias, size_t embedding, float *scratch,
                      float *out) {
    double count = 0.0, square = 0.0;
    for (size_t i = 0; i < tokens; i++) {
        count += (double)mask[i];
    }
    memset(scratch, 0, width * sizeof *scratch);
    kernels->weighted_sum(hidden, mask, tokens, width, scratch);
    for (size_t j = 0; j < width; j++) {
        scratch[j] = (float)((double)scratch[j] / count);
    }
    memcpy(out, bias, embedding * sizeof *out);
    kernels->weighted_sum(weight, scratch, width, embedding, out);
    for (size_t j = 0; j < embedding; j++) {
        square += (double)out[j] * (double)out[j];
    }
    double norm = sqrt(square), scale = 1.0 / (norm < VLJ_POOL_SMALLEST_NORM ? VLJ_POOL_SMALLEST_NORM : norm);
    for (size_t j = 0; j < embedding; j++) {
        out[j] = (float)((double)out[j] * scale);
    }
}
