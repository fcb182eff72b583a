/* Sampling by timestamp: rates, jitter, rounding, gaps, and a year without drift. */
#include "check.h"
#include "sampler.h"

static const int64_t MS = 1000000;

static int taken_of(double source_fps, double target_fps, int seconds, int64_t jitter_ns, int64_t round_ns) {
    vlj_sampler sampler;
    vlj_sampler_init(&sampler, target_fps);
    int taken = 0;
    uint32_t random = 12345;
    for (int i = 0; i < (int)(source_fps * seconds); i++) {
        random = random * 1664525u + 1013904223u;
        int64_t jitter = jitter_ns ? (int64_t)(random >> 8) % (2 * jitter_ns) - jitter_ns : 0;
        int64_t at = (int64_t)((double)i * 1e9 / source_fps) + jitter;
        taken += vlj_sampler_take(&sampler, at / round_ns * round_ns);
    }
    return taken;
}

static void test_rates(void) {
    CHECK_EQ(taken_of(30, 10, 10, 0, 1), 100);
    CHECK_EQ(taken_of(30, 8, 10, 0, 1), 80);
    CHECK_EQ(taken_of(25, 8, 10, 0, 1), 80);
    CHECK_EQ(taken_of(29.97, 8, 100, 0, 1), 800);
    CHECK_EQ(taken_of(30, 30, 10, 0, 1), 300);
    CHECK_EQ(taken_of(30, 30, 10, 0, MS), 300); /* timestamps in whole milliseconds */
    CHECK_EQ(taken_of(60, 30, 10, 3 * MS, MS), 300);
    CHECK_EQ(taken_of(30, 8, 100, 5 * MS, 1), 800);
    CHECK_EQ(taken_of(5, 8, 10, 0, 1), 50); /* a slow source gives all it has */
    CHECK_EQ(taken_of(7.9, 8, 100, 0, 1), 790);
}

static void test_steady_grid(void) {
    vlj_sampler sampler;
    vlj_sampler_init(&sampler, 10.0);
    /* 30 fps: frames 0, 3, 6 ... and never one earlier or later */
    for (int i = 0; i < 300; i++) {
        CHECK_EQ(vlj_sampler_take(&sampler, (int64_t)i * 1000 * MS / 30), i % 3 == 0);
    }
}

static void test_gap(void) {
    vlj_sampler sampler;
    vlj_sampler_init(&sampler, 10.0);
    CHECK(vlj_sampler_take(&sampler, 0));
    CHECK(vlj_sampler_take(&sampler, 100 * MS));
    CHECK(vlj_sampler_take(&sampler, 1030 * MS)); /* 830 ms late: the grid starts anew here */
    CHECK(!vlj_sampler_take(&sampler, 1100 * MS));
    CHECK(vlj_sampler_take(&sampler, 1130 * MS));
    /* a gap of less than 1.5 periods keeps the grid */
    CHECK(vlj_sampler_take(&sampler, 1330 * MS));
    CHECK(vlj_sampler_take(&sampler, 1335 * MS));
    CHECK(!vlj_sampler_take(&sampler, 1400 * MS));
}

static void test_extremes(void) {
    vlj_sampler sampler;
    vlj_sampler_init(&sampler, 8.0);
    CHECK(vlj_sampler_take(&sampler, -VLJ_TIMESTAMP_LIMIT_NS));
    CHECK(!vlj_sampler_take(&sampler, -VLJ_TIMESTAMP_LIMIT_NS + 1));
    CHECK(vlj_sampler_take(&sampler, VLJ_TIMESTAMP_LIMIT_NS));

    /* a year at 8 fps: taken at the same phase to the microsecond */
    vlj_sampler_init(&sampler, 8.0);
    CHECK(vlj_sampler_take(&sampler, 0));
    sampler.taken = 8ull * 3600 * 24 * 365;
    int64_t due = INT64_C(125000000) * (int64_t)sampler.taken;
    CHECK(!vlj_sampler_take(&sampler, due - 125000000 / 16 - 1000));
    CHECK(vlj_sampler_take(&sampler, due - 125000000 / 16 + 1000));
}

int main(void) {
    test_rates();
    test_steady_grid();
    test_gap();
    test_extremes();
    return 0;
}
