/* Linear kernels: AMX against generic, in memory to the byte (for AddressSanitizer). Exactness is tested in Python. */
#include "linear.h"

#include <math.h>

#include "check.h"

static float noise(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(*seed >> 8) / 8388608.0f - 1.0f;
}

static float *made(size_t count, uint32_t *seed) {
    float *values = malloc(count * sizeof *values);
    for (size_t i = 0; i < count; i++) {
        values[i] = noise(seed);
    }
    return values;
}

/* The result's bytes, of exactly their number, as are the scratch's and the inputs'. */
static void *mapped(const vlj_linear_kernels *kernels, vlj_linear l, size_t bytes) {
    size_t scratch_bytes = kernels->scratch_bytes(&l);
    void *scratch = aligned_alloc(VLJ_LINEAR_ALIGNMENT, (scratch_bytes + 63) / 64 * 64);
    l.out = malloc(bytes);
    memset(l.out, 7, bytes);
    memset(scratch, 0xff, scratch_bytes);
    size_t half = l.rows / 2; /* two calls, as two threads make them */
    kernels->run(&l, 0, half, scratch);
    kernels->run(&l, half, l.rows - half, scratch);
    free(scratch);
    return l.out;
}

static void compare(const vlj_linear_kernels *amx, size_t rows, size_t inner, size_t columns, vlj_linear_type in,
                    vlj_linear_type out, vlj_linear_norm norm, vlj_linear_activation activation, int more) {
    uint32_t seed = (uint32_t)(rows * 8 + inner);
    float *x = made(rows * inner, &seed), *scale = made(columns, &seed), *bias = made(columns, &seed);
    float *weight = made(inner, &seed), *sum = made(rows * columns, &seed);
    uint16_t *factor = malloc(rows * columns * sizeof *factor);
    int8_t *weights = malloc(inner * columns), *packed = aligned_alloc(VLJ_LINEAR_ALIGNMENT, inner * columns);
    for (size_t i = 0; i < inner * columns; i++) {
        weights[i] = (int8_t)(noise(&seed) * 127.0f);
    }
    for (size_t i = 0; i < rows * columns; i++) {
        factor[i] = (uint16_t)(0x3f80 + i % 64); /* 1 to 1.5 */
    }
    for (size_t i = 0; i < columns; i++) {
        scale[i] = (1.5f + scale[i]) * 1e-4f;
    }
    vlj_linear_pack(weights, inner, columns, packed);
    free(weights);
    int8_t *bytes = malloc(rows * inner);
    for (size_t i = 0; i < rows * inner; i++) {
        bytes[i] = (int8_t)(x[i] * 127.0f);
    }
    static const size_t sizes[] = {4, 2, 1};
    vlj_linear l = {.rows = rows,
                    .inner = inner,
                    .columns = columns,
                    .in_type = in,
                    .out_type = out,
                    .norm = norm,
                    .activation = activation,
                    .in = in == VLJ_LINEAR_INT8 ? (void *)bytes : (void *)x,
                    .norm_weight = weight,
                    .norm_bias = more ? weight : NULL,
                    .epsilon = 1e-5f,
                    .in_scale = 0.0071f,
                    .weights = packed,
                    .scale = scale,
                    .bias = more ? bias : NULL,
                    .factor = more ? factor : NULL,
                    .sum = more ? sum : NULL,
                    .out_scale = 0.05f};
    size_t count = rows * columns, wrong = 0;
    void *exact = mapped(vlj_linear_kernels_named("generic"), l, count * sizes[out]);
    void *found = amx != NULL ? mapped(amx, l, count * sizes[out]) : NULL;
    for (size_t i = 0; i < count && found != NULL; i++) {
        if (out == VLJ_LINEAR_FLOAT32) {
            wrong += fabsf(((float *)exact)[i] - ((float *)found)[i]) > 0.01f;
        } else if (out == VLJ_LINEAR_INT8) {
            wrong += abs(((int8_t *)exact)[i] - ((int8_t *)found)[i]) > 1;
        } else {
            wrong += abs(((uint16_t *)exact)[i] - ((uint16_t *)found)[i]) > 1; /* in the last place */
        }
    }
    CHECK(wrong * 100 <= count); /* a value in the middle may be rounded to the other integer */
    free(exact), free(found), free(bytes), free(packed), free(factor);
    free(x), free(scale), free(bias), free(weight), free(sum);
}

int main(void) {
    const vlj_linear_kernels *amx = vlj_linear_kernels_named("amx");
    CHECK(vlj_linear_kernels_named("nonsense") == NULL);
    CHECK(vlj_linear_kernels_best() != NULL);
    static const size_t rows[] = {1, 2, 31, 33, 70};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int more = 0; more < 2; more++) {
            compare(amx, rows[i], 64, 32, VLJ_LINEAR_INT8, VLJ_LINEAR_FLOAT32, VLJ_LINEAR_NO_NORM, VLJ_LINEAR_IDENTITY,
                    more);
            compare(amx, rows[i], 576, 96, VLJ_LINEAR_FLOAT32, VLJ_LINEAR_BFLOAT16, VLJ_LINEAR_LAYER_NORM,
                    VLJ_LINEAR_IDENTITY, more);
            compare(amx, rows[i], 192, 64, VLJ_LINEAR_FLOAT32, VLJ_LINEAR_INT8, VLJ_LINEAR_RMS_NORM, VLJ_LINEAR_SILU,
                    more);
            compare(amx, rows[i], 1088, 32, VLJ_LINEAR_INT8, VLJ_LINEAR_INT8, VLJ_LINEAR_NO_NORM, VLJ_LINEAR_GELU,
                    more);
        }
    }
    return 0;
}
