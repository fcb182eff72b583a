// pool_enqueue.cu: kernels.cu with a launcher over the CUDA runtime.
#include "pool_enqueue.h"

#include "../kernels.cu"

cudaError_t vlj_pool_enqueue(const float *hidden, const float *mask, const float *weight, const float *bias, float *out,
                             void *workspace, uint32_t batches, uint32_t tokens, uint32_t width, uint32_t embedding,
                             cudaStream_t stream) {
    vlj_pool_arguments a{};
    a.hidden = hidden, a.mask = mask, a.weight = weight, a.bias = bias, a.out = out;
    a.tokens = tokens, a.width = width, a.embedding = embedding, a.splits = vlj_pool_splits(tokens);
    const uint32_t tiles = (embedding + VLJ_POOL_TILE - 1u) / VLJ_POOL_TILE;
    a.sums = static_cast<float *>(workspace);
    a.counts = a.sums + static_cast<size_t>(batches) * a.splits * width;
    a.squares = a.counts + static_cast<size_t>(batches) * a.splits;
    a.ticket = reinterpret_cast<unsigned *>(a.squares + static_cast<size_t>(batches) * tiles);
    cudaError_t error = cudaMemsetAsync(a.ticket, 0, batches * sizeof *a.ticket, stream);
    if (error != cudaSuccess) {
        return error;
    }
    const dim3 columns((width + VLJ_POOL_TILE - 1u) / VLJ_POOL_TILE, a.splits, batches);
    vlj_pool_partial<<<columns, VLJ_POOL_THREADS, 0, stream>>>(a);
    error = cudaGetLastError();
    if (error != cudaSuccess) {
        return error;
    }
    vlj_pool_project<<<dim3(tiles, batches), VLJ_POOL_THREADS, 0, stream>>>(a);
    return cudaGetLastError();
}
