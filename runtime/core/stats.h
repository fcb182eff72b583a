/* stats.h: log-scaled histograms of durations, from which vlj_stage_stats are made. */
#ifndef VLJ_STATS_H
#define VLJ_STATS_H

#include "vljepa.h"

/* Durations under 256 ns have a bucket each; above, every octave is cut into 48 equal parts, so a bucket is at most 2.5
 * % of its lower bound wide, whole nanoseconds counted. 2^43 ns (two and a half hours) and longer share the last one.
 */
enum { VLJ_HISTOGRAM_EXACT = 256, VLJ_HISTOGRAM_PARTS = 48, VLJ_HISTOGRAM_FIRST = 8, VLJ_HISTOGRAM_LAST = 43 };
enum {
    VLJ_HISTOGRAM_BUCKETS = VLJ_HISTOGRAM_EXACT + VLJ_HISTOGRAM_PARTS * (VLJ_HISTOGRAM_LAST - VLJ_HISTOGRAM_FIRST) + 1
};

typedef struct vlj_histogram {
    uint64_t count;
    int64_t min_ns, max_ns, sum_ns; /* exact; 292 years fit */
    uint32_t buckets[VLJ_HISTOGRAM_BUCKETS];
} vlj_histogram;

/* Negative durations (a clock that an owner set back) count as 0. */
void vlj_histogram_record(vlj_histogram *histogram, int64_t duration_ns);
/* Quantiles by nearest rank: the middle of the bucket that holds it, never outside of [min, max]. All 0 when empty. */
void vlj_histogram_summary(const vlj_histogram *histogram, vlj_stage_stats *summary);
/* Lower bound of a bucket; the upper one is the next bucket's. */
int64_t vlj_histogram_bound(uint32_t bucket);

#endif
