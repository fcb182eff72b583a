/* engine.c: the list of backends, and what each component takes and gives. */
#include "engine.h"

#include <stdio.h>
#include <string.h>

#include "error.h"

static const vlj_backend *const backends[] = {&vlj_backend_ort, &vlj_backend_openvino, &vlj_backend_tensorrt,
                                              &vlj_backend_auto, &vlj_backend_callback};
enum { BACKEND_COUNT = sizeof backends / sizeof backends[0] };

vlj_status vlj_backend_find(const char *name, const vlj_backend **backend) {
    if (name == NULL || name[0] == '\0') {
        name = backends[0]->name;
    }
    char known[128] = "";
    for (int i = 0; i < BACKEND_COUNT; i++) {
        if (strcmp(name, backends[i]->name) == 0) {
            *backend = backends[i];
            return VLJ_OK;
        }
        size_t at = strlen(known);
        snprintf(known + at, sizeof known - at, "%s%s", i > 0 ? ", " : "", backends[i]->name);
    }
    return vlj_fail(VLJ_E_BACKEND_MISSING, "there is no backend \"%s\": this library has %s", name, known);
}

const char *vlj_component_name(vlj_component component) {
    static const char *const names[VLJ_COMPONENT_COUNT] = {"x_encoder", "predictor", "y_encoder", "y_decoder_prefix",
                                                           "y_decoder"};
    return (unsigned)component < VLJ_COMPONENT_COUNT ? names[component] : "unknown component";
}

const char *vlj_dtype_name(vlj_dtype dtype) {
    switch (dtype) {
    case VLJ_UINT8: return "uint8";
    case VLJ_INT64: return "int64";
    case VLJ_FLOAT32: return "float32";
    case VLJ_FLOAT16: return "float16";
    case VLJ_BFLOAT16: return "bfloat16";
    case VLJ_INT8: return "int8";
    }
    return "another dtype";
}

size_t vlj_dtype_bytes(vlj_dtype dtype) {
    switch (dtype) {
    case VLJ_UINT8:
    case VLJ_INT8: return 1;
    case VLJ_FLOAT16:
    case VLJ_BFLOAT16: return 2;
    case VLJ_FLOAT32: return 4;
    case VLJ_INT64: return 8;
    }
    return 0;
}

static vlj_tensor_spec tensor(const char *name, vlj_dtype dtype, uint32_t rank, const int64_t *shape) {
    vlj_tensor_spec spec = {.name = name, .dtype = dtype, .rank = rank};
    memcpy(spec.shape, shape, rank * sizeof *shape);
    return spec;
}

#define TENSOR(name, dtype, ...)                                                                                       \
    tensor(name, dtype, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (const int64_t[]){__VA_ARGS__})

void vlj_component_signature(vlj_component component, const vlj_config *c, vlj_signature *s) {
    memset(s, 0, sizeof *s);
    switch (component) {
    case VLJ_X_ENCODER:
        s->input_count = 1;
        s->inputs[0] = TENSOR("frames", VLJ_UINT8, 1, c->frames, 3, c->height, c->width);
        s->output_count = 1;
        s->outputs[0] = TENSOR("visual_tokens", VLJ_FLOAT32, 1, c->visual_tokens, c->visual_width);
        return;
    case VLJ_PREDICTOR:
        s->input_count = 3;
        s->inputs[0] = TENSOR("visual_tokens", VLJ_FLOAT32, 1, c->visual_tokens, c->visual_width);
        s->inputs[1] = TENSOR("query_embeddings", VLJ_FLOAT32, VLJ_DYNAMIC, VLJ_DYNAMIC, c->query_width);
        s->inputs[2] = TENSOR("query_mask", VLJ_FLOAT32, VLJ_DYNAMIC, VLJ_DYNAMIC);
        s->output_count = 1;
        s->outputs[0] = TENSOR("predicted_embedding", VLJ_FLOAT32, VLJ_DYNAMIC, c->embedding_width);
        return;
    case VLJ_Y_ENCODER:
        s->input_count = 1;
        s->inputs[0] = TENSOR("token_ids", VLJ_INT64, 1, VLJ_DYNAMIC);
        s->output_count = 1;
        s->outputs[0] = TENSOR("text_embedding", VLJ_FLOAT32, 1, c->embedding_width);
        return;
    case VLJ_Y_DECODER_PREFIX:
        s->input_count = 1;
        s->inputs[0] = TENSOR("embedding", VLJ_FLOAT32, 1, c->embedding_width);
        s->output_count = 1;
        s->outputs[0] = TENSOR("soft_tokens", VLJ_FLOAT32, 1, c->decoder_prefix_tokens, c->decoder_width);
        return;
    case VLJ_Y_DECODER:
        s->input_count = 4;
        s->inputs[0] = TENSOR("input_embeddings", VLJ_FLOAT32, 1, VLJ_DYNAMIC, c->decoder_width);
        s->inputs[1] = TENSOR("positions", VLJ_INT64, VLJ_DYNAMIC);
        s->inputs[2] = TENSOR("attention_mask", VLJ_FLOAT32, VLJ_DYNAMIC, VLJ_DYNAMIC);
        s->inputs[3] = TENSOR("kv_cache", VLJ_FLOAT32, c->decoder_planes, c->decoder_kv_heads, c->decoder_cache_length,
                              c->decoder_head_dim);
        s->output_count = 2;
        s->outputs[0] = TENSOR("logits", VLJ_FLOAT32, 1, c->decoder_vocabulary);
        s->outputs[1] =
            TENSOR("kv_new", VLJ_FLOAT32, c->decoder_planes, c->decoder_kv_heads, VLJ_DYNAMIC, c->decoder_head_dim);
        return;
    case VLJ_COMPONENT_COUNT: return;
    }
}

/* "float32 [1, ?, 12]" */
static void describe(const vlj_tensor_spec *spec, char *to, size_t bytes) {
    int at = snprintf(to, bytes, "%s [", vlj_dtype_name(spec->dtype));
    for (uint32_t i = 0; i < spec->rank && i < VLJ_MAX_RANK && at > 0 && (size_t)at < bytes; i++) {
        const char *comma = i > 0 ? ", " : "";
        at += spec->shape[i] < 0 ? snprintf(to + at, bytes - (size_t)at, "%s?", comma)
                                 : snprintf(to + at, bytes - (size_t)at, "%s%lld", comma, (long long)spec->shape[i]);
    }
    if (at > 0 && (size_t)at < bytes) {
        snprintf(to + at, bytes - (size_t)at, "]%s", spec->rank > VLJ_MAX_RANK ? " and more" : "");
    }
}

vlj_status vlj_check_tensor(vlj_component component, const vlj_tensor_spec *expected, const vlj_tensor_spec *found,
                            const char *file) {
    int same = expected->dtype == found->dtype && expected->rank == found->rank;
    for (uint32_t i = 0; same && i < expected->rank; i++) {
        /* A symbol in the model where we expect a number is allowed: exporters don't always infer output shapes. */
        same = found->shape[i] < 0 || found->shape[i] == expected->shape[i];
    }
    if (same) {
        return VLJ_OK;
    }
    char wanted[128], has[128];
    describe(expected, wanted, sizeof wanted);
    describe(found, has, sizeof has);
    return vlj_fail(VLJ_E_BUNDLE_SHAPE, "component %s%s%s: tensor %s is %s, expected %s", vlj_component_name(component),
                    file[0] != '\0' ? " in " : "", file, expected->name, has, wanted);
}

void vlj_tensor_set(vlj_tensor *to, const vlj_tensor_spec *spec, const int64_t *shape, void *data) {
    to->name = spec->name;
    to->dtype = spec->dtype;
    to->rank = spec->rank;
    to->data = data;
    to->size_bytes = vlj_dtype_bytes(spec->dtype);
    for (uint32_t i = 0; i < spec->rank; i++) {
        to->shape[i] = shape[i];
        to->size_bytes *= (size_t)shape[i];
    }
}
