/* The overload ladder as a pure state machine: climbs when late, comes back, doesn't flap. */
#include "check.h"
#include "overload.h"

static const int64_t MS = 1000000;

static int see(vlj_overload *overload, int64_t wait_ms, int64_t service_ms, uint64_t overtaken) {
    vlj_overload_observation seen = {100 * MS, wait_ms * MS, service_ms * MS, overtaken};
    return vlj_overload_observe(overload, &seen);
}

static void test_on_time(void) {
    vlj_overload overload;
    vlj_overload_init(&overload);
    for (int i = 0; i < 1000; i++) {
        CHECK_EQ(see(&overload, 1, 80, 0), 0);
    }
    CHECK_EQ(see(&overload, 90, 200, 1), 0); /* one hiccup is no overload */
    CHECK_EQ(see(&overload, 1, 80, 0), 0);
    CHECK_EQ(see(&overload, 90, 200, 1), 0);
    CHECK_EQ(overload.level, 0);
}

static void test_climbs_one_level_at_a_time(void) {
    vlj_overload overload;
    vlj_overload_init(&overload);
    uint32_t level = 0;
    for (int i = 0; i < 6; i++) {
        int change = see(&overload, 90, 400, 2);
        CHECK_EQ(change, i % 2);
        level += (uint32_t)change;
        CHECK_EQ(overload.level, level);
    }
    CHECK_EQ(overload.level, VLJ_OVERLOAD_TOP);
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(see(&overload, 90, 400, 2), 0);
    }
}

static void test_recovers_when_the_load_goes(void) {
    vlj_overload overload;
    vlj_overload_init(&overload);
    for (int i = 0; i < 6; i++) {
        see(&overload, 90, 400, 2);
    }
    int windows = 0;
    for (uint32_t expected = 3; expected > 0; expected--) {
        CHECK_EQ(overload.level, expected);
        while (see(&overload, 0, 5, 0) == 0) {
            CHECK(++windows < 200);
        }
        CHECK_EQ(overload.level, expected - 1);
    }
    CHECK(windows >= 3 * 7);
}

/* 150 ms of work per 100 ms window fits only while the stride is doubled: level 1 must hold, not swing. */
static void test_stays_where_the_load_fits(void) {
    vlj_overload overload;
    vlj_overload_init(&overload);
    int changes = 0;
    for (int i = 0; i < 2000; i++) {
        bool fits = overload.level >= 1;
        changes += see(&overload, fits ? 5 : 70, 150, fits ? 0 : 1) != 0;
    }
    CHECK_EQ(overload.level, 1);
    CHECK_EQ(changes, 1);
}

/* Service looks small (the decoder is what takes the time, and only below level 2): patience must grow. */
static void test_does_not_flap(void) {
    vlj_overload overload;
    vlj_overload_init(&overload);
    int changes = 0, at[4] = {0};
    for (int i = 0; i < 4000; i++) {
        bool decodes = !vlj_overload_defers_decode(overload.level);
        changes += see(&overload, decodes ? 150 : 5, 20, decodes ? 1 : 0) != 0;
        at[overload.level]++;
    }
    CHECK(changes < 100);
    CHECK(at[2] > 3500);
}

static void test_table(void) {
    CHECK_EQ(vlj_overload_stride_factor(0), 1);
    CHECK_EQ(vlj_overload_stride_factor(1), 2);
    CHECK_EQ(vlj_overload_stride_factor(3), 2);
    CHECK(!vlj_overload_defers_decode(1) && vlj_overload_defers_decode(2) && vlj_overload_defers_decode(3));
    CHECK_EQ(vlj_overload_reason(1), VLJ_REASON_STRIDE_UP);
    CHECK_EQ(vlj_overload_reason(2), VLJ_REASON_DECODE_DEFERRED);
    CHECK_EQ(vlj_overload_reason(3), VLJ_REASON_WINDOWS_DROPPED);
}

int main(void) {
    test_on_time();
    test_climbs_one_level_at_a_time();
    test_recovers_when_the_load_goes();
    test_stays_where_the_load_fits();
    test_does_not_flap();
    test_table();
    return 0;
}
