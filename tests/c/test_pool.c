/* Pooling kernels: every instruction set against double, masked rows aren't read. */
#include <math.h>

#include "check.h"
#include "pool.h"

static uint32_t seed = 1;

static float noise(void) {
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / (float)(1u << 23) - 1.0f;
}

static float *make(size_t count) { /* to the element, for AddressSanitizer */
    float *values = malloc(count * sizeof *values + (count == 0));
    for (size_t i = 0; i < count; i++) {
        values[i] = noise();
    }
    return values;
}

static void check_pool(const vlj_pool_kernels *kernels, size_t tokens, size_t real, size_t width, size_t embedding) {
    float *hidden = make(tokens * width), *mask = make(tokens), *weight = make(width * embedding);
    float *bias = make(embedding), *scratch = make(width), *out = make(embedding);
    double *mean = calloc(width, sizeof *mean), *expected = calloc(embedding, sizeof *expected), square = 0;
    for (size_t i = 0; i < tokens; i++) {
        mask[i] = i < real ? 1.0f : 0.0f;
        for (size_t j = 0; j < width; j++) {
            mean[j] += i < real ? (double)hidden[i * width + j] / (double)real : 0.0;
        }
    }
    for (size_t e = 0; e < embedding; e++) {
        expected[e] = (double)bias[e];
        for (size_t j = 0; j < width; j++) {
            expected[e] += mean[j] * (double)weight[j * embedding + e];
        }
        square += expected[e] * expected[e];
    }
    vlj_pool_project(kernels, hidden, mask, tokens, width, weight, bias, embedding, scratch, out);
    for (size_t e = 0; e < embedding; e++) {
        CHECK_NEAR(out[e], expected[e] / sqrt(square), 2e-6);
    }
    free(hidden), free(mask), free(weight), free(bias), free(scratch), free(out), free(mean), free(expected);
}

/* Padding may hold anything: four masked rows in a row are never touched. */
static void check_padding(const vlj_pool_kernels *kernels) {
    float hidden[12 * 3], mask[12] = {1, 1, 1, 1}, weight[3 * 2] = {1, 0, 0, 1, 0, 0}, bias[2] = {0}, scratch[3];
    float out[2];
    for (int i = 0; i < 36; i++) {
        hidden[i] = i < 12 ? (float)(i % 3 == 0 ? 3 : 4) : NAN;
    }
    vlj_pool_project(kernels, hidden, mask, 12, 3, weight, bias, 2, scratch, out);
    CHECK_NEAR(out[0], 0.6, 1e-6);
    CHECK_NEAR(out[1], 0.8, 1e-6);
}

int main(void) {
    static const char *const names[] = {"generic", "avx2", "neon"};
    for (size_t i = 0; i < 3; i++) {
        const vlj_pool_kernels *kernels = vlj_pool_kernels_named(names[i]);
        if (kernels == NULL) {
            printf("%s: not on this CPU\n", names[i]);
            continue;
        }
        check_pool(kernels, 1, 1, 1, 1);
        check_pool(kernels, 40, 33, 64, 48);
        for (size_t n = 1; n < 40; n++) {
            check_pool(kernels, n, 1 + n / 2, 70 - n, n + 1);
        }
        check_padding(kernels);
    }
    CHECK(vlj_pool_kernels_named("sse9") == NULL);
    return 0;
}
