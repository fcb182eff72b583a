/* Pooling kernels: every instruction set against double, masked rows aren't read, nearest rows in their order. */
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

static void check_int8(const vlj_pool_kernels *kernels, size_t n) {
    int8_t *x = malloc(n + 1);
    int16_t *y = malloc(n * sizeof *y + 1);
    int64_t expected = 0;
    for (size_t i = 0; i < n; i++) {
        int extreme = n == VLJ_POOL_MOST_INT8_WIDTH;
        x[i] = (int8_t)(extreme ? -128 : (int)(noise() * 127));
        y[i] = (int16_t)(extreme ? VLJ_POOL_QUERY_STEPS : (int)(noise() * VLJ_POOL_QUERY_STEPS));
        expected += (int64_t)x[i] * y[i];
    }
    CHECK_EQ(kernels->dot_int8(x, y, n), expected);
    free(x), free(y);
}

static void check_nearest(const vlj_pool_kernels *kernels) {
    enum { ROWS = 400, WIDTH = 72, K = 7 };
    static float rows[ROWS * WIDTH], query[WIDTH], scales[ROWS];
    static int8_t bytes[ROWS * WIDTH];
    int16_t quantised[WIDTH];
    uint32_t indices[2][K];
    float cosines[2][K];
    double length = 0;
    for (int j = 0; j < WIDTH; j++) {
        query[j] = noise();
        length += (double)query[j] * (double)query[j];
    }
    for (int j = 0; j < WIDTH; j++) {
        query[j] = (float)((double)query[j] / sqrt(length));
    }
    for (int i = 0; i < ROWS; i++) {
        scales[i] = 0.001f + 0.00001f * (float)(i % 13);
        for (int j = 0; j < WIDTH; j++) {
            bytes[i * WIDTH + j] = (int8_t)(noise() * 127);
            rows[i * WIDTH + j] = scales[i] * (float)bytes[i * WIDTH + j];
        }
    }
    memcpy(rows + 300 * WIDTH, rows + 200 * WIDTH, WIDTH * sizeof *rows);
    memcpy(bytes + 300 * WIDTH, bytes + 200 * WIDTH, WIDTH);
    scales[300] = scales[200];
    vlj_pool_nearest(rows, ROWS, WIDTH, query, K, indices[0], cosines[0]);
    vlj_pool_nearest_int8(kernels, bytes, scales, ROWS, WIDTH, query, K, quantised, indices[1], cosines[1]);
    for (int i = 0; i < K; i++) {
        double exact = 0;
        for (int j = 0; j < WIDTH; j++) {
            exact += (double)rows[indices[0][i] * WIDTH + (uint32_t)j] * (double)query[j];
        }
        CHECK_NEAR(cosines[0][i], exact, 1e-6);
        CHECK_NEAR(cosines[1][i], cosines[0][i], 2e-4);
        CHECK_EQ(indices[1][i], indices[0][i]);
        CHECK(i == 0 || cosines[0][i] <= cosines[0][i - 1]);
    }
    uint32_t better = 0;
    for (int i = 0; i < ROWS; i++) {
        double cosine = 0;
        for (int j = 0; j < WIDTH; j++) {
            cosine += (double)rows[i * WIDTH + j] * (double)query[j];
        }
        better += cosine > (double)cosines[0][K - 1] + 1e-6;
    }
    CHECK(better <= K - 1);
    rows[5 * WIDTH] = NAN; /* a damaged row comes last */
    uint32_t all[ROWS];
    float every[ROWS];
    vlj_pool_nearest(rows, ROWS, WIDTH, query, ROWS, all, every);
    CHECK_EQ(all[ROWS - 1], 5);
    for (int i = 0; i < ROWS; i++) {
        CHECK(all[i] != 200 || all[i + 1] == 300); /* equal ones keep their order */
    }
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
        for (size_t n = 0; n < 100; n++) {
            check_int8(kernels, n);
        }
        check_int8(kernels, VLJ_POOL_MOST_INT8_WIDTH);
        check_nearest(kernels);
    }
    CHECK(vlj_pool_kernels_named("sse9") == NULL);
    return 0;
}
