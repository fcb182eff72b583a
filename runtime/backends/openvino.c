/* openvino.c: backend "openvino": a component compiled by OpenVINO for the CPU, over the core's buffers in place.
 *
 * One program takes every shape. A small component gets others for the shapes that a stream said it will run
 * (`prepare`): where sizes are known, OpenVINO fuses what it else runs operator by operator, and nano's Predictor takes
 * a quarter less.
 */
#include <stdio.h>
#include <string.h>

#include "engine.h"
#include "error.h"
#include "onnx_flatten.h"
#include "openvino_library.h"
#include "openvino_program.h"

enum { FIXED = 4 };                           /* programs of one shape each; another one takes the oldest one's place */
static const size_t FIXED_BYTES = 64u << 20u; /* larger weights are packed once: operators are long enough there */

/* A program for one shape of the inputs. */
typedef struct fixed_program {
    vlj_openvino_program program;
    int64_t shapes[VLJ_MAX_TENSORS][VLJ_MAX_RANK];
} fixed_program;

typedef struct openvino_engine {
    vlj_engine base;
    const vlj_host *host;
    vlj_openvino_api api;
    ov_core *core; /* the process's own */
    vlj_openvino_settings settings;
    vlj_signature signature;
    vlj_openvino_program any; /* takes every shape */
    ov_model *model;          /* NULL: no other programs */
    fixed_program fixed[FIXED];
    uint32_t next_fixed;
    uint64_t copied_bytes;
} openvino_engine;

/* ---- checking the model against the signature ---- */

static vlj_dtype dtype_of(const vlj_openvino_api *api, int type) {
    for (int dtype = VLJ_UINT8; dtype <= VLJ_INT8; dtype++) {
        if (api->element_types[dtype] == type) {
            return (vlj_dtype)dtype;
        }
    }
    return (vlj_dtype)-1; /* vlj_dtype_name says "another dtype" */
}

static vlj_status check_one(const vlj_openvino_api *api, const vlj_engine_spec *spec, const vlj_tensor_spec *expected,
                            const ov_port *port, const char *what) {
    vlj_tensor_spec found = {.name = expected->name};
    ov_partial_shape shape = {{0, 0}, NULL};
    int type = 0;
    int failed = api->ov_port_get_element_type(port, &type);
    failed = failed != 0 ? failed : api->ov_port_get_partial_shape(port, &shape);
    vlj_status status = vlj_openvino_check(api, failed, VLJ_E_BACKEND, what);
    if (status != VLJ_OK) {
        return status;
    }
    int fixed_rank = shape.rank.min == shape.rank.max;
    found.dtype = dtype_of(api, type);
    found.rank = fixed_rank ? (uint32_t)shape.rank.max : expected->rank; /* unknown rank: sizes are unknown too */
    for (uint32_t i = 0; i < found.rank && i < VLJ_MAX_RANK; i++) {
        int known = fixed_rank && shape.sizes[i].min == shape.sizes[i].max;
        found.shape[i] = known ? shape.sizes[i].max : VLJ_DYNAMIC;
    }
    if (fixed_rank) {
        api->ov_partial_shape_free(&shape);
    }
    return vlj_check_tensor(spec->component, expected, &found, spec->file);
}

static vlj_status check_shapes(const openvino_engine *self, const vlj_engine_spec *spec, const char *what) {
    const vlj_signature *s = &self->signature;
    vlj_status status = VLJ_OK;
    for (uint32_t i = 0; i < s->input_count && status == VLJ_OK; i++) {
        status = check_one(&self->api, spec, &s->inputs[i], self->any.inputs[i].port, what);
    }
    for (uint32_t i = 0; i < s->output_count && status == VLJ_OK; i++) {
        status = check_one(&self->api, spec, &s->outputs[i], self->any.outputs[i].port, what);
    }
    return status;
}

/* ---- opening ---- */

static vlj_status read_model(const openvino_engine *self, const vlj_engine_spec *spec, const char *what,
                             ov_model **model, size_t *bytes) {
    vlj_flat_onnx flat; /* OpenVINO's reader takes neither model-local functions nor weights in an image */
    vlj_status status = vlj_onnx_flatten(self->host, spec, &flat);
    if (status == VLJ_OK) {
        int failed = self->api.ov_core_read_model_from_memory_buffer(self->core, (const char *)flat.bytes, flat.size,
                                                                     NULL, model);
        status = vlj_openvino_check(&self->api, failed, VLJ_E_BACKEND, what);
        *bytes = flat.size;
        vlj_onnx_flat_free(self->host, &flat);
    }
    return status;
}

/* Full-precision bundles stay at float32 unless BF16 was asked for: on CPUs with BF16 units OpenVINO would else choose
 * it by itself. What is quantised already takes the plug-in's fastest. */
static const char *precision_of(const vlj_engine_spec *spec) {
    switch (spec->float_precision) {
    case VLJ_FLOATS_FLOAT32: return "f32";
    case VLJ_FLOATS_BFLOAT16: return "bf16";
    case VLJ_FLOATS_FLOAT16: return "f16";
    case VLJ_FLOATS_BUNDLE: break;
    }
    return strcmp(spec->config->precision, "fp32") == 0 ? "f32" : NULL;
}

/* One folder per bundle and precision: OpenVINO's key of a compiled model leaves the precision out (2026.4), and a
 * model that was compiled for another one writes where it should not. */
static void choose_settings(openvino_engine *self, const vlj_backend_context *context, const vlj_engine_spec *spec) {
    vlj_openvino_settings *settings = &self->settings;
    settings->precision = precision_of(spec);
    settings->threads = spec->threads;
    if (context->cache_folder == NULL) {
        return;
    }
    const uint8_t *d = vlj_index_digest(spec->index);
    size_t bytes = strlen(context->cache_folder) + 64;
    settings->cache = vlj_alloc(self->host, bytes, 0);
    if (settings->cache != NULL) { /* without it, it is compiled anew each time */
        settings->cache_bytes = bytes;
        snprintf(settings->cache, bytes, "%s/openvino-%02x%02x%02x%02x%02x%02x%02x%02x-%s", context->cache_folder, d[0],
                 d[1], d[2], d[3], d[4], d[5], d[6], d[7], settings->precision != NULL ? settings->precision : "own");
    }
}

static int changes_shape(const vlj_signature *signature) {
    for (uint32_t i = 0; i < signature->input_count; i++) {
        for (uint32_t k = 0; k < signature->inputs[i].rank; k++) {
            if (signature->inputs[i].shape[k] < 0) {
                return 1;
            }
        }
    }
    return 0;
}

static void openvino_close(vlj_engine *engine) {
    openvino_engine *self = (openvino_engine *)engine;
    const vlj_openvino_api *api = &self->api;
    for (uint32_t i = 0; i < FIXED; i++) {
        vlj_openvino_free(api, &self->fixed[i].program);
    }
    vlj_openvino_free(api, &self->any);
    if (self->model != NULL) {
        api->ov_model_free(self->model);
    }
    if (self->core != NULL) {
        vlj_openvino_return_core(api);
    }
    vlj_free(self->host, self->settings.cache, self->settings.cache_bytes);
    vlj_free(self->host, self, sizeof *self);
}

static vlj_status openvino_open(const vlj_backend_context *context, const vlj_engine_spec *spec, vlj_engine **engine) {
    char what[160];
    size_t bytes = 0;
    snprintf(what, sizeof what, "component %s%s%s", vlj_component_name(spec->component),
             spec->file[0] != '\0' ? " in " : "", spec->file);
    openvino_engine *self = vlj_alloc(context->host, sizeof *self, 0);
    if (self == NULL) {
        return vlj_fail(VLJ_E_MEMORY, "no memory for %s", what);
    }
    self->base.backend = &vlj_backend_openvino;
    self->base.component = spec->component;
    self->host = context->host;
    vlj_component_signature(spec->component, spec->config, &self->signature);
    vlj_status status = vlj_openvino_load(context->openvino_library, &self->api);
    if (status == VLJ_OK) {
        status = vlj_openvino_take_core(&self->api, &self->core);
    }
    if (status == VLJ_OK) {
        choose_settings(self, context, spec);
        status = read_model(self, spec, what, &self->model, &bytes);
    }
    if (status == VLJ_OK) {
        status = vlj_openvino_compile(&self->api, self->core, self->model, &self->settings, &self->signature, what,
                                      &self->any);
    }
    if (status == VLJ_OK) {
        status = check_shapes(self, spec, what);
    }
    if (status != VLJ_OK) {
        openvino_close(&self->base);
        return status;
    }
    if (bytes > FIXED_BYTES || !changes_shape(&self->signature)) {
        self->api.ov_model_free(self->model);
        self->model = NULL;
    }
    *engine = &self->base;
    return VLJ_OK;
}

/* ---- shapes that are known ---- */

static fixed_program *find_fixed(openvino_engine *self, const vlj_tensor *inputs, uint32_t count) {
    for (uint32_t f = 0; f < FIXED; f++) {
        fixed_program *fixed = &self->fixed[f];
        uint32_t same = 0;
        while (same < count &&
               memcmp(fixed->shapes[same], inputs[same].shape, inputs[same].rank * sizeof *inputs[same].shape) == 0) {
            same++;
        }
        if (same == count && fixed->program.request != NULL) {
            return fixed;
        }
    }
    return NULL;
}

static int reshape(openvino_engine *self, fixed_program *fixed, const vlj_tensor *inputs, uint32_t count) {
    const char *names[VLJ_MAX_TENSORS];
    ov_partial_shape shapes[VLJ_MAX_TENSORS];
    ov_dimension sizes[VLJ_MAX_TENSORS][VLJ_MAX_RANK];
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < inputs[i].rank; k++) {
            fixed->shapes[i][k] = inputs[i].shape[k];
            sizes[i][k] = (ov_dimension){inputs[i].shape[k], inputs[i].shape[k]};
        }
        names[i] = self->signature.inputs[i].name;
        shapes[i] = (ov_partial_shape){{inputs[i].rank, inputs[i].rank}, sizes[i]};
    }
    return self->api.ov_model_reshape(self->model, names, shapes, count);
}

/* Where it fails, runs of this shape go through the program that takes every shape. */
static void openvino_prepare(vlj_engine *engine, const vlj_tensor *inputs, uint32_t input_count) {
    openvino_engine *self = (openvino_engine *)engine;
    if (self->model == NULL || find_fixed(self, inputs, input_count) != NULL) {
        return;
    }
    fixed_program *fixed = &self->fixed[self->next_fixed];
    vlj_openvino_free(&self->api, &fixed->program);
    char what[64];
    snprintf(what, sizeof what, "component %s", vlj_component_name(engine->component));
    vlj_status status = vlj_openvino_check(&self->api, reshape(self, fixed, inputs, input_count), VLJ_E_BACKEND, what);
    if (status == VLJ_OK) {
        status = vlj_openvino_compile(&self->api, self->core, self->model, &self->settings, &self->signature, what,
                                      &fixed->program);
    }
    if (status == VLJ_OK) {
        self->next_fixed = (self->next_fixed + 1) % FIXED;
        return;
    }
    vlj_openvino_free(&self->api, &fixed->program);
    vlj_logf(self->host, VLJ_LOG_WARNING, "%s: not compiled for its streams' shape, which is slower: %s", what,
             vlj_last_error());
}

/* ---- running ---- */

static vlj_status openvino_run(vlj_engine *engine, const vlj_tensor *inputs, uint32_t input_count, vlj_tensor *outputs,
                               uint32_t output_count) {
    openvino_engine *self = (openvino_engine *)engine;
    fixed_program *fixed = find_fixed(self, inputs, input_count);
    int failed = vlj_openvino_run(&self->api, fixed != NULL ? &fixed->program : &self->any, inputs, input_count,
                                  outputs, output_count, &self->copied_bytes);
    if (failed == 0) {
        return VLJ_OK;
    }
    char what[64];
    snprintf(what, sizeof what, "component %s", vlj_component_name(engine->component));
    return vlj_openvino_check(&self->api, failed, VLJ_E_BACKEND_RUN, what);
}

static size_t openvino_memory(const vlj_engine *engine) {
    (void)engine;
    return 0; /* OpenVINO doesn't tell */
}

static uint64_t openvino_copied(const vlj_engine *engine) {
    return ((const openvino_engine *)engine)->copied_bytes;
}

const vlj_backend vlj_backend_openvino = {
    .name = "openvino",
    .needs_bytes = 1,
    .open = openvino_open,
    .run = openvino_run,
    .memory = openvino_memory,
    .close = openvino_close,
    .copied_bytes = openvino_copied,
    .prepare = openvino_prepare,
};
