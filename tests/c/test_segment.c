/* vlj_segment against Ward clustering written the slow and obvious way, in O(N^2 E). */
#include "check.h"

static uint32_t seed = 1;

static float noise(void) {
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / (float)(1u << 23) - 1.0f;
}

static double cost_between(const float *rows, uint32_t width, size_t start, size_t middle, size_t end) {
    double n = (double)(middle - start), m = (double)(end - middle), distance = 0;
    for (uint32_t d = 0; d < width; d++) {
        double left = 0, right = 0;
        for (size_t i = start; i < middle; i++) {
            left += (double)rows[i * width + d];
        }
        for (size_t i = middle; i < end; i++) {
            right += (double)rows[i * width + d];
        }
        distance += (left / n - right / m) * (left / n - right / m);
    }
    return n * m / (n + m) * distance;
}

/* `starts` has room for count + 1. */
static void slow_segment(const float *rows, size_t count, uint32_t width, size_t segments, uint64_t *starts) {
    for (size_t i = 0; i <= count; i++) {
        starts[i] = i;
    }
    for (size_t left = count; left > segments; left--) {
        size_t cheapest = 1;
        double least = 1e300;
        for (size_t i = 1; i < left; i++) {
            double cost = cost_between(rows, width, starts[i - 1], starts[i], starts[i + 1]);
            if (cost < least) {
                least = cost;
                cheapest = i;
            }
        }
        memmove(starts + cheapest, starts + cheapest + 1, (left - cheapest) * sizeof *starts);
    }
}

static void test_random(void) {
    for (int trial = 0; trial < 60; trial++) {
        size_t count = 1 + (size_t)trial;
        uint32_t width = 1 + (uint32_t)trial % 9;
        float *rows = malloc(count * width * sizeof *rows), level = 0;
        uint64_t *found = malloc(count * sizeof *found), *expected = malloc((count + 1) * sizeof *expected);
        for (size_t i = 0; i < count * width; i++) {
            level = i % (7 * width) == 0 ? 3 * noise() : level;
            rows[i] = level + noise();
        }
        for (size_t segments = 1; segments <= count; segments += 1 + count / 9) {
            CHECK_OK(vlj_segment(rows, count, width, segments, found));
            slow_segment(rows, count, width, segments, expected);
            CHECK(memcmp(found, expected, segments * sizeof *found) == 0);
        }
        free(rows);
        free(found);
        free(expected);
    }
}

static void test_all_equal(void) {
    float rows[100 * 3];
    uint64_t starts[100];
    for (int i = 0; i < 300; i++) {
        rows[i] = 0.25f;
    }
    for (size_t segments = 1; segments <= 100; segments++) {
        CHECK_OK(vlj_segment(rows, 100, 3, segments, starts));
        for (size_t i = 0; i < segments; i++) {
            CHECK(starts[i] < 100 && (i == 0 ? starts[0] == 0 : starts[i] > starts[i - 1]));
        }
    }
}

static void test_refusals(void) {
    float row[2] = {1, 0};
    uint64_t start;
    CHECK_OK(vlj_segment(row, 1, 2, 1, &start));
    CHECK_EQ(start, 0);
    CHECK_FAILS(vlj_segment(NULL, 1, 2, 1, &start), VLJ_E_ARGUMENT, "embeddings is NULL");
    CHECK_FAILS(vlj_segment(row, 1, 2, 1, NULL), VLJ_E_ARGUMENT, "starts is NULL");
    CHECK_FAILS(vlj_segment(row, 1, 2, 2, &start), VLJ_E_ARGUMENT, "segments is 2");
    CHECK_FAILS(vlj_segment(row, 0, 2, 1, &start), VLJ_E_ARGUMENT, "[0, 2]");
}

int main(void) {
    test_random();
    test_all_equal();
    test_refusals();
    return 0;
}
