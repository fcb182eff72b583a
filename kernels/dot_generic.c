/* dot_generic.c: the vector kernels in plain C. Four partial sums hide the latency of additions and let compilers
 * vectorise. */
#include <string.h>

#include "dot_kernels.h"

static float half_to_float(uint16_t half) {
    uint32_t magnitude = half & 0x7FFFu, bits;
    float value;
    if (magnitude < 0x0400u) { /* zero and subnormals: multiples of 2^-24 */
        value = (float)magnitude * 0x1p-24f;
    } else {
        bits = magnitude >= 0x7C00u ? 0x7F800000u | (magnitude & 0x3FFu) << 13 : (magnitude + 0x1C000u) << 13;
        memcpy(&value, &bits, sizeof value);
    }
    return (half & 0x8000u) != 0 ? -value : value;
}

static float dot_generic(const float *x, const float *y, size_t n) {
    float parts[4] = {0, 0, 0, 0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (size_t j = 0; j < 4; j++) {
            parts[j] += x[i + j] * y[i + j];
        }
    }
    for (; i < n; i++) {
        parts[0] += x[i] * y[i];
    }
    return (parts[0] + parts[1]) + (parts[2] + parts[3]);
}

static float dot_half_generic(const uint16_t *x, const float *y, size_t n) {
    float parts[4] = {0, 0, 0, 0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (size_t j = 0; j < 4; j++) {
            parts[j] += half_to_float(x[i + j]) * y[i + j];
        }
    }
    for (; i < n; i++) {
        parts[0] += half_to_float(x[i]) * y[i];
    }
    return (parts[0] + parts[1]) + (parts[2] + parts[3]);
}

static double square_generic(const float *x, size_t n) {
    double parts[4] = {0, 0, 0, 0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (size_t j = 0; j < 4; j++) {
            parts[j] += (double)x[i + j] * (double)x[i + j];
        }
    }
    for (; i < n; i++) {
        parts[0] += (double)x[i] * (double)x[i];
    }
    return (parts[0] + parts[1]) + (parts[2] + parts[3]);
}

static double distance_generic(const float *x, const float *y, size_t n) {
    double parts[4] = {0, 0, 0, 0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (size_t j = 0; j < 4; j++) {
            double difference = (double)x[i + j] - (double)y[i + j];
            parts[j] += difference * difference;
        }
    }
    for (; i < n; i++) {
        double difference = (double)x[i] - (double)y[i];
        parts[0] += difference * difference;
    }
    return (parts[0] + parts[1]) + (parts[2] + parts[3]);
}

static void add_generic(double *sum, const float *x, double sign, size_t n) {
    for (size_t i = 0; i < n; i++) {
        sum[i] += sign * (double)x[i];
    }
}

static double sum_square_generic(const double *sum, double scale, size_t n) {
    double parts[4] = {0, 0, 0, 0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (size_t j = 0; j < 4; j++) {
            parts[j] += sum[i + j] * sum[i + j];
        }
    }
    for (; i < n; i++) {
        parts[0] += sum[i] * sum[i];
    }
    return ((parts[0] + parts[1]) + (parts[2] + parts[3])) * scale * scale;
}

static double sum_distance_generic(const double *a, double scale_a, const double *b, double scale_b, size_t n) {
    double parts[4] = {0, 0, 0, 0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (size_t j = 0; j < 4; j++) {
            double difference = a[i + j] * scale_a - b[i + j] * scale_b;
            parts[j] += difference * difference;
        }
    }
    for (; i < n; i++) {
        double difference = a[i] * scale_a - b[i] * scale_b;
        parts[0] += difference * difference;
    }
    return (parts[0] + parts[1]) + (parts[2] + parts[3]);
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
};
