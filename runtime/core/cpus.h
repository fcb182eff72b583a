/* cpus.h: which CPUs the core's threads may run on: sets by number, and a choice that keeps encoding and decoding apart
 * on chips with large and small cores. Only on Linux; elsewhere threads stay where the system puts them.
 *
 * A thread that an engine starts inherits the set of the thread that opens it, so one rule serves every backend.
 */
#ifndef VLJ_CORE_CPUS_H
#define VLJ_CORE_CPUS_H

#include <stdbool.h>
#include <stdint.h>

#include "vljepa.h"

enum { VLJ_MOST_CPUS = 1024 };

typedef struct vlj_cpus {
    uint64_t bits[VLJ_MOST_CPUS / 64]; /* none set: wherever the system likes */
} vlj_cpus;

static inline bool vlj_cpus_has(const vlj_cpus *cpus, uint32_t cpu) {
    return cpu < VLJ_MOST_CPUS && (cpus->bits[cpu / 64] >> cpu % 64 & 1) != 0;
}
uint32_t vlj_cpus_count(const vlj_cpus *cpus);

/* "0-3,6": Linux's own way to write a list. VLJ_E_ARGUMENT, naming `option`, for anything else. */
vlj_status vlj_cpus_parse(const char *list, const char *option, vlj_cpus *cpus);
/* The CPUs that this process may use. None set where the system doesn't tell. */
void vlj_cpus_allowed(vlj_cpus *cpus);

/* Splits `allowed` by what sysfs (`root`, /sys/devices/system/cpu) says of each CPU's capacity, or its highest clock.
 * Large and small ones: encoding gets the large (more than half of the largest's capacity), decoding the others. All
 * alike: from four on decoding gets the last one; fewer aren't split, both sets are empty. */
void vlj_cpus_split(const char *root, const vlj_cpus *allowed, vlj_cpus *encode, vlj_cpus *decode);

/* The two sets of options.cpus and options.decode_cpus: NULL is none, "auto" asks vlj_cpus_split, and goes for both
 * where only options.cpus says so. VLJ_E_ARGUMENT where a list has a CPU that this process may not use. */
vlj_status vlj_cpus_choose(const char *encode_option, const char *decode_option, vlj_cpus *encode, vlj_cpus *decode);

/* Moves the calling thread onto a set, if it has any; `before`, where not NULL, takes the set it came from. */
void vlj_cpus_enter(const vlj_cpus *cpus, vlj_cpus *before);

#endif
