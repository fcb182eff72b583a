// kernels.cu: the GPU's kernels; what a thread computes is in pool_block.h and nv12_pixel.h, which CPUs test.
//
// Launched by name from a cubin (driver API, pycuda), hence extern "C":
//   vlj_pool_partial  grid (tiles of W, splits, B), VLJ_POOL_THREADS threads
//   vlj_pool_project  grid (tiles of E, B), VLJ_POOL_THREADS threads, after the first in the same stream
//   vlj_nv12_window   grid (ceil(width / 32), ceil(height / 8)), 32 x 8 threads
#include "nv12_pixel.h"
#include "pool_block.h"

extern "C" __global__ void __launch_bounds__(VLJ_POOL_THREADS) vlj_pool_partial(const vlj_pool_arguments a) {
    __shared__ vlj_pool_shared s;
    vlj_pool_partial_rows(&a, blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, &s);
    __syncthreads();
    vlj_pool_partial_store(&a, blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, &s);
}

extern "C" __global__ void __launch_bounds__(VLJ_POOL_THREADS) vlj_pool_project(const vlj_pool_arguments a) {
    __shared__ vlj_pool_shared s;
    const uint32_t tile = blockIdx.x, batch = blockIdx.y;
    vlj_pool_project_mean(&a, batch, threadIdx.x, &s);
    __syncthreads();
    vlj_pool_project_rows(&a, tile, threadIdx.x, &s);
    __syncthreads();
    vlj_pool_project_store(&a, tile, batch, threadIdx.x, &s);
    __syncthreads();
    for (uint32_t half = VLJ_POOL_TILE / 2u; half > 0; half /= 2u) {
        vlj_pool_reduce(half, threadIdx.x, &s);
        __syncthreads();
    }
    __threadfence(); // each thread's part of `out`, before the ticket tells that it is there
    __syncthreads();
    if (threadIdx.x == 0) {
        a.squares[(uint64_t)batch * gridDim.x + tile] = s.square[0];
        __threadfence();
        s.last = atomicAdd(&a.ticket[batch], 1u) == gridDim.x - 1u;
    }
    __syncthreads();
    if (s.last) {
        __threadfence();
        vlj_pool_unit(&a, batch, threadIdx.x);
        if (threadIdx.x == 0) {
            a.ticket[batch] = 0; // for the next launch
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) vlj_nv12_window(const vlj_nv12_arguments a) {
    const uint32_t x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x < a.columns.out_count && y < a.rows.out_count) {
        vlj_nv12_pixel(&a, y, x);
    }
}
