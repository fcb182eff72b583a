/* cpu_plugin.c: libvljepa_tensorrt's interface (tensorrt_plugin.h) on the CPU, so that the core's side of backend
 * "tensorrt" is tested where there is no GPU. It says nothing about TensorRT.
 *
 * A plan is text: a line "in|out NAME DTYPE SIZE SIZE ..." for each tensor, -1 where it changes. Outputs are filled
 * with the first input's first element. "Device" memory is remembered.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorrt_plugin.h"

#define EXPORT __attribute__((visibility("default")))
enum { MOST = 8, LARGEST = 64 };

struct vlj_tensorrt_engine {
    vlj_tensorrt_binding bindings[MOST];
    uint32_t count;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void *device_memory[MOST];
static int opened, device_runs;

EXPORT int cpu_plugin_open_objects(void);
EXPORT int cpu_plugin_device_runs(void);

int cpu_plugin_open_objects(void) {
    int count = opened;
    for (int i = 0; i < MOST; i++) {
        count += device_memory[i] != NULL;
    }
    return count;
}

int cpu_plugin_device_runs(void) { /* tensors that were used where they lay */
    return device_runs;
}

static int describe(uint32_t device, char *library, size_t library_bytes, char *gpu, size_t gpu_bytes, char *why,
                    size_t why_bytes) {
    snprintf(library, library_bytes, "10.3.0");
    snprintf(gpu, gpu_bytes, "Test GPU sm87");
    snprintf(why, why_bytes, "there is one device");
    return device == 0 ? 0 : 1;
}

static int open_plan(const void *plan, size_t plan_bytes, uint32_t device, vlj_tensorrt_log log, void *user_data,
                     vlj_tensorrt_engine **engine, char *why, size_t why_bytes) {
    char text[1024] = "";
    (void)device;
    if (plan_bytes >= sizeof text || memcmp(plan, "plan\n", 5) != 0) {
        snprintf(why, why_bytes, "TensorRT doesn't take the engine: Plugin not found: MaskedMeanPool");
        return 1;
    }
    memcpy(text, plan, plan_bytes);
    log(user_data, VLJ_LOG_INFO, "opened");
    vlj_tensorrt_engine *made = calloc(1, sizeof *made);
    for (char *line = strtok(text + 5, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        vlj_tensorrt_binding *b = &made->bindings[made->count++];
        char side[8];
        int at = 0, used = 0;
        sscanf(line, "%7s %63s %d%n", side, b->name, &b->dtype, &at);
        b->is_input = strcmp(side, "in") == 0;
        for (long long size = 0; sscanf(line + at, "%lld%n", &size, &used) == 1; at += used) {
            b->shape[b->rank] = size;
            b->largest[b->rank++] = size < 0 ? LARGEST : size;
        }
    }
    opened++;
    *engine = made;
    return 0;
}

static uint32_t binding_count(const vlj_tensorrt_engine *engine) {
    return engine->count;
}

static void binding(const vlj_tensorrt_engine *engine, uint32_t i, vlj_tensorrt_binding *told) {
    *told = engine->bindings[i];
}

static int on_device(const void *memory) {
    int found = 0;
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < MOST; i++) {
        found |= device_memory[i] == memory;
    }
    device_runs += found;
    pthread_mutex_unlock(&mutex);
    return found;
}

static int run(vlj_tensorrt_engine *engine, const vlj_tensor *inputs, uint32_t input_count, vlj_tensor *outputs,
               uint32_t output_count, uint64_t *copied_bytes, char *why, size_t why_bytes) {
    (void)engine;
    *copied_bytes = 0;
    float value = inputs[0].dtype == VLJ_UINT8 ? *(const uint8_t *)inputs[0].data : *(const float *)inputs[0].data;
    if (value == 13.0f) {
        snprintf(why, why_bytes, "TensorRT doesn't run it: Cuda error in MaskedMeanPool");
        return 1;
    }
    for (uint32_t i = 0; i < input_count; i++) {
        *copied_bytes += on_device(inputs[i].data) ? 0 : inputs[i].size_bytes;
    }
    for (uint32_t i = 0; i < output_count; i++) {
        *copied_bytes += on_device(outputs[i].data) ? 0 : outputs[i].size_bytes;
        for (size_t at = 0; at < outputs[i].size_bytes / sizeof(float); at++) {
            ((float *)outputs[i].data)[at] = at == 0 ? value : 0.0f;
        }
    }
    return 0;
}

static int64_t device_bytes(const vlj_tensorrt_engine *engine) {
    return engine->count * 1000;
}

static void *device_alloc(vlj_tensorrt_engine *engine, size_t bytes) {
    void *memory = NULL;
    (void)engine;
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < MOST && memory == NULL; i++) {
        if (device_memory[i] == NULL) {
            memory = device_memory[i] = malloc(bytes);
        }
    }
    pthread_mutex_unlock(&mutex);
    return memory;
}

static void device_free(vlj_tensorrt_engine *engine, void *memory) {
    (void)engine;
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < MOST; i++) {
        if (device_memory[i] == memory) {
            device_memory[i] = NULL;
            free(memory);
        }
    }
    pthread_mutex_unlock(&mutex);
}

static void close_engine(vlj_tensorrt_engine *engine) {
    opened--;
    free(engine);
}

EXPORT const vlj_tensorrt_plugin *vlj_tensorrt_plugin_get(uint32_t version) {
    static const vlj_tensorrt_plugin plugin = {VLJ_TENSORRT_PLUGIN_VERSION,
                                               describe,
                                               open_plan,
                                               binding_count,
                                               binding,
                                               run,
                                               device_bytes,
                                               device_alloc,
                                               device_free,
                                               close_engine};
    return version == VLJ_TENSORRT_PLUGIN_VERSION ? &plugin : NULL;
}
