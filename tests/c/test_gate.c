/* The gate from C: memory of the caller's own, options over the bundle's, segments, and old or hostile callers. The
 * decisions themselves are compared with a plain gate in tests/test_gate.py. */
#include <math.h>

#include "check.h"
#include "gate.h"

enum { WIDTH = 5 };
#define SECOND 1000000000LL

static vlj_gate_result push(vlj_gate *gate, float degrees, int64_t timestamp_ns) {
    float row[WIDTH] = {cosf(degrees * 0.0174533f), sinf(degrees * 0.0174533f)};
    vlj_gate_result result;
    VLJ_INIT(result);
    CHECK_OK(vlj_gate_push(gate, row, timestamp_ns, &result));
    return result;
}

static vlj_gate_options options_of(uint32_t smoothing, float ward_threshold) {
    vlj_gate_options options;
    VLJ_INIT(options);
    options.width = WIDTH;
    options.smoothing = smoothing;
    options.ward_threshold = ward_threshold;
    return options;
}

static void test_segments(void) {
    vlj_gate_options options = options_of(3, 0.5f);
    vlj_gate *gate;
    float mean[WIDTH];
    CHECK_OK(vlj_gate_open(&options, &gate));
    CHECK_FAILS(vlj_gate_recent_mean(gate, mean, WIDTH), VLJ_E_STATE, "no prediction");
    CHECK_EQ(vlj_gate_segment_count(gate), 0);
    vlj_gate_result first = push(gate, 0, 100);
    CHECK(first.shift == 1 && first.reason == VLJ_REASON_FIRST);
    CHECK_FAILS(vlj_gate_closed_mean(gate, mean, WIDTH), VLJ_E_STATE, "no prediction");
    for (int i = 1; i < 10; i++) {
        CHECK_EQ(push(gate, 0, 100 + i * SECOND).shift, 0);
    }
    uint32_t shifted_at = 0;
    for (uint32_t i = 10; i < 16; i++) {
        vlj_gate_result result = push(gate, 90, 100 + (int64_t)i * SECOND);
        if (result.shift) {
            CHECK_EQ(shifted_at, 0); /* told once */
            CHECK_EQ(result.reason, VLJ_REASON_WARD);
            CHECK(result.score > result.threshold && result.score == result.ward);
            shifted_at = i;
            CHECK_EQ(vlj_gate_segment_start_ns(gate), 100 + 10 * SECOND);
            CHECK_EQ(vlj_gate_closed_count(gate), 10);
            CHECK_EQ(vlj_gate_closed_start_ns(gate), 100);
            CHECK_EQ(vlj_gate_closed_end_ns(gate), 100 + 9 * SECOND);
            CHECK_OK(vlj_gate_closed_mean(gate, mean, WIDTH));
            CHECK_NEAR(mean[0], 1, 1e-6);
            CHECK_EQ(vlj_gate_recent_count(gate), i - 9);
        }
    }
    CHECK(shifted_at >= 10 && shifted_at <= 12);
    CHECK_EQ(vlj_gate_segment_count(gate), 6);
    CHECK_EQ(vlj_gate_segment_end_ns(gate), 100 + 15 * SECOND);
    CHECK_OK(vlj_gate_segment_mean(gate, mean, WIDTH));
    CHECK_NEAR(mean[1], 1, 1e-6);
    CHECK_FAILS(vlj_gate_segment_mean(gate, mean, WIDTH - 1), VLJ_E_BUFFER, "room for 4");
    vlj_gate_close(gate);
    vlj_gate_close(NULL);
}

static void test_opposites_have_a_mean(void) {
    vlj_gate_options options = options_of(2, -1.0f);
    vlj_gate *gate;
    float mean[WIDTH];
    CHECK_OK(vlj_gate_open(&options, &gate));
    push(gate, 0, 1);
    float opposite[WIDTH] = {-1.0f};
    vlj_gate_result result;
    VLJ_INIT(result);
    CHECK_OK(vlj_gate_push(gate, opposite, 2, &result));
    CHECK_OK(vlj_gate_recent_mean(gate, mean, WIDTH));
    CHECK_EQ(mean[0], -1); /* the newest stands in for a mean that has no direction */
    vlj_gate_close(gate);
}

static void test_memory_of_the_callers(void) {
    vlj_gate_options bundle = options_of(4, 0.3f), asked, resolved;
    bundle.confirm = 2;
    bundle.max_interval_ns = 50;
    VLJ_INIT(asked);
    asked.ward_threshold = 0.9f;
    asked.max_interval_ns = -1;
    CHECK_OK(vlj_gate_resolve(&asked, &bundle, WIDTH, &resolved));
    CHECK_EQ(resolved.smoothing, 4);
    CHECK_EQ(resolved.confirm, 2);
    CHECK_NEAR(resolved.ward_threshold, 0.9, 1e-6);
    CHECK_EQ(resolved.max_interval_ns, -1);
    CHECK(resolved.hysteresis > 0); /* neither says: the default */
    CHECK_OK(vlj_gate_resolve(NULL, &bundle, WIDTH, &resolved));
    CHECK_EQ(resolved.max_interval_ns, 50);

    asked.struct_size = offsetof(vlj_gate_options, hysteresis); /* an older caller */
    asked.hysteresis = 99.0f;                                   /* beyond its struct */
    CHECK_OK(vlj_gate_resolve(&asked, &bundle, WIDTH, &resolved));

    resolved.confirm = 1000; /* more than the ring keeps */
    resolved.max_interval_ns = -1;
    size_t bytes = vlj_gate_bytes(&resolved);
    void *memory = aligned_alloc(64, bytes);
    memset(memory, 0, bytes);
    vlj_gate *gate = vlj_gate_init(memory, &resolved);
    for (int i = 0; i < 3000; i++) {
        push(gate, i < 1500 ? 0 : 90, i + 1);
    }
    CHECK_EQ(vlj_gate_closed_count(gate) + vlj_gate_segment_count(gate), 3000);
    CHECK(vlj_gate_closed_count(gate) > 2000);
    free(memory);
}

static void test_extreme_times(void) {
    vlj_gate_options options = options_of(1, 0.5f);
    options.max_interval_ns = INT64_MAX;
    options.target_rate_hz = 1.0f;
    vlj_gate *gate;
    CHECK_OK(vlj_gate_open(&options, &gate));
    push(gate, 0, INT64_MIN);
    CHECK_EQ(push(gate, 0, INT64_MAX).reason, VLJ_REASON_HEARTBEAT);
    CHECK(vlj_gate_ward_threshold(gate) > 0);
    vlj_gate_close(gate);
}

static void test_refusals(void) {
    vlj_gate_options options = options_of(1, 0.5f);
    vlj_gate *gate;
    vlj_gate_result result;
    float row[WIDTH] = {1};
    CHECK_FAILS(vlj_gate_open(NULL, &gate), VLJ_E_ARGUMENT, "options is NULL");
    options.width = 0;
    CHECK_FAILS(vlj_gate_open(&options, &gate), VLJ_E_ARGUMENT, "gate.width is 0");
    options.width = WIDTH;
    options.struct_size = 0;
    CHECK_FAILS(vlj_gate_open(&options, &gate), VLJ_E_ARGUMENT, "VLJ_INIT");
    options.struct_size = sizeof options;
    CHECK_OK(vlj_gate_open(&options, &gate));
    CHECK_FAILS(vlj_gate_push(gate, row, 0, NULL), VLJ_E_ARGUMENT, "result is NULL");
    CHECK_FAILS(vlj_gate_push(gate, NULL, 0, &result), VLJ_E_ARGUMENT, "embedding is NULL");
    VLJ_INIT(result);
    CHECK_OK(vlj_gate_push(gate, row, 7, &result));
    CHECK_FAILS(vlj_gate_push(gate, row, 7, &result), VLJ_E_TIMESTAMP, "later than");
    row[3] = NAN;
    CHECK_FAILS(vlj_gate_push(gate, row, 8, &result), VLJ_E_ARGUMENT, "finite");
    CHECK_EQ(vlj_gate_segment_count(gate), 1);
    vlj_gate_close(gate);
}

int main(void) {
    test_segments();
    test_opposites_have_a_mean();
    test_memory_of_the_callers();
    test_extreme_times();
    test_refusals();
    return 0;
}
