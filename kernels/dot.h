/* dot.h: the vector arithmetic of gate, segmentation and phrase banks.
 *
 * Running sums are double: a float stream may be added and subtracted a million times and stay exact to about 1e-12.
 * Reductions add in an order of each instruction set's own, so results agree to rounding, not bit for bit.
 */
#ifndef VLJ_KERNELS_DOT_H
#define VLJ_KERNELS_DOT_H

#include <stddef.h>
#include <stdint.h>

#include "isa.h"

typedef struct vlj_dot_kernels {
    const char *name;
    vlj_isa isa;
    /* x . y of float32 rows, and of a float16 row with a float32 one; summed in float32. */
    float (*dot)(const float *x, const float *y, size_t n);
    float (*dot_half)(const uint16_t *x, const float *y, size_t n);
    /* |x|^2, and |x - y|^2, of float32 rows in double. */
    double (*square)(const float *x, size_t n);
    double (*distance)(const float *x, const float *y, size_t n);
    /* sum += sign * x */
    void (*add)(double *sum, const float *x, double sign, size_t n);
    /* |sum * scale|^2, and |a * scale_a - b * scale_b|^2: means of n members are sums times 1 / n. */
    double (*sum_square)(const double *sum, double scale, size_t n);
    double (*sum_distance)(const double *a, double scale_a, const double *b, double scale_b, size_t n);
    /* x . y, exactly: n * 128 * max |y| must stay below 2^31. */
    int32_t (*dot_int8)(const int8_t *x, const int16_t *y, size_t n);
} vlj_dot_kernels;

/* NULL when the name is unknown or the CPU lacks it. */
const vlj_dot_kernels *vlj_dot_kernels_named(const char *name);
/* The fastest that this CPU has, VLJ_ISA permitting. */
const vlj_dot_kernels *vlj_dot_kernels_best(void);

#endif
