/* openvino.c: backend "openvino": a component compiled by OpenVINO for the CPU, over the core's buffers in place.
 *
 * One program takes every shape. Others are compiled for the shapes that a stream said it will run (`prepare`): where
 * sizes are known, OpenVINO fuses what it else runs operator by operator, and a Predictor takes an eighth (the paper's)
 * to a quarter (nano's) less. Each program has weights of its own. A large component therefore keeps one fixed program,
 * and the one for every shape is dropped until it is needed again.
 */
#include <stdio.h>
#include <string.h>

#include "engine.h"
#include "error.h"
#include "onnx_attention.h"
#include "onnx_flatten.h"
#include "onnx_linear.h"
#include "openvino_library.h"
#include "openvino_ops.h"
#include "openvino_program.h"

enum { FIXED = 4 };                           /* programs of one shape each; another one takes the oldest one's place */
static const size_t SMALL_BYTES = 64u << 20u; /* of a component that keeps several programs */

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
    vlj_engine_spec spec; /* what it points to lives as long as the model */
    vlj_signature signature;
    vlj_openvino_program any; /* takes every shape; not there while a large component has a fixed one */
    fixed_program fixed[FIXED];
    uint32_t most_fixed, next_fixed; /* most_fixed 0: shapes never change */
    uint32_t own_ops; /* width of the heads whose attention is one operator of ours; 0: OpenVINO's own are used */
    uint64_t copied_bytes;
    char what[160]; /* "component predictor in predictor.onnx" */
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

static vlj_status check_one(const openvino_engine *self, const vlj_tensor_spec *expected, const ov_port *port) {
    const vlj_openvino_api *api = &self->api;
    vlj_tensor_spec found = {.name = expected->name};
    ov_partial_shape shape = {{0, 0}, NULL};
    int type = 0;
    int failed = api->ov_port_get_element_type(port, &type);
    failed = failed != 0 ? failed : api->ov_port_get_partial_shape(port, &shape);
    vlj_status status = vlj_openvino_check(api, failed, VLJ_E_BACKEND, self->what);
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
    return vlj_check_tensor(self->spec.component, expected, &found, self->spec.file);
}

static vlj_status check_shapes(const openvino_engine *self) {
    const vlj_signature *s = &self->signature;
    vlj_status status = VLJ_OK;
    for (uint32_t i = 0; i < s->input_count && status == VLJ_OK; i++) {
        status = check_one(self, &s->inputs[i], self->any.inputs[i].port);
    }
    for (uint32_t i = 0; i < s->output_count && status == VLJ_OK; i++) {
        status = check_one(self, &s->outputs[i], self->any.outputs[i].port);
    }
    return status;
}

/* ---- compiling ---- */

static vlj_status reshape(const openvino_engine *self, const vlj_tensor *inputs, uint32_t count, ov_model *model) {
    const char *names[VLJ_MAX_TENSORS];
    ov_partial_shape shapes[VLJ_MAX_TENSORS];
    ov_dimension sizes[VLJ_MAX_TENSORS][VLJ_MAX_RANK];
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < inputs[i].rank; k++) {
            sizes[i][k] = (ov_dimension){inputs[i].shape[k], inputs[i].shape[k]};
        }
        names[i] = self->signature.inputs[i].name;
        shapes[i] = (ov_partial_shape){{inputs[i].rank, inputs[i].rank}, sizes[i]};
    }
    return vlj_openvino_check(&self->api, self->api.ov_model_reshape(model, names, shapes, count), VLJ_E_BACKEND,
                              self->what);
}

/* OpenVINO's reader takes neither model-local functions nor weights in an image. */
static vlj_status read_model(openvino_engine *self, const vlj_engine_spec *spec, ov_model **model) {
    const vlj_openvino_api *api = &self->api;
    vlj_flat_onnx flat;
    vlj_status status = vlj_onnx_flatten(self->host, spec, &flat);
    if (status != VLJ_OK) {
        return status;
    }
    int failed =
        api->ov_core_read_model_from_memory_buffer(self->core, (const char *)flat.bytes, flat.size, NULL, model);
    self->most_fixed = flat.size <= SMALL_BYTES ? FIXED : 1;
    vlj_onnx_flat_free(self->host, &flat);
    return vlj_openvino_check(api, failed, VLJ_E_BACKEND, self->what);
}

/* The same with our operators in place of what they do. */
static vlj_status read_with_own_ops(openvino_engine *self, ov_model **model) {
    vlj_engine_spec spec = self->spec;
    vlj_fused_onnx attention = {spec.bytes, spec.size, NULL, 0}, linear = attention;
    vlj_status status = VLJ_OK;
    if (self->own_ops != 0) {
        status = vlj_onnx_fuse_attention(self->host, spec.bytes, spec.size, self->own_ops, &attention);
    }
    if (self->own_ops != 0 && status == VLJ_OK) {
        status = vlj_onnx_fuse_linear(self->host, attention.bytes, attention.size, &linear);
        spec.bytes = linear.bytes;
        spec.size = linear.size;
    }
    if (status == VLJ_OK) {
        status = read_model(self, &spec, model);
    }
    vlj_onnx_fused_free(self->host, &linear);
    vlj_onnx_fused_free(self->host, &attention);
    return status;
}

/* `inputs` NULL: for every shape. */
static vlj_status try_to_compile(openvino_engine *self, const vlj_tensor *inputs, uint32_t count,
                                 vlj_openvino_program *program) {
    const vlj_openvino_api *api = &self->api;
    ov_model *model = NULL;
    vlj_status status = read_with_own_ops(self, &model);
    if (status == VLJ_OK && inputs != NULL) {
        status = reshape(self, inputs, count, model);
    }
    if (status == VLJ_OK) {
        status = vlj_openvino_compile(api, self->core, model, &self->settings, &self->signature, self->what, program);
    }
    if (model != NULL) {
        api->ov_model_free(model);
    }
    if (status != VLJ_OK) {
        vlj_openvino_free(api, program);
    }
    return status;
}

/* A graph that our operators don't suit after all, by shapes that OpenVINO alone finds, is compiled as it is. */
static vlj_status compile(openvino_engine *self, const vlj_tensor *inputs, uint32_t count,
                          vlj_openvino_program *program) {
    vlj_status status = try_to_compile(self, inputs, count, program);
    if (status == VLJ_E_BACKEND && self->own_ops != 0) {
        vlj_logf(self->host, VLJ_LOG_WARNING, "%s: attention and products are left to OpenVINO: %s", self->what,
                 vlj_last_error());
        self->own_ops = 0;
        status = try_to_compile(self, inputs, count, program);
    }
    return status;
}

/* ---- opening ---- */

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
static void choose_settings(openvino_engine *self, const vlj_backend_context *context) {
    vlj_openvino_settings *settings = &self->settings;
    settings->precision = precision_of(&self->spec);
    settings->threads = self->spec.threads;
    if (context->cache_folder == NULL) {
        return;
    }
    const uint8_t *d = vlj_index_digest(self->spec.index);
    size_t bytes = strlen(context->cache_folder) + 64;
    settings->cache = vlj_alloc(self->host, bytes, 0);
    if (settings->cache != NULL) { /* without it, it is compiled anew each time */
        settings->cache_bytes = bytes;
        snprintf(settings->cache, bytes, "%s/openvino-%02x%02x%02x%02x%02x%02x%02x%02x-%s", context->cache_folder, d[0],
                 d[1], d[2], d[3], d[4], d[5], d[6], d[7], settings->precision != NULL ? settings->precision : "own");
    }
}

/* Our operators compute in BF16, so they are for programs that may. */
static vlj_status choose_ops(openvino_engine *self, const vlj_backend_context *context) {
    const char *precision = self->settings.precision;
    int fits = (self->spec.component == VLJ_X_ENCODER || self->spec.component == VLJ_PREDICTOR) &&
               (precision == NULL || strcmp(precision, "bf16") == 0);
    return fits && context->own_ops != VLJ_OFF
               ? vlj_openvino_take_ops(&self->api, self->host, context->openvino_ops, &self->own_ops)
               : VLJ_OK;
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
    if (self->core != NULL) {
        vlj_openvino_return_core(api);
    }
    vlj_free(self->host, self->settings.cache, self->settings.cache_bytes);
    vlj_free(self->host, self, sizeof *self);
}

static vlj_status openvino_open(const vlj_backend_context *context, const vlj_engine_spec *spec, vlj_engine **engine) {
    openvino_engine *self = vlj_alloc(context->host, sizeof *self, 0);
    if (self == NULL) {
        return vlj_fail(VLJ_E_MEMORY, "no memory for component %s", vlj_component_name(spec->component));
    }
    snprintf(self->what, sizeof self->what, "component %s%s%s", vlj_component_name(spec->component),
             spec->file[0] != '\0' ? " in " : "", spec->file);
    self->base.backend = &vlj_backend_openvino;
    self->base.component = spec->component;
    self->host = context->host;
    self->spec = *spec;
    vlj_component_signature(spec->component, spec->config, &self->signature);
    vlj_status status = vlj_openvino_load(context->openvino_library, &self->api);
    if (status == VLJ_OK) {
        status = vlj_openvino_take_core(&self->api, &self->core);
    }
    if (status == VLJ_OK) {
        choose_settings(self, context);
        status = choose_ops(self, context);
    }
    if (status == VLJ_OK) {
        status = compile(self, NULL, 0, &self->any);
    }
    if (status == VLJ_OK) {
        status = check_shapes(self);
    }
    if (status != VLJ_OK) {
        openvino_close(&self->base);
        return status;
    }
    self->most_fixed = changes_shape(&self->signature) ? self->most_fixed : 0;
    *engine = &self->base;
    return VLJ_OK;
}

/* ---- shapes that are known ---- */

static vlj_openvino_program *find_fixed(openvino_engine *self, const vlj_tensor *inputs, uint32_t count) {
    for (uint32_t f = 0; f < FIXED; f++) {
        fixed_program *fixed = &self->fixed[f];
        uint32_t same = 0;
        while (same < count &&
               memcmp(fixed->shapes[same], inputs[same].shape, inputs[same].rank * sizeof *inputs[same].shape) == 0) {
            same++;
        }
        if (same == count && fixed->program.request != NULL) {
            return &fixed->program;
        }
    }
    return NULL;
}

/* Where it fails, runs of this shape go through the program that takes every shape. */
static void openvino_prepare(vlj_engine *engine, const vlj_tensor *inputs, uint32_t input_count) {
    openvino_engine *self = (openvino_engine *)engine;
    if (self->most_fixed == 0 || find_fixed(self, inputs, input_count) != NULL) {
        return;
    }
    fixed_program *fixed = &self->fixed[self->next_fixed];
    vlj_openvino_free(&self->api, &fixed->program);
    if (self->most_fixed == 1) {
        vlj_openvino_free(&self->api, &self->any); /* before the other one is there: two would be twice the weights */
    }
    for (uint32_t i = 0; i < input_count; i++) {
        memcpy(fixed->shapes[i], inputs[i].shape, inputs[i].rank * sizeof *inputs[i].shape);
    }
    if (compile(self, inputs, input_count, &fixed->program) == VLJ_OK) {
        self->next_fixed = (self->next_fixed + 1) % self->most_fixed;
    } else {
        vlj_logf(self->host, VLJ_LOG_WARNING, "%s: not compiled for its stream's shape, which is slower: %s",
                 self->what, vlj_last_error());
    }
}

/* ---- running ---- */

static vlj_status openvino_run(vlj_engine *engine, const vlj_tensor *inputs, uint32_t input_count, vlj_tensor *outputs,
                               uint32_t output_count) {
    openvino_engine *self = (openvino_engine *)engine;
    vlj_openvino_program *program = find_fixed(self, inputs, input_count);
    if (program == NULL) {
        program = &self->any;
        vlj_status status = program->request == NULL ? compile(self, NULL, 0, program) : VLJ_OK;
        if (status != VLJ_OK) {
            return status;
        }
    }
    int failed = vlj_openvino_run(&self->api, program, inputs, input_count, outputs, output_count, &self->copied_bytes);
    return vlj_openvino_check(&self->api, failed, VLJ_E_BACKEND_RUN, self->what);
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
