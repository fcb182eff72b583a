/* cpu_driver.c: CUDA's driver interface, as far as kernels/cuda/launch.c calls it, over this machine's memory and CPU:
 * a launch runs each block of its grid, thread by thread, with the kernels' own arithmetic. So the launcher's grids,
 * arguments and order are tested where there is no GPU. It says nothing about a GPU. */
#include <stdlib.h>
#include <string.h>

#include "cuda/nv12_pixel.h"
#include "cuda/pool_block.h"

#define EXPORT __attribute__((visibility("default")))
enum { OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, NO_FILE = 301, NOT_FOUND = 500 };

static int contexts, modules; /* that are open */
static const char *const kernels[] = {"vlj_pool_partial", "vlj_pool_project", "vlj_nv12_window"};

EXPORT int cpu_driver_open_objects(void);
EXPORT int cuInit(unsigned flags);
EXPORT int cuDeviceGet(int *device, int ordinal);
EXPORT int cuDevicePrimaryCtxRetain(void **context, int device);
EXPORT int cuDevicePrimaryCtxRelease_v2(int device);
EXPORT int cuCtxSetCurrent(void *context);
EXPORT int cuModuleLoad(void **module, const char *path);
EXPORT int cuModuleUnload(void *module);
EXPORT int cuModuleGetFunction(void **function, void *module, const char *name);
EXPORT int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                          unsigned block_y, unsigned block_z, unsigned shared_bytes, void *stream, void **arguments,
                          void **extra);
EXPORT int cuMemAlloc_v2(uint64_t *device, size_t bytes);
EXPORT int cuMemFree_v2(uint64_t device);
EXPORT int cuMemcpyHtoD_v2(uint64_t device, const void *host, size_t bytes);
EXPORT int cuMemcpyDtoH_v2(void *host, uint64_t device, size_t bytes);
EXPORT int cuGetErrorString(int error, const char **text);

int cpu_driver_open_objects(void) {
    return contexts + modules;
}
int cuInit(unsigned flags) {
    return flags == 0 ? 0 : 1;
}
int cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return ordinal == 0 ? 0 : INVALID_DEVICE;
}
int cuDevicePrimaryCtxRetain(void **context, int device) {
    (void)device;
    *context = &contexts;
    contexts++;
    return 0;
}
int cuDevicePrimaryCtxRelease_v2(int device) {
    (void)device;
    contexts--;
    return 0;
}
int cuCtxSetCurrent(void *context) {
    return context == &contexts ? 0 : 201;
}
int cuModuleLoad(void **module, const char *path) {
    *module = &modules;
    if (strstr(path, "missing") != NULL) {
        *module = NULL;
        return NO_FILE;
    }
    modules++;
    return 0;
}
int cuModuleUnload(void *module) {
    modules -= module == &modules;
    return 0;
}
int cuModuleGetFunction(void **function, void *module, const char *name) {
    (void)module;
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(kernels[i], name) == 0) {
            *function = (void *)(uintptr_t)(i + 1);
            return 0;
        }
    }
    return NOT_FOUND;
}

#define EACH_THREAD(call)                                                                                              \
    for (uint32_t thread = 0; thread < VLJ_POOL_THREADS; thread++) {                                                   \
        call;                                                                                                          \
    }

static void project_block(const vlj_pool_arguments *a, uint32_t tile, uint32_t batch, uint32_t tiles,
                          vlj_pool_shared *s) {
    EACH_THREAD(vlj_pool_project_mean(a, batch, thread, s));
    EACH_THREAD(vlj_pool_project_rows(a, tile, thread, s));
    EACH_THREAD(vlj_pool_project_store(a, tile, batch, thread, s));
    for (uint32_t half = VLJ_POOL_TILE / 2; half > 0; half /= 2) {
        EACH_THREAD(vlj_pool_reduce(half, thread, s));
    }
    a->squares[(size_t)batch * tiles + tile] = s->square[0];
    if (a->ticket[batch]++ == tiles - 1) {
        EACH_THREAD(vlj_pool_unit(a, batch, thread));
        a->ticket[batch] = 0;
    }
}

int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                   unsigned block_y, unsigned block_z, unsigned shared_bytes, void *stream, void **arguments,
                   void **extra) {
    size_t kernel = (size_t)(uintptr_t)function - 1;
    vlj_pool_shared *s = malloc(sizeof *s);
    int right = block_z == 1 && shared_bytes == 0 && extra == NULL && s != NULL &&
                (kernel == 2 ? block_x == 32 && block_y == 8 : block_x == VLJ_POOL_THREADS && block_y == 1);
    (void)stream;
    for (uint32_t z = 0; z < grid_z && right; z++) {
        for (uint32_t y = 0; y < grid_y; y++) {
            for (uint32_t x = 0; x < grid_x; x++) {
                if (kernel == 0) {
                    EACH_THREAD(vlj_pool_partial_rows(arguments[0], x, y, z, thread, s));
                    EACH_THREAD(vlj_pool_partial_store(arguments[0], x, y, z, thread, s));
                } else if (kernel == 1) {
                    project_block(arguments[0], x, y, grid_x, s);
                } else {
                    const vlj_nv12_arguments *a = arguments[0];
                    for (uint32_t thread = 0; thread < 256; thread++) {
                        uint32_t column = x * 32 + thread % 32, row = y * 8 + thread / 32;
                        if (column < a->columns.out_count && row < a->rows.out_count) {
                            vlj_nv12_pixel(a, row, column);
                        }
                    }
                }
            }
        }
    }
    free(s);
    return right ? 0 : 1;
}

int cuMemAlloc_v2(uint64_t *device, size_t bytes) {
    *device = bytes < ((size_t)1 << 40) ? (uint64_t)(uintptr_t)malloc(bytes) : 0;
    return *device != 0 ? 0 : OUT_OF_MEMORY;
}
int cuMemFree_v2(uint64_t device) {
    free((void *)(uintptr_t)device);
    return 0;
}
int cuMemcpyHtoD_v2(uint64_t device, const void *host, size_t bytes) {
    memcpy((void *)(uintptr_t)device, host, bytes);
    return 0;
}
int cuMemcpyDtoH_v2(void *host, uint64_t device, size_t bytes) {
    memcpy(host, (const void *)(uintptr_t)device, bytes);
    return 0;
}
int cuGetErrorString(int error, const char **text) {
    *text = error == OUT_OF_MEMORY    ? "out of memory"
            : error == INVALID_DEVICE ? "invalid device ordinal"
            : error == NO_FILE        ? "file not found"
                                      : NULL;
    return *text != NULL ? 0 : 1;
}
