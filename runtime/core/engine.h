/* engine.h: the vtable between the core and a backend, and the fixed signature of each component.
 *
 * A backend is one file in runtime/backends/. It opens a component from bytes or a file and runs it over tensors whose
 * buffers the core owns: `run` allocates nothing of the core's and is called from one thread at a time per engine.
 */
#ifndef VLJ_CORE_ENGINE_H
#define VLJ_CORE_ENGINE_H

#include "config.h"
#include "hooks.h"
#include "index.h"
#include "vljepa.h"

#define VLJ_MAX_TENSORS 4u /* inputs or outputs of one component */
#define VLJ_MAX_RANK 6u
#define VLJ_DYNAMIC (-1) /* a dimension that changes from run to run */

typedef struct vlj_backend vlj_backend;

/* Backends put this first in their own struct. */
typedef struct vlj_engine {
    const vlj_backend *backend;
    vlj_component component;
} vlj_engine;

typedef struct vlj_backend_context {
    const vlj_host *host;
    const char *library;                       /* options.backend_library, may be NULL */
    const vlj_engine_callbacks *callbacks;     /* NULL where the caller gave none; lives as long as the model */
    const char *openvino_library;              /* options.openvino_library, may be NULL */
    const char *cache_folder;                  /* options.cache_folder, may be NULL */
    const char *provider;                      /* options.provider, may be NULL */
    uint32_t device;                           /* options.device */
    vlj_switch arena, own_ops, packed_weights; /* options.arena, .own_ops, .packed_weights */
    const char *tensorrt_library;              /* options.tensorrt_library, may be NULL */
    const char *engine_folder;                 /* options.engine_folder, may be NULL */
    const char *openvino_ops;                  /* options.openvino_ops, may be NULL */
} vlj_backend_context;

typedef struct vlj_engine_spec {
    vlj_component component;
    const uint8_t *bytes; /* the ENGINE section; NULL for backend "callback" on a bundle without it */
    size_t size;
    const char *folder; /* the bundle's folder; NULL in an image: then `bytes` is all there is */
    const char *file;   /* the section's file name, "" in an image */
    uint32_t threads;   /* 0: as many as the machine has */
    uint32_t spinning;  /* 1: worker threads may spin between operators */
    const vlj_config *config;
    const vlj_index *index; /* for ENGINE_DATA */
    vlj_float_precision float_precision;
} vlj_engine_spec;

struct vlj_backend {
    const char *name;
    uint32_t needs_bytes; /* 1: opens components from their ENGINE section; 0: brings its own */
    vlj_status (*open)(const vlj_backend_context *context, const vlj_engine_spec *spec, vlj_engine **engine);
    /* Tensors come in the signature's order. Outputs are filled in place. */
    vlj_status (*run)(vlj_engine *engine, const vlj_tensor *inputs, uint32_t input_count, vlj_tensor *outputs,
                      uint32_t output_count);
    size_t (*memory)(const vlj_engine *engine); /* the backend's own bytes; 0: unknown */
    void (*close)(vlj_engine *engine);
    const char *(*chosen)(const vlj_engine *engine); /* "auto": the backend behind it; NULL: it is what it is named */
    /* Bytes of inputs and outputs that runs have copied so far because the engine works on other memory than the
     * core's. NULL: it never does. */
    uint64_t (*copied_bytes)(const vlj_engine *engine);
    /* Memory of the device, which `run` takes for a tensor's data as it takes the host's: what one engine of a model
     * leaves there, another reads in place. Both NULL: the backend has none. */
    void *(*device_alloc)(vlj_engine *engine, size_t bytes);
    void (*device_free)(vlj_engine *engine, void *memory);
    /* The shapes that most of the next runs will have; the tensors' data isn't looked at. It may take a while, and
     * changes results by rounding alone. NULL: the backend gains nothing by knowing. */
    void (*prepare)(vlj_engine *engine, const vlj_tensor *inputs, uint32_t input_count);
};

/* VLJ_E_BACKEND_MISSING lists the names there are. NULL or "" is the default, "ort". */
vlj_status vlj_backend_find(const char *name, const vlj_backend **backend);
extern const vlj_backend vlj_backend_ort;
extern const vlj_backend vlj_backend_openvino;
extern const vlj_backend vlj_backend_tensorrt;
extern const vlj_backend vlj_backend_auto;
extern const vlj_backend vlj_backend_callback;

/* ---- signatures ---- */

typedef struct vlj_tensor_spec {
    const char *name;
    vlj_dtype dtype;
    uint32_t rank;
    int64_t shape[VLJ_MAX_RANK]; /* VLJ_DYNAMIC where it changes */
} vlj_tensor_spec;

typedef struct vlj_signature {
    uint32_t input_count, output_count;
    vlj_tensor_spec inputs[VLJ_MAX_TENSORS], outputs[VLJ_MAX_TENSORS];
} vlj_signature;

const char *vlj_component_name(vlj_component component); /* "x_encoder", ... */
const char *vlj_dtype_name(vlj_dtype dtype);
size_t vlj_dtype_bytes(vlj_dtype dtype);

/* What `config` says that this component takes and gives. */
void vlj_component_signature(vlj_component component, const vlj_config *config, vlj_signature *signature);

/* Compares a tensor that a backend found in a model with the signature; `found->shape` has VLJ_DYNAMIC for symbols.
 * VLJ_E_BUNDLE_SHAPE names component, tensor, what was expected and what was found. */
vlj_status vlj_check_tensor(vlj_component component, const vlj_tensor_spec *expected, const vlj_tensor_spec *found,
                            const char *file);

/* Fills a tensor of spec's name, dtype and rank with this shape and buffer; size_bytes follows from the shape. */
void vlj_tensor_set(vlj_tensor *tensor, const vlj_tensor_spec *spec, const int64_t *shape, void *data);

#endif
