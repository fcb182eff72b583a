/* gate.c: decides from a stream of predicted embeddings when the meaning has shifted (the paper's selective decoding,
 * made online): Ward cost of the last m predictions against the whole open segment, so that slow drift adds up and is
 * seen.
 *
 * Per prediction O(E): running sums in double of the settled and the recent part. Only the last max(m, 2) predictions
 * are kept. At a shift, O(m E): the recent ones are split where the Ward cost is largest, so that the new segment
 * starts with the first prediction of the new content and the closed segment's mean holds none of it.
 */
#include "gate.h"

#include <math.h>
#include <string.h>

#include "abi.h"
#include "dot.h"
#include "error.h"
#include "hooks.h"

/* The rate controller multiplies the threshold by e^GAIN at a shift and lets it fall by as much per 1 / target seconds,
 * so over a long time shifts come at the target rate. It stays within RANGE of the calibrated threshold: after hours of
 * a still picture a few shifts, and not hundreds, bring it back. */
#define RATE_GAIN 0.2
#define RATE_RANGE 16.0

/* How far back a shift is cut at most, whatever m and confirm are. */
#define MAX_RING 32u

struct vlj_gate {
    vlj_gate_options options;
    const vlj_dot_kernels *kernels;
    size_t bytes; /* of this allocation */
    uint32_t width;
    uint32_t reach;    /* how far back a shift may be cut: m + confirm - 1 predictions, at most MAX_RING */
    uint32_t capacity; /* of the ring: reach, and at least 2 for the local variance */
    uint32_t newest;   /* ring slot */
    uint32_t armed;
    uint32_t above;        /* windows in a row above a threshold */
    uint64_t members;      /* of the open segment; 0: nothing was pushed yet */
    uint64_t settled;      /* of those, how many are in settled_sum */
    uint64_t closed;       /* members of the segment that the last shift closed */
    double ward_threshold; /* in force */
    int64_t last_ns;       /* of the newest prediction */
    int64_t last_shift_ns;
    int64_t start_ns;   /* of the open segment's first prediction */
    int64_t evicted_ns; /* of the prediction that left the ring last */
    int64_t closed_start_ns, closed_end_ns;
    int64_t ring_ns[MAX_RING];
    double ring_square[MAX_RING];                  /* |x|^2 */
    double *settled_sum, *recent_sum, *closed_sum; /* [E] */
    float *ring;                                   /* [capacity, E] */
};

typedef struct layout {
    size_t sums, sum_bytes, ring, total;
} layout;

static uint32_t cut_reach(const vlj_gate_options *options) {
    uint64_t reach = (uint64_t)options->smoothing + options->confirm - 1u;
    return reach < MAX_RING ? (uint32_t)reach : MAX_RING;
}

static uint32_t ring_capacity(const vlj_gate_options *options) {
    uint32_t reach = cut_reach(options);
    return reach < 2 ? 2 : reach;
}

static layout plan_layout(const vlj_gate_options *options) {
    layout at;
    at.sums = vlj_align_up(sizeof(vlj_gate), 64);
    at.sum_bytes = vlj_align_up((size_t)options->width * sizeof(double), 64);
    at.ring = at.sums + 3 * at.sum_bytes;
    at.total = vlj_align_up(at.ring + (size_t)ring_capacity(options) * options->width * sizeof(float), 64);
    return at;
}

size_t vlj_gate_bytes(const vlj_gate_options *resolved) {
    return plan_layout(resolved).total;
}

vlj_gate *vlj_gate_init(void *memory, const vlj_gate_options *resolved) {
    layout at = plan_layout(resolved);
    uint8_t *bytes = memory;
    vlj_gate *gate = memory;
    gate->options = *resolved;
    gate->kernels = vlj_dot_kernels_best();
    gate->bytes = at.total;
    gate->width = resolved->width;
    gate->reach = cut_reach(resolved);
    gate->capacity = ring_capacity(resolved);
    gate->armed = 1;
    gate->ward_threshold = (double)resolved->ward_threshold;
    gate->settled_sum = (double *)(bytes + at.sums);
    gate->recent_sum = (double *)(bytes + at.sums + at.sum_bytes);
    gate->closed_sum = (double *)(bytes + at.sums + 2 * at.sum_bytes);
    gate->ring = (float *)(bytes + at.ring);
    return gate;
}

vlj_status vlj_gate_open(const vlj_gate_options *options, vlj_gate **gate) {
    if (options == NULL || gate == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "%s is NULL", options == NULL ? "options" : "gate");
    }
    *gate = NULL;
    vlj_gate_options asked, resolved;
    vlj_host host;
    vlj_status status = vlj_struct_read(&asked, sizeof asked, options, "gate");
    if (status == VLJ_OK) {
        status = vlj_gate_resolve(&asked, NULL, asked.width, &resolved);
    }
    if (status == VLJ_OK) {
        status = vlj_host_init(&host, NULL);
    }
    if (status != VLJ_OK) {
        return status;
    }
    void *memory = vlj_alloc(&host, vlj_gate_bytes(&resolved), 64);
    if (memory == NULL) {
        return vlj_fail(VLJ_E_MEMORY, "no memory for a gate of width %u (%zu bytes)", resolved.width,
                        vlj_gate_bytes(&resolved));
    }
    *gate = vlj_gate_init(memory, &resolved);
    return VLJ_OK;
}

void vlj_gate_close(vlj_gate *gate) {
    vlj_host host;
    if (gate != NULL && vlj_host_init(&host, NULL) == VLJ_OK) {
        vlj_free(&host, gate, gate->bytes);
    }
}

/* later - earlier, without overflow for whatever timestamps a caller gives. */
static int64_t elapsed(int64_t later, int64_t earlier) {
    int64_t difference;
    return __builtin_sub_overflow(later, earlier, &difference) ? INT64_MAX : difference;
}

static uint32_t at_most(uint64_t count, uint32_t limit) {
    return count < limit ? (uint32_t)count : limit;
}

static uint32_t recent_count(const vlj_gate *gate) {
    return at_most(gate->members, gate->options.smoothing);
}

/* Ring slot of the prediction that came `age` ones before the newest. */
static uint32_t slot_of(const vlj_gate *gate, uint32_t age) {
    return (gate->newest + gate->capacity - age) % gate->capacity;
}

static const float *row_of(const vlj_gate *gate, uint32_t age) {
    return gate->ring + (size_t)slot_of(gate, age) * gate->width;
}

/* Takes one prediction in; the oldest recent one settles when there are m already. */
static void take(vlj_gate *gate, const float *embedding, double square, int64_t timestamp_ns) {
    const vlj_dot_kernels *kernels = gate->kernels;
    uint32_t smoothing = gate->options.smoothing;
    if (gate->members == 0) {
        gate->start_ns = timestamp_ns;
    }
    if (gate->members >= smoothing) {
        const float *oldest = row_of(gate, smoothing - 1u);
        kernels->add(gate->settled_sum, oldest, 1.0, gate->width);
        kernels->add(gate->recent_sum, oldest, -1.0, gate->width);
        gate->settled++;
    }
    gate->newest = (gate->newest + 1u) % gate->capacity;
    gate->evicted_ns = gate->ring_ns[gate->newest];
    memcpy(gate->ring + (size_t)gate->newest * gate->width, embedding, gate->width * sizeof(float));
    gate->ring_square[gate->newest] = square;
    gate->ring_ns[gate->newest] = timestamp_ns;
    kernels->add(gate->recent_sum, embedding, 1.0, gate->width);
    gate->members++;
    gate->last_ns = timestamp_ns;
}

/* What joining `left` and `right` predictions would add to the sum of squared distances to the means. */
static double ward_cost(const vlj_gate *gate, const double *left_sum, uint64_t left, const double *right_sum,
                        uint64_t right) {
    if (left == 0 || right == 0) {
        return 0.0;
    }
    double n = (double)left, m = (double)right;
    return n * m / (n + m) * gate->kernels->sum_distance(left_sum, 1.0 / n, right_sum, 1.0 / m, gate->width);
}

/* Mean squared distance of the last max(m, 2) predictions of the segment to their mean. */
static double local_variance(const vlj_gate *gate) {
    if (gate->members < 2) {
        return 0.0;
    }
    if (gate->options.smoothing == 1) {
        return 0.25 * gate->kernels->distance(row_of(gate, 0), row_of(gate, 1), gate->width);
    }
    uint32_t count = recent_count(gate);
    double squares = 0.0;
    for (uint32_t age = 0; age < count; age++) {
        squares += gate->ring_square[slot_of(gate, age)];
    }
    double variance = squares / count - gate->kernels->sum_square(gate->recent_sum, 1.0 / count, gate->width);
    return variance > 0.0 ? variance : 0.0;
}

/* How many of the last `kept` predictions are of the new content: where the Ward cost of a cut is largest. Comes with
 * all kept predictions in recent_sum and the others in closed_sum, and leaves all but the newest in closed_sum. */
static uint32_t best_cut(vlj_gate *gate, uint32_t kept) {
    uint32_t best = kept;
    double best_cost = -1.0;
    for (uint32_t fresh = kept; fresh > 0; fresh--) {
        double cost = ward_cost(gate, gate->closed_sum, gate->members - fresh, gate->recent_sum, fresh);
        if (gate->members > fresh && cost > best_cost) {
            best_cost = cost;
            best = fresh;
        }
        if (fresh > 1) {
            gate->kernels->add(gate->closed_sum, row_of(gate, fresh - 1u), 1.0, gate->width);
            gate->kernels->add(gate->recent_sum, row_of(gate, fresh - 1u), -1.0, gate->width);
        }
    }
    return best;
}

/* Closes the open segment and opens the next with its last predictions. */
static void start_segment(vlj_gate *gate, vlj_reason reason) {
    const vlj_dot_kernels *kernels = gate->kernels;
    uint32_t width = gate->width, recent = recent_count(gate), kept = at_most(gate->members, gate->reach);
    memcpy(gate->closed_sum, gate->settled_sum, width * sizeof(double));
    for (uint32_t age = recent; age < kept; age++) {
        kernels->add(gate->closed_sum, row_of(gate, age), -1.0, width);
        kernels->add(gate->recent_sum, row_of(gate, age), 1.0, width);
    }
    uint32_t fresh = best_cut(gate, kept);
    if (reason == VLJ_REASON_HEARTBEAT && gate->settled > 0) {
        fresh = recent; /* nothing has changed: the whole recent part makes the smoothest start */
    }
    for (uint32_t age = 1; age < fresh; age++) {
        kernels->add(gate->closed_sum, row_of(gate, age), -1.0, width);
    }
    gate->closed = gate->members - fresh;
    gate->closed_start_ns = gate->start_ns;
    gate->closed_end_ns = fresh < gate->capacity ? gate->ring_ns[slot_of(gate, fresh)] : gate->evicted_ns;

    /* Summed afresh, so that no rounding is carried from segment to segment. */
    memset(gate->settled_sum, 0, width * sizeof(double));
    memset(gate->recent_sum, 0, width * sizeof(double));
    for (uint32_t age = 0; age < fresh; age++) {
        kernels->add(age < gate->options.smoothing ? gate->recent_sum : gate->settled_sum, row_of(gate, age), 1.0,
                     width);
    }
    gate->members = fresh;
    gate->settled = fresh - recent_count(gate);
    gate->start_ns = gate->ring_ns[slot_of(gate, fresh - 1u)];
}

static void steer_threshold(vlj_gate *gate, uint32_t shift, int64_t elapsed_ns) {
    double target = (double)gate->options.target_rate_hz;
    if (target <= 0.0) {
        return;
    }
    double due =
        target * (double)elapsed_ns * 1e-9; /* shifts that this stretch should have had; a gap counts for one */
    double threshold = gate->ward_threshold * exp(RATE_GAIN * ((double)shift - (due < 1.0 ? due : 1.0)));
    double calibrated = (double)gate->options.ward_threshold;
    gate->ward_threshold = fmin(fmax(threshold, calibrated / RATE_RANGE), calibrated * RATE_RANGE);
}

/* Whether the gate may be armed again after a shift. Ward cost is calm when it is low, but also when the last
 * predictions agree among themselves: what has come to rest far from a restless segment must become a segment of its
 * own. Their unbiased variance is on the Ward cost's scale: both are about sigma^2 for noise of that variance. */
static uint32_t is_calm(const vlj_gate *gate, double ward_ratio, double variance, double variance_ratio) {
    double hysteresis = (double)gate->options.hysteresis;
    uint32_t count = gate->options.smoothing < 2 ? 2 : gate->options.smoothing;
    double spread = variance * count / (count - 1u);
    int rests = gate->members >= count && spread < hysteresis * gate->ward_threshold;
    int ward_calm = ward_ratio < hysteresis && gate->settled > 0;
    int variance_calm = variance_ratio < hysteresis && gate->members > 1;
    if (gate->options.ward_threshold > 0.0f && !ward_calm && !rests) {
        return 0;
    }
    return gate->options.variance_threshold <= 0.0f || variance_calm;
}

/* Score, confirmation, hysteresis and intervals: the reason for a shift now, or VLJ_REASON_NONE. */
static vlj_reason decide(vlj_gate *gate, int64_t timestamp_ns, vlj_gate_result *result) {
    const vlj_gate_options *options = &gate->options;
    int ward_on = options->ward_threshold > 0.0f, variance_on = options->variance_threshold > 0.0f;
    double ward = ward_cost(gate, gate->settled_sum, gate->settled, gate->recent_sum, recent_count(gate));
    double variance = local_variance(gate);
    double ward_ratio = ward_on ? ward / gate->ward_threshold : -1.0;
    double variance_ratio = variance_on ? variance / (double)options->variance_threshold : -1.0;
    int by_variance = variance_ratio > ward_ratio;
    double ratio = by_variance ? variance_ratio : ward_ratio;
    result->ward = (float)ward;
    result->variance = (float)variance;
    result->score = by_variance ? result->variance : result->ward;
    result->threshold = by_variance ? options->variance_threshold : (float)gate->ward_threshold;

    if (!gate->armed) {
        gate->armed = is_calm(gate, ward_on ? ward_ratio : 0.0, variance, variance_on ? variance_ratio : 0.0);
    }
    gate->above = gate->armed && ratio > 1.0 ? gate->above + 1u : 0u;
    int64_t since_shift_ns = elapsed(timestamp_ns, gate->last_shift_ns);
    if (gate->above >= options->confirm && since_shift_ns >= options->min_interval_ns) {
        gate->armed = options->hysteresis < 0.0f;
        return by_variance ? VLJ_REASON_VARIANCE : VLJ_REASON_WARD;
    }
    if (options->max_interval_ns > 0 && since_shift_ns >= options->max_interval_ns) {
        return VLJ_REASON_HEARTBEAT;
    }
    return VLJ_REASON_NONE;
}

vlj_status vlj_gate_push(vlj_gate *gate, const float *embedding, int64_t timestamp_ns, vlj_gate_result *result) {
    if (gate == NULL || embedding == NULL || result == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "%s is NULL",
                        gate == NULL        ? "gate"
                        : embedding == NULL ? "embedding"
                                            : "result");
    }
    int first = gate->members == 0;
    if (!first && timestamp_ns <= gate->last_ns) {
        return vlj_fail(VLJ_E_TIMESTAMP, "prediction at %lld ns, expected later than the one before (%lld ns)",
                        (long long)timestamp_ns, (long long)gate->last_ns);
    }
    double square = gate->kernels->square(embedding, gate->width);
    if (!isfinite(square)) {
        return vlj_fail(VLJ_E_ARGUMENT, "embedding holds a value that is not a finite number");
    }
    int64_t elapsed_ns = first ? 0 : elapsed(timestamp_ns, gate->last_ns);
    take(gate, embedding, square, timestamp_ns);
    vlj_gate_result found = {.threshold = (float)gate->ward_threshold, .reason = VLJ_REASON_FIRST};
    if (!first) {
        found.reason = decide(gate, timestamp_ns, &found);
    }
    found.shift = found.reason != VLJ_REASON_NONE;
    if (found.shift) {
        gate->last_shift_ns = timestamp_ns;
        gate->above = 0;
        if (!first) {
            start_segment(gate, found.reason);
        }
    }
    if (!first) {
        steer_threshold(gate, found.shift, elapsed_ns);
    }
    return vlj_struct_write(result, &found, sizeof found, "result");
}

/* (a + b) at unit length; b may be NULL. Where the sum vanishes (opposite predictions) the newest prediction stands in.
 */
static vlj_status unit_mean(const vlj_gate *gate, const double *a, const double *b, uint64_t count, float *embedding,
                            size_t embedding_floats) {
    if (embedding == NULL || embedding_floats < gate->width) {
        return vlj_fail(embedding == NULL ? VLJ_E_ARGUMENT : VLJ_E_BUFFER,
                        "embedding has room for %zu floats, expected %u", embedding == NULL ? 0 : embedding_floats,
                        gate->width);
    }
    if (count == 0) {
        return vlj_fail(VLJ_E_STATE, "the gate has no prediction to take a mean of");
    }
    double square = b == NULL ? gate->kernels->sum_square(a, 1.0, gate->width)
                              : gate->kernels->sum_distance(a, 1.0, b, -1.0, gate->width);
    double scale = 1.0 / sqrt(square);
    if (!(sqrt(square) > 1e-9 * (double)count)) {
        memcpy(embedding, row_of(gate, 0), gate->width * sizeof(float));
        return VLJ_OK;
    }
    for (uint32_t i = 0; i < gate->width; i++) {
        embedding[i] = (float)((b == NULL ? a[i] : a[i] + b[i]) * scale);
    }
    return VLJ_OK;
}

vlj_status vlj_gate_recent_mean(const vlj_gate *gate, float *embedding, size_t embedding_floats) {
    if (gate == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "gate is NULL");
    }
    return unit_mean(gate, gate->recent_sum, NULL, recent_count(gate), embedding, embedding_floats);
}

vlj_status vlj_gate_segment_mean(const vlj_gate *gate, float *embedding, size_t embedding_floats) {
    return unit_mean(gate, gate->settled_sum, gate->recent_sum, gate->members, embedding, embedding_floats);
}

vlj_status vlj_gate_closed_mean(const vlj_gate *gate, float *embedding, size_t embedding_floats) {
    return unit_mean(gate, gate->closed_sum, NULL, gate->closed, embedding, embedding_floats);
}

uint64_t vlj_gate_segment_count(const vlj_gate *gate) {
    return gate->members;
}
int64_t vlj_gate_segment_start_ns(const vlj_gate *gate) {
    return gate->start_ns;
}
int64_t vlj_gate_segment_end_ns(const vlj_gate *gate) {
    return gate->last_ns;
}
uint64_t vlj_gate_closed_count(const vlj_gate *gate) {
    return gate->closed;
}
int64_t vlj_gate_closed_start_ns(const vlj_gate *gate) {
    return gate->closed_start_ns;
}
int64_t vlj_gate_closed_end_ns(const vlj_gate *gate) {
    return gate->closed_end_ns;
}
uint32_t vlj_gate_recent_count(const vlj_gate *gate) {
    return recent_count(gate);
}
float vlj_gate_ward_threshold(const vlj_gate *gate) {
    return (float)gate->ward_threshold;
}
