/* gate.h: selective decoding, online. The public vlj_gate_* functions are the gate itself; here is what a stream needs
 * beyond them: a gate in memory of its own, options filled from the bundle's, and the means of segments.
 *
 * Words: the open segment is every prediction since the last shift. Its last m are "recent", the ones before "settled".
 */
#ifndef VLJ_CORE_GATE_H
#define VLJ_CORE_GATE_H

#include "vljepa.h"

#define VLJ_GATE_MAX_SMOOTHING 16u

/* What a field that is 0 means where there is no bundle (vlj_gate_open). */
void vlj_gate_defaults(vlj_gate_options *options);

/* `asked` over `base`: each field of `asked` that is 0 (or lies beyond its struct_size) takes base's value; asked may
 * be NULL. A negative interval, hysteresis, threshold or rate means off and stays negative. `resolved` gets `width`.
 * VLJ_E_ARGUMENT names the field that is out of range. */
vlj_status vlj_gate_resolve(const vlj_gate_options *asked, const vlj_gate_options *base, uint32_t width,
                            vlj_gate_options *resolved);

/* A gate in the caller's memory, 64-byte aligned and zeroed: no allocation, nothing to close. */
size_t vlj_gate_bytes(const vlj_gate_options *resolved);
vlj_gate *vlj_gate_init(void *memory, const vlj_gate_options *resolved);

/* The open segment: settled and recent together. Unit length [E]; VLJ_E_STATE before the first prediction. */
vlj_status vlj_gate_segment_mean(const vlj_gate *gate, float *embedding, size_t embedding_floats);
uint64_t vlj_gate_segment_count(const vlj_gate *gate);   /* predictions in it; 0 before the first */
int64_t vlj_gate_segment_start_ns(const vlj_gate *gate); /* of its first prediction */
int64_t vlj_gate_segment_end_ns(const vlj_gate *gate);   /* of its last prediction */

/* The segment that the last shift closed, whole: count is 0 after the first shift (nothing was closed). */
vlj_status vlj_gate_closed_mean(const vlj_gate *gate, float *embedding, size_t embedding_floats);
uint64_t vlj_gate_closed_count(const vlj_gate *gate);
int64_t vlj_gate_closed_start_ns(const vlj_gate *gate);
int64_t vlj_gate_closed_end_ns(const vlj_gate *gate);

/* Predictions that the mean of vlj_gate_recent_mean covers now, 1..m. */
uint32_t vlj_gate_recent_count(const vlj_gate *gate);
/* The Ward threshold in force: the rate controller moves it. */
float vlj_gate_ward_threshold(const vlj_gate *gate);

#endif
