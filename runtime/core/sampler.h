/* sampler.h: chooses the frames of a video, by timestamp, that make a steady target rate. */
#ifndef VLJ_SAMPLER_H
#define VLJ_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

/* Timestamps beyond this are refused by the stream, so that differences of two never overflow. */
#define VLJ_TIMESTAMP_LIMIT_NS (INT64_C(1) << 61)

typedef struct vlj_sampler {
    double period_ns;
    int64_t anchor_ns; /* due times are anchor + taken * period: no rounding adds up over a year */
    uint64_t taken;    /* since the anchor */
    bool started;
} vlj_sampler;

void vlj_sampler_init(vlj_sampler *sampler, double fps);

/* True: take this frame. Timestamps ascend. The first frame at (or a sixteenth of a period before) the next due time is
 * taken, and the due time moves on by one period whatever the frame's own time, so jitter doesn't change the rate.
 * After a gap of more than 1.5 periods the grid is laid anew from the frame that ended it. A source slower than the
 * target gives all of its frames. */
bool vlj_sampler_take(vlj_sampler *sampler, int64_t timestamp_ns);

#endif
