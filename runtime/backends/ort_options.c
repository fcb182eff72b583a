/* ort_options.c: how a session of backend "ort" is set up. */
#include "ort_options.h"

#include <stdio.h>
#include <string.h>

#include "error.h"
#include "ort_library.h"
#include "ort_pool_op.h"

enum { MOST_DATA_FILES = 16, MOST_SETTINGS = 8 };

/* ---- execution providers ---- */

/* Fails where this library has no provider of that name: a session would then quietly run somewhere else. */
static vlj_status expect_provider(const vlj_ort_api *api, const char *asked, const char *name) {
    char **names = NULL, known[200] = "";
    int count = 0, found = 0;
    vlj_status status = vlj_ort_check(api, api->GetAvailableProviders(&names, &count), VLJ_E_BACKEND, "ONNX Runtime");
    if (status != VLJ_OK) {
        return status;
    }
    for (int i = 0; i < count; i++) {
        size_t at = strlen(known);
        snprintf(known + at, sizeof known - at, "%s%s", i > 0 ? ", " : "", names[i]);
        found |= strcmp(names[i], name) == 0;
    }
    vlj_ort_check(api, api->ReleaseAvailableProviders(names, count), VLJ_E_BACKEND, "ONNX Runtime");
    return found ? VLJ_OK
                 : vlj_fail(VLJ_E_BACKEND_MISSING,
                            "options.provider is \"%s\", but ONNX Runtime %s was built with %s only: onnxruntime-gpu "
                            "has it (on Jetson: NVIDIA's own build)",
                            asked, api->base->get_version(), known);
}

typedef struct settings {
    const char *keys[MOST_SETTINGS], *values[MOST_SETTINGS];
    size_t count;
} settings;

static void set(settings *s, const char *key, const char *value) {
    s->keys[s->count] = key;
    s->values[s->count++] = value;
}

static vlj_status append_cuda(const vlj_ort_api *api, const settings *chosen, OrtSessionOptions *options) {
    OrtCudaOptions *cuda = NULL;
    OrtStatus *failed = api->CreateCudaOptions(&cuda);
    failed = failed != NULL ? failed : api->UpdateCudaOptions(cuda, chosen->keys, chosen->values, chosen->count);
    failed = failed != NULL ? failed : api->AppendCuda(options, cuda);
    if (cuda != NULL) {
        api->ReleaseCudaOptions(cuda);
    }
    return vlj_ort_check(api, failed, VLJ_E_BACKEND_MISSING, "ONNX Runtime's CUDA provider");
}

static vlj_status append_tensorrt(const vlj_ort_api *api, const settings *chosen, OrtSessionOptions *options) {
    OrtTensorRtOptions *tensorrt = NULL;
    OrtStatus *failed = api->CreateTensorRtOptions(&tensorrt);
    failed =
        failed != NULL ? failed : api->UpdateTensorRtOptions(tensorrt, chosen->keys, chosen->values, chosen->count);
    failed = failed != NULL ? failed : api->AppendTensorRt(options, tensorrt);
    if (tensorrt != NULL) {
        api->ReleaseTensorRtOptions(tensorrt);
    }
    return vlj_ort_check(api, failed, VLJ_E_BACKEND_MISSING, "ONNX Runtime's TensorRT provider");
}

/* `on_cpu`: whether nothing but the CPU's provider takes part. */
static vlj_status set_provider(const vlj_ort_api *api, const vlj_backend_context *context, const vlj_engine_spec *spec,
                               OrtSessionOptions *options, int *on_cpu) {
    const char *asked = context->provider;
    char device[16];
    *on_cpu = asked == NULL || asked[0] == '\0' || strcmp(asked, "cpu") == 0;
    if (*on_cpu) {
        return VLJ_OK;
    }
    int tensorrt = strcmp(asked, "tensorrt") == 0;
    if (!tensorrt && strcmp(asked, "cuda") != 0) {
        return vlj_fail(VLJ_E_ARGUMENT, "options.provider is \"%s\", expected \"cpu\", \"cuda\" or \"tensorrt\"",
                        asked);
    }
    snprintf(device, sizeof device, "%u", context->device);
    vlj_status status = VLJ_OK;
    if (tensorrt) { /* goes first: what it leaves over, CUDA takes */
        settings chosen = {.count = 0};
        set(&chosen, "device_id", device);
        set(&chosen, "trt_int8_enable", strcmp(spec->config->precision, "int8") == 0 ? "1" : "0");
        set(&chosen, "trt_fp16_enable", spec->float_precision == VLJ_FLOATS_FLOAT16 ? "1" : "0");
        set(&chosen, "trt_engine_cache_enable", context->cache_folder != NULL ? "1" : "0");
        if (context->cache_folder != NULL) { /* building takes minutes: once per device */
            set(&chosen, "trt_engine_cache_path", context->cache_folder);
        }
        status = expect_provider(api, asked, "TensorrtExecutionProvider");
        status = status == VLJ_OK ? append_tensorrt(api, &chosen, options) : status;
    }
    if (status == VLJ_OK) {
        settings chosen = {.count = 0};
        set(&chosen, "device_id", device);
        status = expect_provider(api, asked, "CUDAExecutionProvider");
        status = status == VLJ_OK ? append_cuda(api, &chosen, options) : status;
    }
    return status;
}

/* ---- threads, memory, operators ---- */

vlj_status vlj_ort_set_options(const vlj_ort_api *api, const vlj_backend_context *context, const vlj_engine_spec *spec,
                               OrtSessionOptions *options) {
    /* Spinning threads answer sooner inside a run; between runs of an always-on program they would only burn power. */
    const char *spin = spec->spinning ? "1" : "0";
    int dynamic = spec->component != VLJ_X_ENCODER && spec->component != VLJ_Y_DECODER_PREFIX;
    OrtStatus *failed = api->SetSessionExecutionMode(options, VLJ_ORT_SEQUENTIAL);
    failed = failed != NULL ? failed : api->SetSessionGraphOptimizationLevel(options, VLJ_ORT_OPTIMISE_ALL);
    failed = failed != NULL ? failed : api->SetIntraOpNumThreads(options, (int)spec->threads);
    failed = failed != NULL ? failed : api->SetInterOpNumThreads(options, 1);
    failed = failed != NULL ? failed : api->SetSessionLogSeverityLevel(options, VLJ_ORT_LOG_ERROR);
    failed = failed != NULL ? failed : api->AddSessionConfigEntry(options, "session.intra_op.allow_spinning", spin);
    failed = failed != NULL ? failed : api->AddSessionConfigEntry(options, "session.force_spinning_stop", "1");
    if (failed == NULL && strcmp(spec->config->precision, "fp8") == 0) {
        /* No CPU computes in FP8: values are rounded to it and computed in float32. Fusing Q/DQ pairs, which the
         * default does, has no FP8 kernels and makes an invalid graph. */
        failed = api->AddSessionConfigEntry(options, "session.disable_quant_qdq", "1");
    }
    if (dynamic && failed == NULL) {
        failed = api->DisableMemPattern(options); /* it would keep one plan for each shape ever seen */
    }
    if (context->packed_weights == VLJ_OFF && failed == NULL) {
        failed = api->AddSessionConfigEntry(options, "session.disable_prepacking", "1");
    }
    if (context->arena == VLJ_OFF && failed == NULL) {
        failed = api->DisableCpuMemArena(options);
    }
    int on_cpu = 1;
    vlj_status status = vlj_ort_check(api, failed, VLJ_E_BACKEND, "ONNX Runtime's session options");
    if (status == VLJ_OK) {
        status = set_provider(api, context, spec, options, &on_cpu);
    }
    if (status == VLJ_OK && context->own_ops != VLJ_OFF && on_cpu) { /* a GPU would have to copy to and fro for them */
        status = vlj_ort_check(api, vlj_ort_register_pool(options, api->base), VLJ_E_BACKEND,
                               "vljepa::MaskedMeanPool for ONNX Runtime");
    }
    return status;
}

/* ---- weights ---- */

/* An image's external weights lie inside it: they are handed over by the names that the ONNX uses. */
vlj_status vlj_ort_add_data_files(const vlj_ort_api *api, const vlj_engine_spec *spec, OrtSessionOptions *options) {
    vlj_section sections[MOST_DATA_FILES];
    const char *names[MOST_DATA_FILES];
    char *buffers[MOST_DATA_FILES];
    size_t bytes[MOST_DATA_FILES], count = 0;
    while (count < MOST_DATA_FILES &&
           vlj_index_nth(spec->index, VLJ_SECTION_ENGINE_DATA, (uint32_t)count, &sections[count])) {
        names[count] = sections[count].name;
        buffers[count] = (char *)sections[count].bytes; /* read only, whatever its type says */
        bytes[count] = (size_t)sections[count].size;
        count++;
    }
    if (count == 0) {
        return VLJ_OK;
    }
    if (api->AddExternalInitializersFromFilesInMemory == NULL) {
        return vlj_fail(VLJ_E_BACKEND_MISSING,
                        "component %s has external weights in an image, which takes ONNX Runtime 1.%d or newer",
                        vlj_component_name(spec->component), VLJ_ORT_FILES_IN_MEMORY_API);
    }
    return vlj_ort_check(api, api->AddExternalInitializersFromFilesInMemory(options, names, buffers, bytes, count),
                         VLJ_E_BACKEND, vlj_component_name(spec->component));
}
