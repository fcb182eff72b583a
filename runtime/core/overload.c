/* The overload ladder: two late windows in a row go up a level, a run of calm ones goes down. */
#include "overload.h"

enum { LATE_WINDOWS = 2, FIRST_PATIENCE = 8, MOST_PATIENCE = 128 };

/* A level is given back when the level below would leave this part of the time idle. */
static const double LOAD_TO_RECOVER = 0.75;
static const double SERVICE_WEIGHT = 0.25; /* of the newest window in the moving average */

void vlj_overload_init(vlj_overload *overload) {
    *overload = (vlj_overload){.patience = FIRST_PATIENCE, .since_recovery = UINT32_MAX};
}

uint32_t vlj_overload_stride_factor(uint32_t level) {
    return level >= 1 ? 2 : 1;
}
bool vlj_overload_defers_decode(uint32_t level) {
    return level >= 2;
}

vlj_reason vlj_overload_reason(uint32_t level) {
    return level == 0   ? VLJ_REASON_NONE
           : level == 1 ? VLJ_REASON_STRIDE_UP
           : level == 2 ? VLJ_REASON_DECODE_DEFERRED
                        : VLJ_REASON_WINDOWS_DROPPED;
}

static int go_up(vlj_overload *overload) {
    /* Recovered too early: the load is still there. Wait longer the next time, so that levels don't flap. */
    if (overload->since_recovery < 4 * overload->patience && overload->patience < MOST_PATIENCE) {
        overload->patience *= 2;
    }
    overload->level++;
    overload->late_in_a_row = 0;
    return 1;
}

static int go_down(vlj_overload *overload) {
    overload->level--;
    overload->calm_in_a_row = 0;
    overload->since_recovery = 0;
    return -1;
}

int vlj_overload_observe(vlj_overload *overload, const vlj_overload_observation *seen) {
    double service = (double)seen->service_ns;
    overload->service_ns =
        overload->service_ns == 0 ? service : overload->service_ns + SERVICE_WEIGHT * (service - overload->service_ns);
    if (overload->since_recovery < UINT32_MAX) {
        overload->since_recovery++;
    }
    if (overload->since_recovery == 16 * overload->patience) {
        overload->patience = FIRST_PATIENCE;
    }

    double interval = (double)seen->interval_ns * vlj_overload_stride_factor(overload->level);
    bool late = seen->overtaken > 0 || (double)seen->wait_ns > 0.5 * interval;
    overload->late_in_a_row = late ? overload->late_in_a_row + 1 : 0;
    if (overload->late_in_a_row >= LATE_WINDOWS && overload->level < VLJ_OVERLOAD_TOP) {
        overload->calm_in_a_row = 0;
        return go_up(overload);
    }
    if (overload->level == 0) {
        return 0;
    }
    double below = (double)seen->interval_ns * vlj_overload_stride_factor(overload->level - 1);
    bool calm = !late && overload->service_ns < LOAD_TO_RECOVER * below;
    overload->calm_in_a_row = calm ? overload->calm_in_a_row + 1 : 0;
    return overload->calm_in_a_row >= overload->patience ? go_down(overload) : 0;
}
