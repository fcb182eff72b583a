/* launch.c: grids, arguments and memory of the CUDA kernels over the driver's C interface. */
#include "launch.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, PIXELS_X = 32, PIXELS_Y = 8 };

/* FUNCTION(name here, exported name, parameters): all give a CUresult. The _v2 ones take 64-bit pointers. */
#define FUNCTIONS(FUNCTION)                                                                                            \
    FUNCTION(init, "cuInit", (unsigned flags))                                                                         \
    FUNCTION(device_get, "cuDeviceGet", (int *device, int ordinal))                                                    \
    FUNCTION(retain, "cuDevicePrimaryCtxRetain", (void **context, int device))                                         \
    FUNCTION(release, "cuDevicePrimaryCtxRelease_v2", (int device))                                                    \
    FUNCTION(set_current, "cuCtxSetCurrent", (void *context))                                                          \
    FUNCTION(module_load, "cuModuleLoad", (void **module, const char *path))                                           \
    FUNCTION(module_unload, "cuModuleUnload", (void *module))                                                          \
    FUNCTION(module_function, "cuModuleGetFunction", (void **function, void *module, const char *name))                \
    FUNCTION(launch, "cuLaunchKernel",                                                                                 \
             (void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,   \
              unsigned block_z, unsigned shared_bytes, void *stream, void **arguments, void **extra))                  \
    FUNCTION(allocate, "cuMemAlloc_v2", (uint64_t *device, size_t bytes))                                              \
    FUNCTION(free, "cuMemFree_v2", (uint64_t device))                                                                  \
    FUNCTION(to_device, "cuMemcpyHtoD_v2", (uint64_t device, const void *host, size_t bytes))                          \
    FUNCTION(to_host, "cuMemcpyDtoH_v2", (void *host, uint64_t device, size_t bytes))                                  \
    FUNCTION(error_string, "cuGetErrorString", (int error, const char **text))

typedef struct driver {
#define FIELD(name, exported, parameters) int(*name) parameters;
    FUNCTIONS(FIELD)
#undef FIELD
} driver;

struct vlj_cuda {
    driver api;
    int device, retained;
    void *module, *partial, *project, *nv12;
};

static int tell(const driver *api, int error, const char *what, char *why, size_t why_bytes) {
    const char *text = NULL;
    if (error == SUCCESS) {
        return 0;
    }
    if (api->error_string == NULL || api->error_string(error, &text) != SUCCESS || text == NULL) {
        text = "an error that the driver doesn't name";
    }
    snprintf(why, why_bytes, "CUDA: %s: %s (%d)", what, text, error);
    return error;
}

static int load_driver(driver *api, const char *library, char *why, size_t why_bytes) {
    const char *name = library != NULL ? library : "libcuda.so.1";
    void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL); /* stays loaded: contexts of others live in it */
    if (handle == NULL) {
        const char *reason = dlerror();
        snprintf(why, why_bytes, "CUDA: there is no driver here: %s", reason != NULL ? reason : name);
        return -1;
    }
#define TAKE(field, exported, parameters)                                                                              \
    {                                                                                                                  \
        void *symbol = dlsym(handle, exported);                                                                        \
        if (symbol == NULL) {                                                                                          \
            snprintf(why, why_bytes, "CUDA: %s has no %s", name, exported);                                            \
            return -1;                                                                                                 \
        }                                                                                                              \
        memcpy(&api->field, &symbol, sizeof symbol); /* ISO C has no cast from an object to a function pointer */      \
    }
    FUNCTIONS(TAKE)
#undef TAKE
    return 0;
}

static int open_device(vlj_cuda *cuda, int ordinal, const char *fatbin_path, char *why, size_t why_bytes) {
    const driver *api = &cuda->api;
    void *context = NULL;
    int error = tell(api, api->init(0), "starting the driver", why, why_bytes);
    if (error == 0) {
        error = tell(api, api->device_get(&cuda->device, ordinal), "finding the device", why, why_bytes);
    }
    if (error == 0) {
        error = tell(api, api->retain(&context, cuda->device), "taking the device's context", why, why_bytes);
        cuda->retained = error == 0;
    }
    if (error == 0) {
        error = tell(api, api->set_current(context), "entering the context", why, why_bytes);
    }
    if (error == 0) {
        error = tell(api, api->module_load(&cuda->module, fatbin_path), fatbin_path, why, why_bytes);
    }
    static const char *const names[] = {"vlj_pool_partial", "vlj_pool_project", "vlj_nv12_window"};
    void **const functions[] = {&cuda->partial, &cuda->project, &cuda->nv12};
    for (int i = 0; i < 3 && error == 0; i++) {
        error = tell(api, api->module_function(functions[i], cuda->module, names[i]), names[i], why, why_bytes);
    }
    return error;
}

vlj_cuda *vlj_cuda_open(const char *library, int device, const char *fatbin_path, char *why, size_t why_bytes) {
    vlj_cuda *cuda = calloc(1, sizeof *cuda);
    if (cuda == NULL) {
        snprintf(why, why_bytes, "CUDA: no memory");
        return NULL;
    }
    if (load_driver(&cuda->api, library, why, why_bytes) != 0 ||
        open_device(cuda, device, fatbin_path, why, why_bytes) != 0) {
        vlj_cuda_close(cuda);
        return NULL;
    }
    return cuda;
}

void vlj_cuda_close(vlj_cuda *cuda) {
    if (cuda == NULL) {
        return;
    }
    if (cuda->module != NULL) {
        cuda->api.module_unload(cuda->module);
    }
    if (cuda->retained) {
        cuda->api.release(cuda->device);
    }
    free(cuda);
}

int vlj_cuda_nv12_window(vlj_cuda *cuda, const vlj_nv12_arguments *arguments, void *stream, char *why,
                         size_t why_bytes) {
    vlj_nv12_arguments copy = *arguments; /* kernels take their arguments by value: the driver copies from here */
    void *list[] = {&copy};
    unsigned grid_x = (copy.columns.out_count + PIXELS_X - 1u) / PIXELS_X;
    unsigned grid_y = (copy.rows.out_count + PIXELS_Y - 1u) / PIXELS_Y;
    return tell(&cuda->api,
                cuda->api.launch(cuda->nv12, grid_x, grid_y, 1, PIXELS_X, PIXELS_Y, 1, 0, stream, list, NULL),
                "vlj_nv12_window", why, why_bytes);
}

int vlj_cuda_pool(vlj_cuda *cuda, const vlj_pool_arguments *arguments, uint32_t batches, void *stream, char *why,
                  size_t why_bytes) {
    vlj_pool_arguments copy = *arguments;
    void *list[] = {&copy};
    if (batches == 0 || copy.tokens == 0 || copy.splits == 0 || copy.width == 0 || copy.embedding == 0 ||
        copy.width % 4 != 0 || copy.embedding % 4 != 0 || copy.width > VLJ_POOL_MOST_WIDTH) {
        snprintf(why, why_bytes,
                 "CUDA: pooling of %u x %u tokens of width %u to %u in %u splits: expected none of them 0, widths that "
                 "are multiples of 4, and a first one of at most %d",
                 batches, copy.tokens, copy.width, copy.embedding, copy.splits, VLJ_POOL_MOST_WIDTH);
        return -1;
    }
    int error = tell(&cuda->api,
                     cuda->api.launch(cuda->partial, vlj_pool_tiles(copy.width), copy.splits, batches, VLJ_POOL_THREADS,
                                      1, 1, 0, stream, list, NULL),
                     "vlj_pool_partial", why, why_bytes);
    return error != 0 ? error
                      : tell(&cuda->api,
                             cuda->api.launch(cuda->project, vlj_pool_tiles(copy.embedding), batches, 1,
                                              VLJ_POOL_THREADS, 1, 1, 0, stream, list, NULL),
                             "vlj_pool_project", why, why_bytes);
}

int vlj_cuda_allocate(vlj_cuda *cuda, size_t bytes, uint64_t *device, char *why, size_t why_bytes) {
    return tell(&cuda->api, cuda->api.allocate(device, bytes), "allocating", why, why_bytes);
}

void vlj_cuda_free(vlj_cuda *cuda, uint64_t device) {
    cuda->api.free(device);
}

int vlj_cuda_to_device(vlj_cuda *cuda, uint64_t device, const void *host, size_t bytes, char *why, size_t why_bytes) {
    return tell(&cuda->api, cuda->api.to_device(device, host, bytes), "copying to the device", why, why_bytes);
}

int vlj_cuda_to_host(vlj_cuda *cuda, void *host, uint64_t device, size_t bytes, char *why, size_t why_bytes) {
    return tell(&cuda->api, cuda->api.to_host(host, device, bytes), "copying to the host", why, why_bytes);
}
