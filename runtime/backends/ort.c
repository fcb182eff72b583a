/* ort.c: backend "ort": a component as an ONNX Runtime session that reads and writes the core's buffers in place. */
#include <stdio.h>
#include <string.h>

#include "engine.h"
#include "error.h"
#include "ort_library.h"
#include "ort_options.h"

/* An OrtValue is a view of a buffer; it is made anew only when the buffer or the shape is another one. */
typedef struct view {
    OrtValue *value;
    void *data;
    int64_t shape[VLJ_MAX_RANK];
    size_t copied_bytes; /* of each run: 0 where ONNX Runtime works on `data` itself */
} view;

typedef struct ort_engine {
    vlj_engine base;
    const vlj_host *host;
    vlj_ort_api api;
    OrtEnv *env;
    OrtSession *session;
    OrtMemoryInfo *memory;
    const char *input_names[VLJ_MAX_TENSORS], *output_names[VLJ_MAX_TENSORS];
    view inputs[VLJ_MAX_TENSORS], outputs[VLJ_MAX_TENSORS];
    int elsewhere; /* a provider that computes on memory of its own */
    uint64_t copied_bytes;
} ort_engine;

static int element_type(vlj_dtype dtype) {
    switch (dtype) {
    case VLJ_UINT8: return VLJ_ORT_UINT8;
    case VLJ_INT64: return VLJ_ORT_INT64;
    case VLJ_FLOAT32: return VLJ_ORT_FLOAT;
    case VLJ_FLOAT16: return VLJ_ORT_FLOAT16;
    case VLJ_BFLOAT16: return VLJ_ORT_BFLOAT16;
    case VLJ_INT8: return VLJ_ORT_INT8;
    }
    return 0;
}

static vlj_dtype dtype_of(int type) {
    for (int dtype = VLJ_UINT8; dtype <= VLJ_INT8; dtype++) {
        if (element_type((vlj_dtype)dtype) == type) {
            return (vlj_dtype)dtype;
        }
    }
    return (vlj_dtype)-1; /* vlj_dtype_name says "another dtype" */
}

/* ---- checking the model against the signature ---- */

static vlj_status check_one(ort_engine *self, const vlj_engine_spec *spec, const vlj_tensor_spec *expected,
                            int is_input, size_t index) {
    const vlj_ort_api *api = &self->api;
    OrtTypeInfo *type = NULL;
    const OrtTensorInfo *tensor = NULL;
    int element = 0;
    size_t rank = 0;
    vlj_tensor_spec found = {.name = expected->name};
    const char *what = vlj_component_name(spec->component);
    vlj_status status = vlj_ort_check(api,
                                      is_input ? api->SessionGetInputTypeInfo(self->session, index, &type)
                                               : api->SessionGetOutputTypeInfo(self->session, index, &type),
                                      VLJ_E_BACKEND, what);
    if (status == VLJ_OK) {
        status = vlj_ort_check(api, api->CastTypeInfoToTensorInfo(type, &tensor), VLJ_E_BACKEND, what);
    }
    if (status == VLJ_OK && tensor == NULL) {
        status = vlj_fail(VLJ_E_BUNDLE_SHAPE, "component %s: %s is not a tensor", what, expected->name);
    }
    if (status == VLJ_OK) {
        status = vlj_ort_check(api, api->GetTensorElementType(tensor, &element), VLJ_E_BACKEND, what);
    }
    if (status == VLJ_OK) {
        status = vlj_ort_check(api, api->GetDimensionsCount(tensor, &rank), VLJ_E_BACKEND, what);
    }
    if (status == VLJ_OK) {
        found.dtype = dtype_of(element);
        found.rank = (uint32_t)rank;
        status = rank <= VLJ_MAX_RANK
                     ? vlj_ort_check(api, api->GetDimensions(tensor, found.shape, rank), VLJ_E_BACKEND, what)
                     : VLJ_OK; /* vlj_check_tensor refuses the rank */
    }
    if (status == VLJ_OK) {
        status = vlj_check_tensor(spec->component, expected, &found, spec->file);
    }
    if (type != NULL) {
        api->ReleaseTypeInfo(type);
    }
    return status;
}

/* Every tensor of the signature must be there; of inputs, no other may be, since nobody would fill it. */
static vlj_status check_side(ort_engine *self, const vlj_engine_spec *spec, const vlj_tensor_spec *expected,
                             uint32_t count, int is_input) {
    const vlj_ort_api *api = &self->api;
    const char *what = vlj_component_name(spec->component), *side = is_input ? "input" : "output";
    OrtAllocator *allocator = NULL;
    size_t found_count = 0;
    uint32_t found = 0;
    char others[128] = "";
    vlj_status status = vlj_ort_check(api, api->GetAllocatorWithDefaultOptions(&allocator), VLJ_E_BACKEND, what);
    if (status == VLJ_OK) {
        status = vlj_ort_check(api,
                               is_input ? api->SessionGetInputCount(self->session, &found_count)
                                        : api->SessionGetOutputCount(self->session, &found_count),
                               VLJ_E_BACKEND, what);
    }
    for (size_t i = 0; i < found_count && status == VLJ_OK; i++) {
        char *name = NULL;
        status = vlj_ort_check(api,
                               is_input ? api->SessionGetInputName(self->session, i, allocator, &name)
                                        : api->SessionGetOutputName(self->session, i, allocator, &name),
                               VLJ_E_BACKEND, what);
        if (status != VLJ_OK) {
            break;
        }
        uint32_t at = 0;
        while (at < count && strcmp(expected[at].name, name) != 0) {
            at++;
        }
        if (at < count) {
            found |= 1u << at;
            status = check_one(self, spec, &expected[at], is_input, i);
        } else {
            size_t length = strlen(others);
            snprintf(others + length, sizeof others - length, "%s%s", length > 0 ? ", " : "", name);
        }
        vlj_ort_check(api, api->AllocatorFree(allocator, name), VLJ_E_BACKEND, what);
    }
    for (uint32_t i = 0; i < count && status == VLJ_OK; i++) {
        if (!(found >> i & 1)) {
            status = vlj_fail(VLJ_E_BUNDLE_SHAPE, "component %s %s: there is no %s \"%s\"; it has also %s", what,
                              spec->file, side, expected[i].name, others[0] != '\0' ? others : "nothing else");
        }
    }
    if (status == VLJ_OK && is_input && others[0] != '\0') {
        status = vlj_fail(VLJ_E_BUNDLE_SHAPE, "component %s %s: unexpected input %s", what, spec->file, others);
    }
    return status;
}

/* ---- opening ---- */

static vlj_status create_session(ort_engine *self, const vlj_backend_context *context, const vlj_engine_spec *spec) {
    const vlj_ort_api *api = &self->api;
    OrtSessionOptions *options = NULL;
    char what[160];
    snprintf(what, sizeof what, "component %s%s%s", vlj_component_name(spec->component),
             spec->file[0] != '\0' ? " in " : "", spec->file);
    vlj_status status = vlj_ort_check(api, api->CreateSessionOptions(&options), VLJ_E_BACKEND, what);
    if (status == VLJ_OK) {
        status = vlj_ort_set_options(api, context, spec, options);
    }
    vlj_section data;
    if (status == VLJ_OK && spec->folder != NULL && vlj_index_nth(spec->index, VLJ_SECTION_ENGINE_DATA, 0, &data)) {
        char path[4096]; /* by path, so that ONNX Runtime maps the weights beside it */
        int length = snprintf(path, sizeof path, "%s/%s", spec->folder, spec->file);
        status =
            length > 0 && (size_t)length < sizeof path
                ? vlj_ort_check(api, api->CreateSession(self->env, path, options, &self->session), VLJ_E_BACKEND, what)
                : vlj_fail(VLJ_E_BUNDLE_MISSING, "%s: its path is too long", what);
    } else if (status == VLJ_OK) {
        status = vlj_ort_add_data_files(api, spec, options);
        if (status == VLJ_OK) {
            OrtStatus *made = api->CreateSessionFromArray(self->env, spec->bytes, spec->size, options, &self->session);
            status = vlj_ort_check(api, made, VLJ_E_BACKEND, what);
        }
    }
    if (options != NULL) {
        api->ReleaseSessionOptions(options);
    }
    return status;
}

static void ort_close(vlj_engine *engine) {
    ort_engine *self = (ort_engine *)engine;
    const vlj_ort_api *api = &self->api;
    for (uint32_t i = 0; i < VLJ_MAX_TENSORS; i++) {
        if (self->inputs[i].value != NULL) {
            api->ReleaseValue(self->inputs[i].value);
        }
        if (self->outputs[i].value != NULL) {
            api->ReleaseValue(self->outputs[i].value);
        }
    }
    if (self->session != NULL) {
        api->ReleaseSession(self->session);
    }
    if (self->memory != NULL) {
        api->ReleaseMemoryInfo(self->memory);
    }
    if (self->env != NULL) {
        api->ReleaseEnv(self->env);
    }
    vlj_free(self->host, self, sizeof *self);
}

static vlj_status ort_open(const vlj_backend_context *context, const vlj_engine_spec *spec, vlj_engine **engine) {
    vlj_signature signature;
    vlj_component_signature(spec->component, spec->config, &signature);
    ort_engine *self = vlj_alloc(context->host, sizeof *self, 0);
    if (self == NULL) {
        return vlj_fail(VLJ_E_MEMORY, "no memory for component %s", vlj_component_name(spec->component));
    }
    self->base.backend = &vlj_backend_ort;
    self->base.component = spec->component;
    self->host = context->host;
    const char *provider = context->provider;
    self->elsewhere = provider != NULL && provider[0] != '\0' && strcmp(provider, "cpu") != 0;
    vlj_status status = vlj_ort_load(context->library, &self->api);
    vlj_ort_log_to(context->host);
    if (status == VLJ_OK) {
        status = vlj_ort_create_env(&self->api, &self->env);
    }
    if (status == VLJ_OK) {
        OrtStatus *made = self->api.CreateCpuMemoryInfo(VLJ_ORT_ARENA_ALLOCATOR, VLJ_ORT_DEFAULT_MEMORY, &self->memory);
        status = vlj_ort_check(&self->api, made, VLJ_E_BACKEND, "ONNX Runtime's memory");
    }
    if (status == VLJ_OK) {
        status = create_session(self, context, spec);
    }
    if (status == VLJ_OK) {
        status = check_side(self, spec, signature.inputs, signature.input_count, 1);
    }
    if (status == VLJ_OK) {
        status = check_side(self, spec, signature.outputs, signature.output_count, 0);
    }
    vlj_ort_log_to(NULL);
    if (status != VLJ_OK) {
        ort_close(&self->base);
        return status;
    }
    for (uint32_t i = 0; i < VLJ_MAX_TENSORS; i++) {
        self->input_names[i] = signature.inputs[i].name;
        self->output_names[i] = signature.outputs[i].name;
    }
    *engine = &self->base;
    return VLJ_OK;
}

/* ---- running ---- */

static OrtStatus *look_at(const ort_engine *self, view *v, const vlj_tensor *tensor) {
    const vlj_ort_api *api = &self->api;
    if (v->value != NULL && v->data == tensor->data &&
        memcmp(v->shape, tensor->shape, tensor->rank * sizeof *v->shape) == 0) {
        return NULL; /* a slot's rank and dtype never change */
    }
    if (v->value != NULL) {
        api->ReleaseValue(v->value);
        v->value = NULL;
    }
    v->data = tensor->data;
    memcpy(v->shape, tensor->shape, tensor->rank * sizeof *v->shape);
    OrtStatus *failed =
        api->CreateTensorWithDataAsOrtValue(self->memory, tensor->data, tensor->size_bytes, tensor->shape, tensor->rank,
                                            element_type(tensor->dtype), &v->value);
    void *used = NULL;
    failed = failed != NULL ? failed : api->GetTensorMutableData(v->value, &used);
    v->copied_bytes = self->elsewhere || used != tensor->data ? tensor->size_bytes : 0;
    return failed;
}

static vlj_status ort_run(vlj_engine *engine, const vlj_tensor *inputs, uint32_t input_count, vlj_tensor *outputs,
                          uint32_t output_count) {
    ort_engine *self = (ort_engine *)engine;
    const OrtValue *given[VLJ_MAX_TENSORS] = {0};
    OrtValue *filled[VLJ_MAX_TENSORS] = {0};
    OrtStatus *failed = NULL;
    vlj_ort_log_to(self->host);
    for (uint32_t i = 0; i < input_count && failed == NULL; i++) {
        failed = look_at(self, &self->inputs[i], &inputs[i]);
        given[i] = self->inputs[i].value;
        self->copied_bytes += self->inputs[i].copied_bytes;
    }
    for (uint32_t i = 0; i < output_count && failed == NULL; i++) {
        failed = look_at(self, &self->outputs[i], &outputs[i]);
        filled[i] = self->outputs[i].value;
        self->copied_bytes += self->outputs[i].copied_bytes;
    }
    if (failed == NULL) {
        failed = self->api.Run(self->session, NULL, self->input_names, given, input_count, self->output_names,
                               output_count, filled);
    }
    vlj_ort_log_to(NULL);
    if (failed == NULL) {
        return VLJ_OK;
    }
    char what[64];
    snprintf(what, sizeof what, "component %s", vlj_component_name(engine->component));
    return vlj_ort_check(&self->api, failed, VLJ_E_BACKEND_RUN, what);
}

static size_t ort_memory(const vlj_engine *engine) {
    (void)engine;
    return 0; /* ONNX Runtime doesn't tell */
}

static uint64_t ort_copied(const vlj_engine *engine) {
    return ((const ort_engine *)engine)->copied_bytes;
}

const vlj_backend vlj_backend_ort = {
    .name = "ort",
    .needs_bytes = 1,
    .open = ort_open,
    .run = ort_run,
    .memory = ort_memory,
    .close = ort_close,
    .copied_bytes = ort_copied,
};
