// pool_enqueue.h: the pooling kernels queued on a stream of the CUDA runtime, for hosts that live with it (TensorRT).
#ifndef VLJ_KERNELS_CUDA_TENSORRT_POOL_ENQUEUE_H
#define VLJ_KERNELS_CUDA_TENSORRT_POOL_ENQUEUE_H

#include <cuda_runtime_api.h>

#include "pool_block.h"

// Tokens that one block adds up; more of them than this are split over blocks.
enum { VLJ_POOL_SPLIT_TOKENS = 64, VLJ_POOL_MOST_SPLITS = 32 };

static inline uint32_t vlj_pool_splits(uint64_t tokens) {
    const uint64_t splits = (tokens + VLJ_POOL_SPLIT_TOKENS - 1u) / VLJ_POOL_SPLIT_TOKENS;
    return splits < VLJ_POOL_MOST_SPLITS ? static_cast<uint32_t>(splits) : static_cast<uint32_t>(VLJ_POOL_MOST_SPLITS);
}

// Bytes of device memory for sums, counts, squares and tickets, in this order.
static inline size_t vlj_pool_workspace_bytes(uint64_t batches, uint64_t tokens, uint64_t width, uint64_t embedding) {
    const uint64_t splits = vlj_pool_splits(tokens), tiles = (embedding + VLJ_POOL_TILE - 1u) / VLJ_POOL_TILE;
    return static_cast<size_t>(4u * batches * (splits * width + splits + tiles + 1u));
}

// hidden [B, M, W], mask [B, M], weight [W, E], bias [E] -> out [B, E], all float on the device. `workspace` has
// vlj_pool_workspace_bytes; what it holds doesn't matter. Nothing waits.
cudaError_t vlj_pool_enqueue(const float *hidden, const float *mask, const float *weight, const float *bias, float *out,
                             void *workspace, uint32_t batches, uint32_t tokens, uint32_t width, uint32_t embedding,
                             cudaStream_t stream);

#endif
