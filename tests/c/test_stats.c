/* Histograms against sorted samples, and the trace's JSON. */
#include "check.h"
#include "stats.h"
#include "trace.h"

static void test_buckets(void) {
    for (uint32_t i = 0; i + 1 < VLJ_HISTOGRAM_BUCKETS; i++) {
        int64_t low = vlj_histogram_bound(i), high = vlj_histogram_bound(i + 1);
        CHECK(high > low);
        CHECK(low < VLJ_HISTOGRAM_EXACT ? high == low + 1 : (double)(high - low) <= 0.025 * (double)low);
        /* both ends of the bucket fall into it */
        for (int end = 0; end < 2; end++) {
            vlj_histogram histogram = {0};
            vlj_histogram_record(&histogram, end ? high - 1 : low);
            CHECK_EQ(histogram.buckets[i], 1);
        }
    }
}

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void test_quantiles(void) {
    enum { COUNT = 20000 };
    static int64_t samples[COUNT];
    static vlj_histogram histogram;
    uint64_t random = 88172645463325252ull;
    double sum = 0;
    for (int i = 0; i < COUNT; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        samples[i] = (int64_t)(random >> 21) >> (random % 34); /* over ten decades */
        vlj_histogram_record(&histogram, samples[i]);
        sum += (double)samples[i];
    }
    qsort(samples, COUNT, sizeof samples[0], compare);
    vlj_stage_stats stats;
    vlj_histogram_summary(&histogram, &stats);
    CHECK_EQ(stats.count, COUNT);
    CHECK_EQ(stats.min_ns, samples[0]);
    CHECK_EQ(stats.max_ns, samples[COUNT - 1]);
    CHECK_NEAR(stats.mean_ns, sum / COUNT, 1e-9 * sum / COUNT + 1);
    const struct {
        int percent;
        int64_t found;
    } cases[] = {{50, stats.p50_ns}, {90, stats.p90_ns}, {95, stats.p95_ns}, {99, stats.p99_ns}};
    for (int i = 0; i < 4; i++) {
        double exact = (double)samples[COUNT * cases[i].percent / 100 - 1];
        CHECK_NEAR(cases[i].found, exact, 0.0125 * exact + 1);
    }
}

static void test_edges(void) {
    static vlj_histogram histogram;
    vlj_stage_stats stats;
    vlj_histogram_summary(&histogram, &stats);
    CHECK_EQ(stats.count + (uint64_t)stats.p99_ns + (uint64_t)stats.max_ns, 0);
    vlj_histogram_record(&histogram, -5);
    vlj_histogram_record(&histogram, INT64_MAX / 4);
    vlj_histogram_summary(&histogram, &stats);
    CHECK_EQ(stats.min_ns, 0);
    CHECK_EQ(stats.p50_ns, 0);
    CHECK_EQ(stats.max_ns, INT64_MAX / 4);
    memset(&histogram, 0, sizeof histogram);
    vlj_histogram_record(&histogram, 1000003); /* one sample: every quantile is it, not its bucket's middle */
    vlj_histogram_summary(&histogram, &stats);
    CHECK_EQ(stats.p50_ns, 1000003);
    CHECK_EQ(stats.p99_ns, 1000003);
    histogram.buckets[100] = UINT32_MAX - 1;
    vlj_histogram_record(&histogram, 100); /* about to overflow: all halve */
    CHECK_EQ(histogram.buckets[100], UINT32_MAX / 2);
}

static void test_trace_ring(void) {
    vlj_span spans[3], span;
    vlj_trace trace;
    vlj_trace_init(&trace, spans, 3);
    for (uint64_t i = 0; i < 5; i++) {
        vlj_trace_record(&trace, &(vlj_span){.window = i});
    }
    CHECK_EQ(vlj_trace_first(&trace), 2);
    CHECK(!vlj_trace_get(&trace, 1, &span) && !vlj_trace_get(&trace, 5, &span));
    CHECK(vlj_trace_get(&trace, 2, &span) && span.window == 2);
    vlj_trace_init(&trace, NULL, 0);
    vlj_trace_record(&trace, &span);
    CHECK_EQ(trace.count, 0);
}

static void test_trace_json(void) {
    char text[2048];
    const char *queries[] = {"what \"is\" it?\n", "caf\xC3\xA9 \xFF \\"};
    size_t needed = 0;
    for (size_t capacity = 0; capacity <= sizeof text;
         capacity = capacity ? sizeof text + (capacity == sizeof text) : sizeof text) {
        vlj_text_writer writer = {text, capacity, 0};
        vlj_trace_begin(&writer, "nano\t1");
        vlj_trace_span(&writer,
                       &(vlj_span){.start_ns = 1234567, .duration_ns = 1002, .window = 7, .stage = 1, .thread = 2});
        vlj_trace_span(&writer, &(vlj_span){.start_ns = 5, .duration_ns = 0, .stage = 5, .thread = 3, .query = 1});
        vlj_trace_end(&writer, queries, 2);
        CHECK(needed == 0 || writer.length == needed); /* the same with no room at all */
        needed = writer.length;
    }
    text[needed] = '\0';
    CHECK(strstr(text, "\"name\":\"nano\\u00091\""));
    CHECK(strstr(text, "{\"ph\":\"X\",\"pid\":1,\"tid\":2,\"name\":\"encode\",\"ts\":1234.567,\"dur\":1.002,\"args\":{"
                       "\"window\":7}}"));
    CHECK(strstr(text, "\"name\":\"tokens\",\"ts\":0.005,\"dur\":0.000,\"args\":{\"window\":0,\"query\":1}}"));
    CHECK(strstr(text, "[\"what \\\"is\\\" it?\\u000a\",\"caf\xC3\xA9 \\ufffd \\\\\"]"));
}

int main(void) {
    test_buckets();
    test_quantiles();
    test_edges();
    test_trace_ring();
    test_trace_json();
    return 0;
}
