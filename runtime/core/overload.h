/* overload.h: the ladder by which a real-time stream gives up work when windows come late, and takes it up again.
 *
 * A pure state machine: it sees one observation per processed window and answers with a level. No clock, no threads.
 *   0  everything
 *   1  stride up: every second window
 *   2  decode deferred: as 1, and texts wait (for a bounded time) until windows are on time again
 *   3  windows dropped: as 2, and it is accepted that windows are overtaken
 */
#ifndef VLJ_OVERLOAD_H
#define VLJ_OVERLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "vljepa.h"

enum { VLJ_OVERLOAD_TOP = 3 };

typedef struct vlj_overload_observation {
    int64_t interval_ns; /* between the arrivals of two windows at the stream's own stride */
    int64_t wait_ns;     /* from the arrival of the window's last frame to the start of its work */
    int64_t service_ns;  /* that its work took */
    uint64_t overtaken;  /* windows lost to newer ones since the last observation */
} vlj_overload_observation;

typedef struct vlj_overload {
    uint32_t level;
    double service_ns; /* moving average */
    uint32_t late_in_a_row;
    uint32_t calm_in_a_row;
    uint32_t patience;       /* calm windows before one level is given back */
    uint32_t since_recovery; /* observations */
} vlj_overload;

void vlj_overload_init(vlj_overload *overload);
/* +1: degraded by one level, -1: recovered by one, 0: stays. */
int vlj_overload_observe(vlj_overload *overload, const vlj_overload_observation *seen);
/* Windows whose index is a multiple of this are made at `level`. */
uint32_t vlj_overload_stride_factor(uint32_t level);
bool vlj_overload_defers_decode(uint32_t level);
/* The reason that names a level in DEGRADED (to it) and RECOVERED (from it). */
vlj_reason vlj_overload_reason(uint32_t level);

#endif
