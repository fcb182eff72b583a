/* tensorrt_plugin.h: what backend "tensorrt" asks of libvljepa_tensorrt, which is C++ and links TensorRT, in plain C.
 *
 * The core stays free of C++ and of NVIDIA's libraries: it loads that library by dlopen, on devices that have it.
 * Functions that can fail return 0 for success, else 1 and a sentence in `why`, and never throw. Calls for one engine
 * come from one thread at a time; those for different ones may come at once.
 */
#ifndef VLJ_BACKENDS_TENSORRT_PLUGIN_H
#define VLJ_BACKENDS_TENSORRT_PLUGIN_H

#include "vljepa.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VLJ_TENSORRT_PLUGIN_VERSION 1u

typedef struct vlj_tensorrt_engine vlj_tensorrt_engine;

/* What TensorRT says while an engine is opened or run; levels are those of vlj_log_level. */
typedef void (*vlj_tensorrt_log)(void *user_data, int level, const char *message);

/* One input or output of an engine. `shape` has -1 where it changes, `largest` what the engine was built for. */
typedef struct vlj_tensorrt_binding {
    char name[64];
    int dtype; /* vlj_dtype; -1: one that the core doesn't have */
    int is_input;
    uint32_t rank;
    int64_t shape[6], largest[6];
} vlj_tensorrt_binding;

typedef struct vlj_tensorrt_plugin {
    uint32_t version; /* VLJ_TENSORRT_PLUGIN_VERSION that it was built with */
    /* The TensorRT that was loaded, "10.3.0", and the GPU as `vljepa export` names it, "Orin sm87". */
    int (*describe)(uint32_t device, char *library, size_t library_bytes, char *gpu, size_t gpu_bytes, char *why,
                    size_t why_bytes);
    /* `plan` may go after the call. All device memory that the engine needs is taken here: a buffer for every input and
     * output at its largest, and TensorRT's own. */
    int (*open)(const void *plan, size_t plan_bytes, uint32_t device, vlj_tensorrt_log log, void *user_data,
                vlj_tensorrt_engine **engine, char *why, size_t why_bytes);
    uint32_t (*binding_count)(const vlj_tensorrt_engine *engine);
    void (*binding)(const vlj_tensorrt_engine *engine, uint32_t i, vlj_tensorrt_binding *binding);
    /* Copies inputs to the device, runs, copies outputs back, and waits. A tensor whose data `device_alloc` gave is
     * read or written where it is, without a copy. *copied_bytes: to and from the device. */
    int (*run)(vlj_tensorrt_engine *engine, const vlj_tensor *inputs, uint32_t input_count, vlj_tensor *outputs,
               uint32_t output_count, uint64_t *copied_bytes, char *why, size_t why_bytes);
    int64_t (*device_bytes)(const vlj_tensorrt_engine *engine);       /* taken at open, weights apart */
    void *(*device_alloc)(vlj_tensorrt_engine *engine, size_t bytes); /* NULL: no room */
    void (*device_free)(vlj_tensorrt_engine *engine, void *memory);
    void (*close)(vlj_tensorrt_engine *engine);
} vlj_tensorrt_plugin;

/* The library's one export for the core: NULL where it was built for another version of this header. */
const vlj_tensorrt_plugin *vlj_tensorrt_plugin_get(uint32_t version);

#ifdef __cplusplus
}
#endif

#endif
