/* linear.h: a layer's linear map in one call: norm, rounding to INT8, product with INT8 weights, bias, activation,
 * product and sum with other rows, rounding of the result. */
#ifndef VLJ_KERNELS_LINEAR_H
#define VLJ_KERNELS_LINEAR_H

#include <stddef.h>
#include <stdint.h>

#include "isa.h"

typedef enum vlj_linear_type { VLJ_LINEAR_FLOAT32 = 0, VLJ_LINEAR_BFLOAT16 = 1, VLJ_LINEAR_INT8 = 2 } vlj_linear_type;
typedef enum vlj_linear_norm {
    VLJ_LINEAR_NO_NORM = 0,
    VLJ_LINEAR_LAYER_NORM = 1,
    VLJ_LINEAR_RMS_NORM = 2
} vlj_linear_norm;
typedef enum vlj_linear_activation {
    VLJ_LINEAR_IDENTITY = 0,
    VLJ_LINEAR_GELU = 1, /* with the error function, not tanh */
    VLJ_LINEAR_SILU = 2
} vlj_linear_activation;

/* out = activation(norm(in) W * scale + bias) * factor + sum, of [rows, inner] by [inner, columns]. */
typedef struct vlj_linear {
    size_t rows, inner, columns; /* inner: a multiple of 64; columns: of 32 */
    vlj_linear_type in_type, out_type;
    vlj_linear_norm norm; /* of floats only */
    vlj_linear_activation activation;
    const void *in;
    const float *norm_weight, *norm_bias; /* [inner]; norm_bias NULL: none */
    float epsilon;
    float in_scale;         /* floats become INT8: x / in_scale, rounded to even, saturated */
    const int8_t *weights;  /* as vlj_linear_pack leaves them */
    const float *scale;     /* [columns]: in_scale times the weights' own */
    const float *bias;      /* [columns]; NULL: none */
    const uint16_t *factor; /* [rows, columns] in BF16; NULL: none */
    const float *sum;       /* [rows, columns]; NULL: none; may be `out` */
    void *out;              /* [rows, columns] */
    float out_scale;        /* of INT8: result / out_scale, rounded to even, saturated */
} vlj_linear;

#define VLJ_LINEAR_ALIGNMENT 64u /* of the scratch and of packed weights */

/* Row-major int8 [inner, columns] into the order that all kernels read, of the same size:
 * [columns / 16][inner / 64][16 of four rows][16 columns][4 rows]. */
void vlj_linear_pack(const int8_t *weights, size_t inner, size_t columns, int8_t *packed);

typedef struct vlj_linear_kernels {
    const char *name;
    vlj_isa isa;
    size_t (*scratch_bytes)(const vlj_linear *l);
    /* Rows first ... first + count - 1; several threads may share a map, each with scratch of its own. Blocks of 32
     * rows are worked on at once. */
    void (*run)(const vlj_linear *l, size_t first, size_t count, void *scratch);
} vlj_linear_kernels;

/* NULL when the name is unknown, the CPU lacks it, or the system doesn't let the process use it. */
const vlj_linear_kernels *vlj_linear_kernels_named(const char *name);
/* The fastest that this CPU has, VLJ_ISA permitting. */
const vlj_linear_kernels *vlj_linear_kernels_best(void);

#endif
