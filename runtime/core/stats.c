/* Log-scaled histograms: bucket by the leading bit and a division of the octave, no floating point when recording. */
#include "stats.h"

static uint32_t bucket_of(int64_t duration_ns) {
    if (duration_ns < VLJ_HISTOGRAM_EXACT) {
        return (uint32_t)duration_ns;
    }
    uint32_t octave = 63u - (uint32_t)__builtin_clzll((unsigned long long)duration_ns);
    if (octave >= VLJ_HISTOGRAM_LAST) {
        return VLJ_HISTOGRAM_BUCKETS - 1;
    }
    uint64_t above = (uint64_t)duration_ns - (UINT64_C(1) << octave);
    uint32_t part = (uint32_t)((above * VLJ_HISTOGRAM_PARTS) >> octave);
    return VLJ_HISTOGRAM_EXACT + (octave - VLJ_HISTOGRAM_FIRST) * VLJ_HISTOGRAM_PARTS + part;
}

int64_t vlj_histogram_bound(uint32_t bucket) {
    if (bucket < VLJ_HISTOGRAM_EXACT) {
        return bucket;
    }
    uint32_t octave = (bucket - VLJ_HISTOGRAM_EXACT) / VLJ_HISTOGRAM_PARTS + VLJ_HISTOGRAM_FIRST;
    uint64_t part = (bucket - VLJ_HISTOGRAM_EXACT) % VLJ_HISTOGRAM_PARTS;
    uint64_t base = UINT64_C(1) << octave;
    return (int64_t)(base + (part * base + VLJ_HISTOGRAM_PARTS - 1) / VLJ_HISTOGRAM_PARTS);
}

void vlj_histogram_record(vlj_histogram *histogram, int64_t duration_ns) {
    if (duration_ns < 0) {
        duration_ns = 0;
    }
    if (histogram->count == 0 || duration_ns < histogram->min_ns) {
        histogram->min_ns = duration_ns;
    }
    if (duration_ns > histogram->max_ns) {
        histogram->max_ns = duration_ns;
    }
    histogram->sum_ns += duration_ns;
    histogram->count++;
    uint32_t *bucket = &histogram->buckets[bucket_of(duration_ns)];
    if (++*bucket == UINT32_MAX) {
        /* years at 30 a second: from here on older durations weigh half, and quantiles stay right */
        for (uint32_t i = 0; i < VLJ_HISTOGRAM_BUCKETS; i++) {
            histogram->buckets[i] /= 2;
        }
    }
}

void vlj_histogram_summary(const vlj_histogram *histogram, vlj_stage_stats *summary) {
    *summary = (vlj_stage_stats){0};
    if (histogram->count == 0) {
        return;
    }
    summary->count = histogram->count;
    summary->min_ns = histogram->min_ns;
    summary->max_ns = histogram->max_ns;
    summary->mean_ns = histogram->sum_ns / (int64_t)histogram->count;

    uint64_t total = 0; /* not `count`: see the halving above */
    for (uint32_t i = 0; i < VLJ_HISTOGRAM_BUCKETS; i++) {
        total += histogram->buckets[i];
    }
    const uint32_t percents[] = {50, 90, 95, 99};
    int64_t *const values[] = {&summary->p50_ns, &summary->p90_ns, &summary->p95_ns, &summary->p99_ns};
    uint64_t seen = 0;
    uint32_t next = 0;
    for (uint32_t i = 0; i < VLJ_HISTOGRAM_BUCKETS && next < 4; i++) {
        seen += histogram->buckets[i];
        for (; next < 4 && seen * 100 >= total * percents[next]; next++) {
            int64_t low = vlj_histogram_bound(i);
            int64_t middle = i + 1 < VLJ_HISTOGRAM_BUCKETS ? low + (vlj_histogram_bound(i + 1) - low) / 2 : low;
            middle = middle < histogram->min_ns ? histogram->min_ns : middle;
            *values[next] = middle > histogram->max_ns ? histogram->max_ns : middle;
        }
    }
}
