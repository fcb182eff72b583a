/* Exact search: every row type and instruction set against double; ties, damaged rows, INT8 rows, and refusals. */
#include <math.h>

#include "check.h"
#include "nearest.h"
#include "vljepa.h"

enum { ROWS = 300, K = 9, MOST = 2100 };

static uint32_t seed = 1;

static float noise(void) {
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / (float)(1u << 23) - 1.0f;
}

static float *make(size_t count) { /* to the element, for AddressSanitizer */
    float *values = malloc(count * sizeof *values);
    for (size_t i = 0; i < count; i++) {
        values[i] = noise();
    }
    return values;
}

static double exact_dot(const float *x, const float *y, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)y[i];
    }
    return sum;
}

/* `cosines` are right to `tolerance`, in order, and no row that was left out is better. `rows` is what they mean. */
static void check_found(const float *rows, size_t width, const float *query, const uint32_t *indices,
                        const float *cosines, double tolerance) {
    int seen[ROWS] = {0};
    double length = sqrt(exact_dot(query, query, width));
    for (int i = 0; i < K; i++) {
        CHECK(indices[i] < ROWS && !seen[indices[i]]++);
        CHECK_NEAR(cosines[i], exact_dot(rows + indices[i] * width, query, width) / length, tolerance);
        CHECK(i == 0 || cosines[i] <= cosines[i - 1]);
    }
    for (uint32_t i = 0; i < ROWS; i++) {
        CHECK(seen[i] || exact_dot(rows + i * width, query, width) / length <= (double)cosines[K - 1] + tolerance);
    }
}

static void check_width(const vlj_dot_kernels *kernels, size_t width) {
    float *rows = make(ROWS * width), *query = make(width), *meant = malloc(ROWS * width * sizeof *meant);
    int8_t *values = malloc(ROWS * width);
    float scales[ROWS], cosines[K];
    uint32_t indices[K];
    float scale = (float)(1.0 / sqrt(exact_dot(query, query, width)));
    for (size_t i = 0; i < ROWS; i++) {
        float *row = rows + i * width;
        float length = (float)sqrt(exact_dot(row, row, width));
        for (size_t j = 0; j < width; j++) {
            row[j] /= length;
        }
        scales[i] = vlj_quantise_row(row, width, values + i * width);
        for (size_t j = 0; j < width; j++) {
            meant[i * width + j] = scales[i] * (float)values[i * width + j];
        }
        CHECK_NEAR(exact_dot(meant + i * width, meant + i * width, width), 1.0, 1e-5);
        CHECK(exact_dot(meant + i * width, row, width) > 0.9999); /* INT8 keeps the direction */
    }
    const vlj_bank floats = {VLJ_ROWS_FLOAT, rows, NULL, ROWS, width};
    vlj_nearest(kernels, &floats, query, scale, K, indices, cosines);
    check_found(rows, width, query, indices, cosines, 2e-6);
    const vlj_bank bytes = {VLJ_ROWS_INT8, values, scales, ROWS, width};
    vlj_nearest(kernels, &bytes, query, scale, K, indices, cosines);
    check_found(meant, width, query, indices, cosines, width > 2048 ? 4e-4 : 1e-4);
    free(rows), free(query), free(meant), free(values);
}

static void check_int8_products(const vlj_dot_kernels *kernels, size_t n, int extreme) {
    int8_t *x = malloc(n + 1);
    int16_t *y = malloc(n * sizeof *y + 1);
    int64_t expected = 0;
    for (size_t i = 0; i < n; i++) {
        x[i] = (int8_t)(extreme ? -128 : (int)(noise() * 127));
        y[i] = (int16_t)(extreme ? 8191 : (int)(noise() * 8191));
        expected += (int64_t)x[i] * y[i];
    }
    CHECK_EQ(kernels->dot_int8(x, y, n), expected);
    free(x), free(y);
}

static void check_order(const vlj_dot_kernels *kernels) {
    static const float rows[5][2] = {{0, 1}, {NAN, 0}, {1, 0}, {1, 0}, {0.6f, 0.8f}};
    static const int8_t values[3][2] = {{127, 0}, {0, 127}, {127, 0}};
    const float query[2] = {3, 0};
    uint32_t indices[5];
    float cosines[5];
    const vlj_bank floats = {VLJ_ROWS_FLOAT, rows, NULL, 5, 2};
    vlj_nearest(kernels, &floats, query, 1.0f / 3.0f, 5, indices, cosines);
    CHECK(indices[0] == 2 && indices[1] == 3 && indices[2] == 4 && indices[3] == 0 && indices[4] == 1);
    const vlj_bank bytes = {VLJ_ROWS_INT8, values, NULL, 3, 2};
    vlj_nearest(kernels, &bytes, query, 1.0f / 3.0f, 3, indices, cosines);
    CHECK(indices[0] == 0 && indices[1] == 2 && indices[2] == 1);
    CHECK_NEAR(cosines[0], 1.0, 1e-6);
    const float damaged[3] = {NAN, 1.0f, INFINITY};
    const vlj_bank scaled = {VLJ_ROWS_INT8, values, damaged, 3, 2};
    vlj_nearest(kernels, &scaled, query, 1.0f / 3.0f, 3, indices, cosines);
    CHECK(indices[0] == 2 && indices[1] == 1 && indices[2] == 0);
}

static void test_public(void) {
    enum { WIDTH = 24 };
    float *rows = make(ROWS * WIDTH), *query = make(WIDTH), scales[ROWS], cosines[ROWS];
    int8_t values[ROWS * WIDTH];
    uint32_t indices[ROWS];
    memset(rows + 7 * WIDTH, 0, WIDTH * sizeof *rows);
    CHECK_OK(vlj_quantise_rows(rows, ROWS, WIDTH, values, scales));
    CHECK(scales[7] == 0.0f);
    vlj_rows bank;
    VLJ_INIT(bank);
    bank.dtype = VLJ_INT8, bank.width = WIDTH, bank.count = ROWS, bank.data = values, bank.scales = scales;
    memcpy(query, rows + 123 * WIDTH, WIDTH * sizeof *query); /* of any length */
    CHECK_OK(vlj_nearest_rows(&bank, query, WIDTH, ROWS, indices, cosines));
    CHECK_EQ(indices[0], 123);
    CHECK(cosines[0] > 0.9999f && cosines[0] < 1.0001f);
    for (int i = 0; i < ROWS; i++) {
        CHECK(indices[i] != 7 || cosines[i] == 0.0f);
    }
    CHECK_FAILS(vlj_nearest_rows(&bank, query, WIDTH - 1, 1, indices, cosines), VLJ_E_ARGUMENT, "23 floats");
    CHECK_FAILS(vlj_nearest_rows(&bank, query, WIDTH, 0, indices, cosines), VLJ_E_ARGUMENT, "k is 0");
    CHECK_FAILS(vlj_nearest_rows(&bank, query, WIDTH, ROWS + 1, indices, cosines), VLJ_E_ARGUMENT, "k is 301");
    CHECK_FAILS(vlj_nearest_rows(&bank, NULL, WIDTH, 1, indices, cosines), VLJ_E_ARGUMENT, "query is NULL");
    bank.dtype = VLJ_INT64;
    CHECK_FAILS(vlj_nearest_rows(&bank, query, WIDTH, 1, indices, cosines), VLJ_E_ARGUMENT, "dtype 1");
    bank.dtype = VLJ_INT8, bank.width = 8193;
    CHECK_FAILS(vlj_nearest_rows(&bank, query, WIDTH, 1, indices, cosines), VLJ_E_ARGUMENT, "at most 8192");
    bank.width = WIDTH, bank.count = 0;
    CHECK_FAILS(vlj_nearest_rows(&bank, query, WIDTH, 1, indices, cosines), VLJ_E_ARGUMENT, "rows are 0");
    bank.count = ROWS;
    memset(query, 0, WIDTH * sizeof *query);
    CHECK_FAILS(vlj_nearest_rows(&bank, query, WIDTH, 1, indices, cosines), VLJ_E_ARGUMENT, "length 0");
    rows[11 * WIDTH + 3] = INFINITY;
    CHECK_FAILS(vlj_quantise_rows(rows, ROWS, WIDTH, values, scales), VLJ_E_ARGUMENT, "row 11");
    free(rows), free(query);
}

int main(void) {
    static const char *const names[] = {"generic", "avx2", "avx512", "neon"};
    for (size_t i = 0; i < 4; i++) {
        const vlj_dot_kernels *kernels = vlj_dot_kernels_named(names[i]);
        if (kernels == NULL) {
            printf("%s: not on this CPU\n", names[i]);
            continue;
        }
        for (size_t n = 0; n < 150; n++) {
            check_int8_products(kernels, n, 0);
        }
        check_int8_products(kernels, 2048, 1);
        static const size_t widths[] = {1, 7, 31, 32, 33, 65, 192, MOST};
        for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++) {
            check_width(kernels, widths[w]);
        }
        check_order(kernels);
    }
    test_public();
    return 0;
}
