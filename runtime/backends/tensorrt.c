/* tensorrt.c: backend "tensorrt": engines that `vljepa export --engine tensorrt` built on this device.
 *
 * TensorRT itself is behind libvljepa_tensorrt (tensorrt_plugin.h), loaded by dlopen. Here: whether the engines in
 * options.engine_folder belong to this device, this TensorRT and this bundle, and whether their tensors fit.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "engine.h"
#include "engine_key.h"
#include "error.h"
#include "mapped_file.h"
#include "tensorrt_plugin.h"

enum { PATH_BYTES = 4096, WHAT_BYTES = 160, WHY_BYTES = 700 };

typedef struct tensorrt_engine {
    vlj_engine base;
    const vlj_host *host;
    const vlj_tensorrt_plugin *plugin;
    vlj_tensorrt_engine *engine;
    uint64_t copied_bytes;
} tensorrt_engine;

/* ---- the library ---- */

static vlj_status load_plugin(const char *path, const vlj_tensorrt_plugin **plugin) {
    const char *name = path != NULL ? path : "libvljepa_tensorrt.so";
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL); /* stays loaded: CUDA doesn't survive an unload */
    if (library == NULL) {
        const char *why = dlerror();
        return vlj_fail(VLJ_E_BACKEND_MISSING,
                        "backend \"tensorrt\" cannot be loaded: %s. CMake builds libvljepa_tensorrt.so where "
                        "TensorRT's headers are; name it in options.tensorrt_library",
                        why != NULL ? why : name);
    }
    const vlj_tensorrt_plugin *(*get)(uint32_t version) = NULL;
    void *symbol = dlsym(library, "vlj_tensorrt_plugin_get");
    memcpy(&get, &symbol, sizeof symbol); /* ISO C has no cast from an object to a function pointer */
    *plugin = get != NULL ? get(VLJ_TENSORRT_PLUGIN_VERSION) : NULL;
    if (*plugin == NULL) {
        return vlj_fail(VLJ_E_BACKEND_MISSING, "%s is not backend \"tensorrt\" of this version: build it anew", name);
    }
    return VLJ_OK;
}

/* Engines are for one device and one TensorRT, and TensorRT's own words for that are obscure. */
static vlj_status check_key(const vlj_backend_context *context, const vlj_tensorrt_plugin *plugin,
                            const vlj_engine_key *key) {
    char library[64] = "", gpu[160] = "", why[WHY_BYTES] = "no reason";
    if (plugin->describe(context->device, library, sizeof library, gpu, sizeof gpu, why, sizeof why) != 0) {
        return vlj_fail(VLJ_E_BACKEND_MISSING, "backend \"tensorrt\", device %u: %s", context->device, why);
    }
    if (!vlj_engine_key_same_library(key, "tensorrt", library)) {
        return vlj_fail(VLJ_E_BACKEND, "the engines in %s were built by %s, here is TensorRT %s: %s",
                        context->engine_folder, key->library, library, VLJ_ENGINE_KEY_ADVICE);
    }
    if (strcmp(key->device, gpu) != 0) {
        return vlj_fail(VLJ_E_BACKEND, "the engines in %s were built for %s, here is %s: %s", context->engine_folder,
                        key->device, gpu, VLJ_ENGINE_KEY_ADVICE);
    }
    return VLJ_OK;
}

/* ---- opening ---- */

static vlj_status check_side(const tensorrt_engine *self, const vlj_tensor_spec *expected, uint32_t count,
                             uint32_t is_input, const char *file) {
    char names[256] = "";
    uint32_t bindings = self->plugin->binding_count(self->engine), of_side = 0, matched = 0;
    for (uint32_t b = 0; b < bindings; b++) {
        vlj_tensorrt_binding told;
        self->plugin->binding(self->engine, b, &told);
        if ((uint32_t)told.is_input != is_input) {
            continue;
        }
        of_side++;
        size_t at = strlen(names);
        snprintf(names + at, sizeof names - at, "%s%s", at > 0 ? ", " : "", told.name);
        for (uint32_t i = 0; i < count; i++) {
            if (strcmp(told.name, expected[i].name) != 0) {
                continue;
            }
            vlj_tensor_spec found = {.name = expected[i].name, .dtype = (vlj_dtype)told.dtype, .rank = told.rank};
            memcpy(found.shape, told.shape, sizeof found.shape); /* -1 is VLJ_DYNAMIC for both */
            vlj_status status = vlj_check_tensor(self->base.component, &expected[i], &found, file);
            if (status != VLJ_OK) {
                return status;
            }
            matched++;
        }
    }
    if (matched != count || (is_input && of_side != count)) {
        return vlj_fail(VLJ_E_BUNDLE_SHAPE, "component %s: the engine %s has %u of %u %s; it has %s",
                        vlj_component_name(self->base.component), file, matched, count, is_input ? "inputs" : "outputs",
                        names[0] != '\0' ? names : "none");
    }
    return VLJ_OK;
}

static void log_line(void *user_data, int level, const char *message) {
    vlj_logf(user_data, (vlj_log_level)level, "TensorRT: %s", message);
}

static void tensorrt_close(vlj_engine *engine) {
    tensorrt_engine *self = (tensorrt_engine *)engine;
    if (self->engine != NULL) {
        self->plugin->close(self->engine);
    }
    vlj_free(self->host, self, sizeof *self);
}

static vlj_status open_plan(tensorrt_engine *self, const vlj_backend_context *context, const vlj_engine_spec *spec) {
    vlj_engine_key key;
    char path[PATH_BYTES], why[WHY_BYTES] = "no reason";
    vlj_mapped_file plan;
    vlj_status status = vlj_engine_key_read(context->engine_folder, spec, "tensorrt", &key);
    if (status == VLJ_OK) {
        status = load_plugin(context->tensorrt_library, &self->plugin);
    }
    if (status == VLJ_OK) {
        status = check_key(context, self->plugin, &key);
    }
    if (status != VLJ_OK) {
        return status;
    }
    int length = snprintf(path, sizeof path, "%s/%s", context->engine_folder, key.file);
    if (length < 0 || (size_t)length >= sizeof path) {
        return vlj_fail(VLJ_E_BUNDLE_MISSING, "the path of %s's engine is too long",
                        vlj_component_name(spec->component));
    }
    status = vlj_mapped_file_open(path, &plan);
    if (status != VLJ_OK) {
        return status;
    }
    if (self->plugin->open(plan.bytes, plan.size, context->device, log_line, (void *)context->host, &self->engine, why,
                           sizeof why) != 0) {
        status = vlj_fail(VLJ_E_BACKEND, "backend \"tensorrt\", component %s, %s: %s",
                          vlj_component_name(spec->component), key.file, why);
    }
    vlj_mapped_file_close(&plan);
    return status;
}

static vlj_status tensorrt_open(const vlj_backend_context *context, const vlj_engine_spec *spec, vlj_engine **engine) {
    vlj_signature signature;
    vlj_component_signature(spec->component, spec->config, &signature);
    if (context->engine_folder == NULL) {
        return vlj_fail(VLJ_E_BACKEND_MISSING,
                        "backend \"tensorrt\" runs engines built on this device: name their folder in "
                        "options.engine_folder (vljepa export BUNDLE --engine tensorrt -o FOLDER)");
    }
    tensorrt_engine *self = vlj_alloc(context->host, sizeof *self, 0);
    if (self == NULL) {
        return vlj_fail(VLJ_E_MEMORY, "no memory for component %s", vlj_component_name(spec->component));
    }
    self->base.backend = &vlj_backend_tensorrt;
    self->base.component = spec->component;
    self->host = context->host;
    vlj_status status = open_plan(self, context, spec);
    if (status == VLJ_OK) {
        status = check_side(self, signature.inputs, signature.input_count, 1, context->engine_folder);
    }
    if (status == VLJ_OK) {
        status = check_side(self, signature.outputs, signature.output_count, 0, context->engine_folder);
    }
    if (status != VLJ_OK) {
        tensorrt_close(&self->base);
        return status;
    }
    *engine = &self->base;
    return VLJ_OK;
}

/* ---- running ---- */

static vlj_status tensorrt_run(vlj_engine *engine, const vlj_tensor *inputs, uint32_t input_count, vlj_tensor *outputs,
                               uint32_t output_count) {
    tensorrt_engine *self = (tensorrt_engine *)engine;
    char why[WHY_BYTES] = "no reason";
    uint64_t copied = 0;
    int failed = self->plugin->run(self->engine, inputs, input_count, outputs, output_count, &copied, why, sizeof why);
    self->copied_bytes += copied;
    return failed == 0 ? VLJ_OK
                       : vlj_fail(VLJ_E_BACKEND_RUN, "backend \"tensorrt\", component %s: %s",
                                  vlj_component_name(engine->component), why);
}

static size_t tensorrt_memory(const vlj_engine *engine) {
    const tensorrt_engine *self = (const tensorrt_engine *)engine;
    int64_t bytes = self->plugin->device_bytes(self->engine);
    return bytes > 0 ? (size_t)bytes : 0;
}

static uint64_t tensorrt_copied(const vlj_engine *engine) {
    return ((const tensorrt_engine *)engine)->copied_bytes;
}

static void *tensorrt_device_alloc(vlj_engine *engine, size_t bytes) {
    tensorrt_engine *self = (tensorrt_engine *)engine;
    return self->plugin->device_alloc(self->engine, bytes);
}

static void tensorrt_device_free(vlj_engine *engine, void *memory) {
    tensorrt_engine *self = (tensorrt_engine *)engine;
    self->plugin->device_free(self->engine, memory);
}

const vlj_backend vlj_backend_tensorrt = {
    .name = "tensorrt",
    .needs_bytes = 1,
    .open = tensorrt_open,
    .run = tensorrt_run,
    .memory = tensorrt_memory,
    .close = tensorrt_close,
    .copied_bytes = tensorrt_copied,
    .device_alloc = tensorrt_device_alloc,
    .device_free = tensorrt_device_free,
};
