/* dot_generic.c: the vector kernels in plain C. Four partial sums hide the latency of additions and let compilers
 * vectorise. */
#include <string.h>

#include "dot_kernels.h"

/* Exact, without branches: the bits of a half, moved to a float's place, are 2^-112 times its value. */
static inline float half_to_float(uint16_t half) {
    uint32_t magnitude = half & 0x7FFFu, bits = magnitude << 13;
    float value;
    memcpy(&value, &bits, sizeof value);
    value *= 0x1p112f;
    memcpy(&bits, &value, sizeof bits);
    bits |= (magnitude >= 0x7C00u ? 0x7F800000u : 0u) | (uint32_t)(half & 0x8000u) << 16; /* infinity, NaN; sign */
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline double square_of(double x) {
    return x * x;
}

static float dot_generic(const float *x, const float *y, size_t n) {
    float part0 = 0, part1 = 0, part2 = 0, part3 = 0;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        part0 += x[i] * y[i];
        part1 += x[i + 1] * y[i + 1];
        part2 += x[i + 2] * y[i + 2];
        part3 += x[i + 3] * y[i + 3];
    }
    for (; i < n; i++) {
        part0 += x[i] * y[i];
    }
    return (part0 + part1) + (part2 + part3);
}

static float dot_half_generic(const uint16_t *x, const float *y, size_t n) {
    float part0 = 0, part1 = 0, part2 = 0, part3 = 0;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        part0 += half_to_float(x[i]) * y[i];
        part1 += half_to_float(x[i + 1]) * y[i + 1];
        part2 += half_to_float(x[i + 2]) * y[i + 2];
        part3 += half_to_float(x[i + 3]) * y[i + 3];
    }
    for (; i < n; i++) {
        part0 += half_to_float(x[i]) * y[i];
    }
    return (part0 + part1) + (part2 + part3);
}

static double square_generic(const float *x, size_t n) {
    double part0 = 0, part1 = 0, part2 = 0, part3 = 0;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        part0 += square_of((double)x[i]);
        part1 += square_of((double)x[i + 1]);
        part2 += square_of((double)x[i + 2]);
        part3 += square_of((double)x[i + 3]);
    }
    for (; i < n; i++) {
        part0 += square_of((double)x[i]);
    }
    return (part0 + part1) + (part2 + part3);
}

static double distance_generic(const float *x, const float *y, size_t n) {
    double part0 = 0, part1 = 0, part2 = 0, part3 = 0;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        part0 += square_of((double)x[i] - (double)y[i]);
        part1 += square_of((double)x[i + 1] - (double)y[i + 1]);
        part2 += square_of((double)x[i + 2] - (double)y[i + 2]);
        part3 += square_of((double)x[i + 3] - (double)y[i + 3]);
    }
    for (; i < n; i++) {
        part0 += square_of((double)x[i] - (double)y[i]);
    }
    return (part0 + part1) + (part2 + part3);
}

static void add_generic(double *sum, const float *x, double sign, size_t n) {
    for (size_t i = 0; i < n; i++) {
        sum[i] += sign * (double)x[i];
    }
}

static double sum_square_generic(const double *sum, double scale, size_t n) {
    double part0 = 0, part1 = 0, part2 = 0, part3 = 0;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        part0 += square_of(sum[i]);
        part1 += square_of(sum[i + 1]);
        part2 += square_of(sum[i + 2]);
        part3 += square_of(sum[i + 3]);
    }
    for (; i < n; i++) {
        part0 += square_of(sum[i]);
    }
    return ((part0 + part1) + (part2 + part3)) * scale * scale;
}

static double sum_distance_generic(const double *a, double scale_a, const double *b, double scale_b, size_t n) {
    double part0 = 0, part1 = 0, part2 = 0, part3 = 0;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        part0 += square_of(a[i] * scale_a - b[i] * scale_b);
        part1 += square_of(a[i + 1] * scale_a - b[i + 1] * scale_b);
        part2 += square_of(a[i + 2] * scale_a - b[i + 2] * scale_b);
        part3 += square_of(a[i + 3] * scale_a - b[i + 3] * scale_b);
    }
    for (; i < n; i++) {
        part0 += square_of(a[i] * scale_a - b[i] * scale_b);
    }
    return (part0 + part1) + (part2 + part3);
}

static int32_t dot_int8_generic(const int8_t *x, const int16_t *y, size_t n) {
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

const vlj_dot_kernels vlj_dot_generic = {
    .name = "generic",
    .isa = VLJ_ISA_GENERIC,
    .dot = dot_generic,
    .dot_half = dot_half_generic,
    .square = square_generic,
    .distance = distance_generic,
    .add = add_generic,
    .sum_square = sum_square_generic,
    .sum_distance = sum_distance_generic,
    .dot_int8 = dot_int8_generic,
};
