/* auto.c: backend "auto": each component on the backend that is fastest here, found by a short timed trial.
 *
 * A trial opens the backends one after the other, never two at once, and times a few runs over the component's own
 * shapes. With options.cache_folder its result is kept in a small file per bundle, component and device, so that it
 * happens once. A backend that doesn't load, or doesn't know an op, is passed over.
 */
#include "platform.h" /* first: it asks for more than ISO C */

#include <stdio.h>
#include <string.h>

#include "engine.h"
#include "error.h"
#include "trial_cache.h"

static const vlj_backend *const candidates[] = {&vlj_backend_tensorrt, &vlj_backend_openvino, &vlj_backend_ort};
enum { CANDIDATES = sizeof candidates / sizeof candidates[0], MOST_RUNS = 5, TYPICAL_TOKENS = 16 };
#define TRIAL_NS 300000000 /* of timed runs per backend */

typedef struct auto_engine {
    vlj_engine base;
    const vlj_host *host;
    vlj_engine *inner;
} auto_engine;

/* ---- what a trial runs over ---- */

typedef struct trial {
    const vlj_host *host;
    vlj_signature signature;
    vlj_tensor inputs[VLJ_MAX_TENSORS], outputs[VLJ_MAX_TENSORS];
} trial;

/* A typical size of a dimension that changes: one query, a short text, one decode step over a full cache. */
static int64_t typical(const vlj_engine_spec *spec, const char *tensor, uint32_t dimension) {
    const vlj_config *c = spec->config;
    uint32_t most = spec->component == VLJ_Y_ENCODER ? c->text_max_tokens : c->max_query_tokens;
    int64_t tokens = most == 0 ? 1 : most < TYPICAL_TOKENS ? most : TYPICAL_TOKENS;
    switch (spec->component) {
    case VLJ_PREDICTOR: return dimension == 0 ? 1 : tokens;
    case VLJ_Y_ENCODER: return tokens;
    case VLJ_Y_DECODER:
        return strcmp(tensor, "attention_mask") == 0 && dimension == 1 ? c->decoder_cache_length + 1 : 1;
    default: return 1;
    }
}

static int make_tensor(const trial *t, const vlj_engine_spec *spec, const vlj_tensor_spec *expected, vlj_tensor *to) {
    int64_t shape[VLJ_MAX_RANK];
    for (uint32_t i = 0; i < expected->rank; i++) {
        shape[i] = expected->shape[i] == VLJ_DYNAMIC ? typical(spec, expected->name, i) : expected->shape[i];
    }
    vlj_tensor_set(to, expected, shape, NULL);
    to->data = vlj_alloc(t->host, to->size_bytes, 0);
    if (to->data == NULL) {
        return 0;
    }
    if (expected->dtype == VLJ_FLOAT32) { /* no zeros: a mean over nothing would be one */
        for (size_t i = 0; i < to->size_bytes / sizeof(float); i++) {
            ((float *)to->data)[i] = strcmp(expected->name, "attention_mask") == 0 ? 0.0f : 1.0f / (float)(1 + i % 7);
        }
    }
    return 1;
}

static void trial_close(trial *t) {
    for (uint32_t i = 0; i < VLJ_MAX_TENSORS; i++) {
        vlj_free(t->host, t->inputs[i].data, t->inputs[i].size_bytes);
        vlj_free(t->host, t->outputs[i].data, t->outputs[i].size_bytes);
    }
}

static vlj_status trial_open(trial *t, const vlj_backend_context *context, const vlj_engine_spec *spec) {
    memset(t, 0, sizeof *t);
    t->host = context->host;
    vlj_component_signature(spec->component, spec->config, &t->signature);
    int made = 1;
    for (uint32_t i = 0; i < t->signature.input_count && made; i++) {
        made = make_tensor(t, spec, &t->signature.inputs[i], &t->inputs[i]);
    }
    for (uint32_t i = 0; i < t->signature.output_count && made; i++) {
        made = make_tensor(t, spec, &t->signature.outputs[i], &t->outputs[i]);
    }
    if (!made) {
        trial_close(t);
        return vlj_fail(VLJ_E_MEMORY, "no memory for a trial of component %s", vlj_component_name(spec->component));
    }
    return VLJ_OK;
}

/* The fastest of a few runs, after one that warms up. */
static vlj_status time_runs(const vlj_backend *backend, vlj_engine *engine, trial *t, int64_t *fastest_ns) {
    int64_t spent_ns = 0;
    *fastest_ns = INT64_MAX;
    for (int run = 0; run <= MOST_RUNS && spent_ns < TRIAL_NS; run++) {
        int64_t start_ns = vlj_monotonic_ns(); /* not the host's clock, which a replay may have stopped */
        vlj_status status =
            backend->run(engine, t->inputs, t->signature.input_count, t->outputs, t->signature.output_count);
        if (status != VLJ_OK) {
            return status;
        }
        int64_t taken_ns = vlj_monotonic_ns() - start_ns;
        if (run > 0) {
            spent_ns += taken_ns;
            *fastest_ns = taken_ns < *fastest_ns ? taken_ns : *fastest_ns;
        }
    }
    return VLJ_OK;
}

/* ---- choosing ---- */

/* Index of the fastest candidate; -1 where none works, and then *status and the last error are the portable default's,
 * with the others' in front. */
static int choose(const vlj_backend_context *context, const vlj_engine_spec *spec, vlj_status *status) {
    char why[400] = "", sentence[400];
    int best = -1;
    int64_t best_ns = INT64_MAX;
    trial t;
    *status = trial_open(&t, context, spec);
    if (*status != VLJ_OK) {
        return -1;
    }
    for (int i = 0; i < CANDIDATES; i++) {
        vlj_engine *engine = NULL;
        int64_t taken_ns = INT64_MAX;
        if (candidates[i] == &vlj_backend_tensorrt && context->engine_folder == NULL) {
            continue; /* it needs engines that were built before: who has none needn't read about it */
        }
        *status = candidates[i]->open(context, spec, &engine);
        if (*status == VLJ_OK) {
            *status = time_runs(candidates[i], engine, &t, &taken_ns);
        }
        if (*status == VLJ_OK) {
            vlj_logf(context->host, VLJ_LOG_INFO, "auto: %s on %s takes %.3f ms", vlj_component_name(spec->component),
                     candidates[i]->name, (double)taken_ns * 1e-6);
        } else {
            vlj_error_copy(sentence, sizeof sentence);
            vlj_logf(context->host, VLJ_LOG_INFO, "auto: %s passes over %s: %s", vlj_component_name(spec->component),
                     candidates[i]->name, sentence);
            size_t at = strlen(why);
            snprintf(why + at, sizeof why - at, "%s%s: %.180s", at > 0 ? "; " : "", candidates[i]->name, sentence);
        }
        if (engine != NULL) {
            candidates[i]->close(engine);
        }
        if (*status == VLJ_OK && taken_ns < best_ns) {
            best = i;
            best_ns = taken_ns;
        }
    }
    trial_close(&t);
    if (best < 0) {
        *status = vlj_fail(*status, "no backend runs component %s: %s", vlj_component_name(spec->component), why);
    }
    return best;
}

static int candidate_named(const char *name) {
    for (int i = 0; i < CANDIDATES; i++) {
        if (strcmp(candidates[i]->name, name) == 0) {
            return i;
        }
    }
    return -1;
}

static vlj_status auto_open(const vlj_backend_context *context, const vlj_engine_spec *spec, vlj_engine **engine) {
    char name[VLJ_TRIAL_NAME_BYTES];
    auto_engine *self = vlj_alloc(context->host, sizeof *self, 0);
    if (self == NULL) {
        return vlj_fail(VLJ_E_MEMORY, "no memory for component %s", vlj_component_name(spec->component));
    }
    self->base.backend = &vlj_backend_auto;
    self->base.component = spec->component;
    self->host = context->host;
    vlj_status status = VLJ_E_BACKEND_MISSING;
    int found = vlj_trial_cache_read(context, spec, name) ? candidate_named(name) : -1;
    if (found >= 0) {
        status = candidates[found]->open(context, spec, &self->inner);
    }
    if (status != VLJ_OK) { /* nothing known, or what worked once doesn't any more */
        found = choose(context, spec, &status);
        if (found >= 0) {
            vlj_trial_cache_write(context, spec, candidates[found]->name);
            status = candidates[found]->open(context, spec, &self->inner);
        }
    }
    if (status != VLJ_OK) {
        vlj_free(context->host, self, sizeof *self);
        return status;
    }
    *engine = &self->base;
    return VLJ_OK;
}

/* ---- what it chose does the rest ---- */

static vlj_status auto_run(vlj_engine *engine, const vlj_tensor *inputs, uint32_t input_count, vlj_tensor *outputs,
                           uint32_t output_count) {
    vlj_engine *inner = ((auto_engine *)engine)->inner;
    return inner->backend->run(inner, inputs, input_count, outputs, output_count);
}

static size_t auto_memory(const vlj_engine *engine) {
    const vlj_engine *inner = ((const auto_engine *)engine)->inner;
    return inner->backend->memory(inner);
}

static uint64_t auto_copied(const vlj_engine *engine) {
    const vlj_engine *inner = ((const auto_engine *)engine)->inner;
    return inner->backend->copied_bytes != NULL ? inner->backend->copied_bytes(inner) : 0;
}

static void auto_prepare(vlj_engine *engine, const vlj_tensor *inputs, uint32_t input_count) {
    vlj_engine *inner = ((auto_engine *)engine)->inner;
    if (inner->backend->prepare != NULL) {
        inner->backend->prepare(inner, inputs, input_count);
    }
}

static const char *auto_chosen(const vlj_engine *engine) {
    return ((const auto_engine *)engine)->inner->backend->name;
}

static void auto_close(vlj_engine *engine) {
    auto_engine *self = (auto_engine *)engine;
    self->inner->backend->close(self->inner);
    vlj_free(self->host, self, sizeof *self);
}

const vlj_backend vlj_backend_auto = {
    .name = "auto",
    .needs_bytes = 1,
    .open = auto_open,
    .run = auto_run,
    .memory = auto_memory,
    .close = auto_close,
    .chosen = auto_chosen,
    .copied_bytes = auto_copied,
    .prepare = auto_prepare,
};
