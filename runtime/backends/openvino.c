/* openvino.c: backend "openvino": a component compiled by OpenVINO for the CPU, over the core's buffers in place. */
#include <stdio.h>
#include <string.h>

#include "engine.h"
#include "error.h"
#include "onnx_flatten.h"
#include "openvino_library.h"

/* One tensor of the model and the view of the buffer that it was last given; the view is made anew only when buffer or
 * shape is another one. */
typedef struct slot {
    ov_port *port;
    ov_tensor *tensor;
    void *data;
    int64_t shape[VLJ_MAX_RANK];
    int new_view;        /* since the last run */
    size_t copied_bytes; /* of each run: 0 where OpenVINO works on `data` itself */
} slot;

typedef struct openvino_engine {
    vlj_engine base;
    const vlj_host *host;
    vlj_openvino_api api;
    ov_core *core; /* the process's own */
    ov_compiled_model *compiled;
    ov_infer_request *request;
    slot inputs[VLJ_MAX_TENSORS], outputs[VLJ_MAX_TENSORS];
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

static vlj_status check_one(const openvino_engine *self, const vlj_engine_spec *spec, const vlj_tensor_spec *expected,
                            const ov_port *port, const char *what) {
    const vlj_openvino_api *api = &self->api;
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

/* The names of a side's tensors, for the sentence about one that is missing or too many. */
static void list_names(const openvino_engine *self, int is_input, size_t count, char *names, size_t bytes) {
    const vlj_openvino_api *api = &self->api;
    names[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        ov_port *port = NULL;
        char *name = NULL;
        int failed = is_input ? api->ov_compiled_model_input_by_index(self->compiled, i, &port)
                              : api->ov_compiled_model_output_by_index(self->compiled, i, &port);
        if (failed == 0 && api->ov_port_get_any_name(port, &name) == 0) {
            size_t length = strlen(names);
            snprintf(names + length, bytes - length, "%s%s", length > 0 ? ", " : "", name);
            api->ov_free(name);
        }
        if (port != NULL) {
            api->ov_output_const_port_free(port);
        }
    }
}

/* Every tensor of the signature must be there; of inputs, no other may be, since nobody would fill it. */
static vlj_status take_ports(openvino_engine *self, const vlj_engine_spec *spec, const vlj_tensor_spec *expected,
                             uint32_t count, int is_input, const char *what) {
    const vlj_openvino_api *api = &self->api;
    slot *slots = is_input ? self->inputs : self->outputs;
    size_t found = 0;
    char names[160];
    int failed = is_input ? api->ov_compiled_model_inputs_size(self->compiled, &found)
                          : api->ov_compiled_model_outputs_size(self->compiled, &found);
    vlj_status status = vlj_openvino_check(api, failed, VLJ_E_BACKEND, what);
    for (uint32_t i = 0; i < count && status == VLJ_OK; i++) {
        failed = is_input ? api->ov_compiled_model_input_by_name(self->compiled, expected[i].name, &slots[i].port)
                          : api->ov_compiled_model_output_by_name(self->compiled, expected[i].name, &slots[i].port);
        if (failed != 0) {
            list_names(self, is_input, found, names, sizeof names);
            return vlj_fail(VLJ_E_BUNDLE_SHAPE, "%s: there is no %s \"%s\"; it has %s", what,
                            is_input ? "input" : "output", expected[i].name, names);
        }
        status = check_one(self, spec, &expected[i], slots[i].port, what);
    }
    if (status == VLJ_OK && is_input && found != count) {
        list_names(self, 1, found, names, sizeof names);
        status = vlj_fail(VLJ_E_BUNDLE_SHAPE, "%s: %zu inputs, expected %u; it has %s", what, found, count, names);
    }
    return status;
}

/* ---- opening ---- */

static vlj_status read_model(const openvino_engine *self, const vlj_engine_spec *spec, const char *what,
                             ov_model **model) {
    vlj_flat_onnx flat; /* OpenVINO's reader takes neither model-local functions nor weights in an image */
    vlj_status status = vlj_onnx_flatten(self->host, spec, &flat);
    if (status == VLJ_OK) {
        int failed = self->api.ov_core_read_model_from_memory_buffer(self->core, (const char *)flat.bytes, flat.size,
                                                                     NULL, model);
        status = vlj_openvino_check(&self->api, failed, VLJ_E_BACKEND, what);
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

static vlj_status compile(openvino_engine *self, const vlj_backend_context *context, const vlj_engine_spec *spec,
                          const ov_model *model, const char *what) {
    const char *precision = precision_of(spec), *cache = context->cache_folder;
    char threads[16], folder[4096];
    /* One folder per bundle and precision: OpenVINO's key of a compiled model leaves the precision out (2026.4), and a
     * model that was compiled for another one writes where it should not. */
    const uint8_t *d = vlj_index_digest(spec->index);
    int length = cache == NULL
                     ? 0
                     : snprintf(folder, sizeof folder, "%s/openvino-%02x%02x%02x%02x%02x%02x%02x%02x-%s", cache, d[0],
                                d[1], d[2], d[3], d[4], d[5], d[6], d[7], precision != NULL ? precision : "own");
    cache = length > 0 && (size_t)length < sizeof folder ? folder : NULL;
    snprintf(threads, sizeof threads, "%u", spec->threads); /* 0: as many as there are */
    /* Pairs that have nothing to say repeat the first one: the call takes its arguments one by one. Threads aren't
     * pinned, since every engine would pin its own to the same cores. */
    static const char hint[] = "PERFORMANCE_HINT", latency[] = "LATENCY";
    int failed = self->api.ov_core_compile_model(
        self->core, model, "CPU", 12, &self->compiled, hint, latency, "NUM_STREAMS", "1", "INFERENCE_NUM_THREADS",
        threads, "ENABLE_CPU_PINNING", "NO", precision != NULL ? "INFERENCE_PRECISION_HINT" : hint,
        precision != NULL ? precision : latency, cache != NULL ? "CACHE_DIR" : hint, cache != NULL ? cache : latency);
    vlj_status status = vlj_openvino_check(&self->api, failed, VLJ_E_BACKEND, what);
    if (status == VLJ_OK) {
        failed = self->api.ov_compiled_model_create_infer_request(self->compiled, &self->request);
        status = vlj_openvino_check(&self->api, failed, VLJ_E_BACKEND, what);
    }
    return status;
}

static void free_slots(const vlj_openvino_api *api, slot *slots) {
    for (uint32_t i = 0; i < VLJ_MAX_TENSORS; i++) {
        if (slots[i].tensor != NULL) {
            api->ov_tensor_free(slots[i].tensor);
        }
        if (slots[i].port != NULL) {
            api->ov_output_const_port_free(slots[i].port);
        }
    }
}

static void openvino_close(vlj_engine *engine) {
    openvino_engine *self = (openvino_engine *)engine;
    const vlj_openvino_api *api = &self->api;
    if (self->request != NULL) {
        api->ov_infer_request_free(self->request);
    }
    free_slots(api, self->inputs);
    free_slots(api, self->outputs);
    if (self->compiled != NULL) {
        api->ov_compiled_model_free(self->compiled);
    }
    if (self->core != NULL) {
        vlj_openvino_return_core(api);
    }
    vlj_free(self->host, self, sizeof *self);
}

static vlj_status openvino_open(const vlj_backend_context *context, const vlj_engine_spec *spec, vlj_engine **engine) {
    vlj_signature signature;
    char what[160];
    ov_model *model = NULL;
    vlj_component_signature(spec->component, spec->config, &signature);
    snprintf(what, sizeof what, "component %s%s%s", vlj_component_name(spec->component),
             spec->file[0] != '\0' ? " in " : "", spec->file);
    openvino_engine *self = vlj_alloc(context->host, sizeof *self, 0);
    if (self == NULL) {
        return vlj_fail(VLJ_E_MEMORY, "no memory for %s", what);
    }
    self->base.backend = &vlj_backend_openvino;
    self->base.component = spec->component;
    self->host = context->host;
    const char *library = context->openvino_library;
    vlj_status status = vlj_openvino_load(library, &self->api);
    if (status == VLJ_OK) {
        status = vlj_openvino_take_core(&self->api, &self->core);
    }
    if (status == VLJ_OK) {
        status = read_model(self, spec, what, &model);
    }
    if (status == VLJ_OK) {
        status = compile(self, context, spec, model, what);
    }
    if (model != NULL) {
        self->api.ov_model_free(model);
    }
    if (status == VLJ_OK) {
        status = take_ports(self, spec, signature.inputs, signature.input_count, 1, what);
    }
    if (status == VLJ_OK) {
        status = take_ports(self, spec, signature.outputs, signature.output_count, 0, what);
    }
    if (status != VLJ_OK) {
        openvino_close(&self->base);
        return status;
    }
    *engine = &self->base;
    return VLJ_OK;
}

/* ---- running ---- */

static int look_at(const openvino_engine *self, slot *s, const vlj_tensor *tensor) {
    const vlj_openvino_api *api = &self->api;
    if (s->tensor != NULL && s->data == tensor->data &&
        memcmp(s->shape, tensor->shape, tensor->rank * sizeof *s->shape) == 0) {
        return 0; /* a slot's rank and dtype never change */
    }
    ov_tensor *made = NULL;
    memcpy(s->shape, tensor->shape, tensor->rank * sizeof *s->shape);
    int failed = api->ov_tensor_create_from_host_ptr(api->element_types[tensor->dtype],
                                                     (ov_shape){tensor->rank, s->shape}, tensor->data, &made);
    if (failed == 0) {
        failed = api->ov_infer_request_set_tensor_by_const_port(self->request, s->port, made);
    }
    if (s->tensor != NULL) {
        api->ov_tensor_free(s->tensor);
    }
    s->tensor = failed == 0 ? made : NULL; /* NULL: the next run tries again */
    s->data = tensor->data;
    s->new_view = 1;
    if (failed != 0 && made != NULL) {
        api->ov_tensor_free(made);
    }
    return failed;
}

/* Counts the run's copies: a request that had put a tensor of its own in place of ours would read or write that. */
static int count_copies(openvino_engine *self, slot *s, const vlj_tensor *tensor) {
    const vlj_openvino_api *api = &self->api;
    int failed = 0;
    if (s->new_view) {
        ov_tensor *used = NULL;
        void *data = NULL;
        failed = api->ov_infer_request_get_tensor_by_const_port(self->request, s->port, &used);
        failed = failed != 0 ? failed : api->ov_tensor_data(used, &data);
        if (used != NULL) {
            api->ov_tensor_free(used);
        }
        s->copied_bytes = data != tensor->data ? tensor->size_bytes : 0;
        s->new_view = 0;
    }
    self->copied_bytes += s->copied_bytes;
    return failed;
}

static vlj_status openvino_run(vlj_engine *engine, const vlj_tensor *inputs, uint32_t input_count, vlj_tensor *outputs,
                               uint32_t output_count) {
    openvino_engine *self = (openvino_engine *)engine;
    int failed = 0;
    for (uint32_t i = 0; i < input_count && failed == 0; i++) {
        failed = look_at(self, &self->inputs[i], &inputs[i]);
    }
    for (uint32_t i = 0; i < output_count && failed == 0; i++) {
        failed = look_at(self, &self->outputs[i], &outputs[i]);
    }
    if (failed == 0) {
        failed = self->api.ov_infer_request_infer(self->request);
    }
    for (uint32_t i = 0; i < input_count && failed == 0; i++) {
        failed = count_copies(self, &self->inputs[i], &inputs[i]);
    }
    for (uint32_t i = 0; i < output_count && failed == 0; i++) {
        failed = count_copies(self, &self->outputs[i], &outputs[i]);
    }
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
};
