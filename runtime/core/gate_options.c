/* gate_options.c: fills and checks the gate's options: the caller's, then the bundle's, then defaults. */
#include <math.h>
#include <string.h>

#include "abi.h"
#include "error.h"
#include "gate.h"

void vlj_gate_defaults(vlj_gate_options *options) {
    memset(options, 0, sizeof *options);
    options->struct_size = sizeof *options;
    options->smoothing = 3;
    options->confirm = 1;
    options->ward_threshold = 0.5f; /* between the noise of unit vectors that mean the same and a change of subject */
    options->variance_threshold = -1.0f;
    options->hysteresis = 0.7f;
    options->target_rate_hz = -1.0f;
    options->min_interval_ns = -1;
    options->max_interval_ns = -1;
}

/* Takes from `from` each field that `to` leaves at 0. */
static void fill(vlj_gate_options *to, const vlj_gate_options *from) {
#define FILL(field) to->field = to->field != 0 ? to->field : from->field
    FILL(smoothing);
    FILL(confirm);
    FILL(ward_threshold);
    FILL(variance_threshold);
    FILL(hysteresis);
    FILL(target_rate_hz);
    FILL(min_interval_ns);
    FILL(max_interval_ns);
#undef FILL
}

static vlj_status check(const vlj_gate_options *o) {
    if (o->width == 0 || o->width > 1u << 20) {
        return vlj_fail(VLJ_E_ARGUMENT, "gate.width is %u, expected 1 to %u", o->width, 1u << 20);
    }
    if (o->smoothing > VLJ_GATE_MAX_SMOOTHING) {
        return vlj_fail(VLJ_E_ARGUMENT, "gate.smoothing is %u, expected 1 to %u", o->smoothing, VLJ_GATE_MAX_SMOOTHING);
    }
    if (!isfinite(o->ward_threshold) || !isfinite(o->variance_threshold)) {
        return vlj_fail(VLJ_E_ARGUMENT, "gate.%s is not a finite number",
                        isfinite(o->ward_threshold) ? "variance_threshold" : "ward_threshold");
    }
    if (!(o->hysteresis <= 1.0f)) {
        return vlj_fail(VLJ_E_ARGUMENT, "gate.hysteresis is %g, expected (0, 1], or negative for off",
                        (double)o->hysteresis);
    }
    if (!isfinite(o->target_rate_hz)) {
        return vlj_fail(VLJ_E_ARGUMENT, "gate.target_rate_hz is not a finite number");
    }
    if (o->target_rate_hz > 0.0f && o->ward_threshold < 0.0f) {
        return vlj_fail(VLJ_E_ARGUMENT, "gate.target_rate_hz is %g, but gate.ward_threshold, which it steers, is off",
                        (double)o->target_rate_hz);
    }
    if (o->max_interval_ns > 0 && o->min_interval_ns > o->max_interval_ns) {
        return vlj_fail(VLJ_E_ARGUMENT, "gate.min_interval_ns is %lld, above max_interval_ns (%lld)",
                        (long long)o->min_interval_ns, (long long)o->max_interval_ns);
    }
    return VLJ_OK;
}

vlj_status vlj_gate_resolve(const vlj_gate_options *asked, const vlj_gate_options *base, uint32_t width,
                            vlj_gate_options *resolved) {
    vlj_gate_options options, defaults;
    vlj_status status = vlj_struct_read(&options, sizeof options, asked, "gate");
    if (status != VLJ_OK) {
        return status;
    }
    if (base != NULL) {
        fill(&options, base);
    }
    vlj_gate_defaults(&defaults);
    fill(&options, &defaults);
    options.struct_size = sizeof options;
    options.width = width;
    status = check(&options);
    if (status == VLJ_OK) {
        *resolved = options;
    }
    return status;
}
