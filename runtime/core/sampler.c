/* Sampling by timestamp: a drift-free grid of due times, re-anchored after gaps. */
#include "sampler.h"

/* Sources round their timestamps (milliseconds, 90 kHz ticks): a frame that is early by less than this is the one
 * meant. */
static const double EARLY_PERIODS = 1.0 / 16.0;
static const double GAP_PERIODS = 1.5;

void vlj_sampler_init(vlj_sampler *sampler, double fps) {
    *sampler = (vlj_sampler){.period_ns = 1e9 / fps};
}

bool vlj_sampler_take(vlj_sampler *sampler, int64_t timestamp_ns) {
    if (sampler->started) {
        double since_anchor = (double)(timestamp_ns - sampler->anchor_ns);
        double late = since_anchor - (double)sampler->taken * sampler->period_ns;
        if (late < -EARLY_PERIODS * sampler->period_ns) {
            return false;
        }
        if (late <= GAP_PERIODS * sampler->period_ns) {
            sampler->taken++;
            return true;
        }
    }
    sampler->started = true;
    sampler->anchor_ns = timestamp_ns;
    sampler->taken = 1;
    return true;
}
