/* pool.c: dispatch of the pooling kernels by name, the fused tail of the Predictor, and nearest rows. */
#include "pool.h"

#include <math.h>
#include <string.h>

#include "dot.h"
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

/* The best so far, best first. Few rows get in once these are good, so moving them one by one costs next to nothing. */
typedef struct best {
    uint32_t k, found, *indices;
    float *cosines;
} best;

static inline void offer(best *b, uint32_t index, float cosine) {
    if (isnan(cosine)) {
        cosine = -INFINITY; /* a damaged row comes last, and leaves the order whole */
    }
    if (b->found == b->k && !(cosine > b->cosines[b->k - 1])) {
        return;
    }
    uint32_t place = b->found < b->k ? b->found++ : b->k - 1;
    for (; place > 0 && cosine > b->cosines[place - 1]; place--) {
        b->cosines[place] = b->cosines[place - 1];
        b->indices[place] = b->indices[place - 1];
    }
    b->cosines[place] = cosine;
    b->indices[place] = index;
}

void vlj_pool_nearest(const float *rows, size_t count, size_t width, const float *query, uint32_t k, uint32_t *indices,
                      float *cosines) {
    const vlj_dot_kernels *kernels = vlj_dot_kernels_best();
    best b = {k, 0, indices, cosines};
    for (size_t i = 0; i < count; i++) {
        offer(&b, (uint32_t)i, kernels->dot(rows + i * width, query, width));
    }
}

void vlj_pool_nearest_int8(const vlj_pool_kernels *kernels, const int8_t *rows, const float *scales, size_t count,
                           size_t width, const float *query, uint32_t k, int16_t *quantised, uint32_t *indices,
                           float *cosines) {
    best b = {k, 0, indices, cosines};
    float largest = 0.0f;
    for (size_t j = 0; j < width; j++) {
        largest = fabsf(query[j]) > largest ? fabsf(query[j]) : largest;
    }
    float steps = largest > 0.0f ? (float)VLJ_POOL_QUERY_STEPS / largest : 0.0f;
    float step = largest / (float)VLJ_POOL_QUERY_STEPS;
    for (size_t j = 0; j < width; j++) {
        quantised[j] = (int16_t)lrintf(query[j] * steps);
    }
    for (size_t i = 0; i < count; i++) {
        float scale = step * (scales != NULL ? scales[i] : 1.0f / 127.0f);
        offer(&b, (uint32_t)i, scale * (float)kernels->dot_int8(rows + i * width, quantised, width));
    }
}
