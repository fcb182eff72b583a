/* launch.h: runs kernels.cu from C through CUDA's driver interface: libcuda.so.1 is loaded at run time, so that neither
 * headers nor a driver are needed to build, and a machine without a GPU gets a sentence.
 *
 * Pointers named `device` are CUdeviceptr. Calls belong to the thread that opened, whose context is current.
 */
#ifndef VLJ_KERNELS_CUDA_LAUNCH_H
#define VLJ_KERNELS_CUDA_LAUNCH_H

#include <stddef.h>
#include <stdint.h>

#include "nv12_pixel.h"
#include "pool_block.h"

typedef struct vlj_cuda vlj_cuda;

/* Loads the driver (`library` NULL: libcuda.so.1), makes the device's primary context current, and loads
 * vljepa_kernels.fatbin. NULL on failure; `why` then has a sentence. */
vlj_cuda *vlj_cuda_open(const char *library, int device, const char *fatbin_path, char *why, size_t why_bytes);
void vlj_cuda_close(vlj_cuda *cuda);

/* 0 is success; else `why` has a sentence. Work is queued on `stream` (NULL: the default one), nothing waits. */
int vlj_cuda_nv12_window(vlj_cuda *cuda, const vlj_nv12_arguments *arguments, void *stream, char *why,
                         size_t why_bytes);
/* Refuses widths that the kernels don't take: multiples of 4, width at most VLJ_POOL_MOST_WIDTH. */
int vlj_cuda_pool(vlj_cuda *cuda, const vlj_pool_arguments *arguments, uint32_t batches, void *stream, char *why,
                  size_t why_bytes);

/* Device memory, for hosts that have no CUDA code of their own. */
int vlj_cuda_allocate(vlj_cuda *cuda, size_t bytes, uint64_t *device, char *why, size_t why_bytes);
void vlj_cuda_free(vlj_cuda *cuda, uint64_t device);
int vlj_cuda_to_device(vlj_cuda *cuda, uint64_t device, const void *host, size_t bytes, char *why, size_t why_bytes);
int vlj_cuda_to_host(vlj_cuda *cuda, void *host, uint64_t device, size_t bytes, char *why, size_t why_bytes);

#endif
