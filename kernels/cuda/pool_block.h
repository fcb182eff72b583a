/* pool_block.h: masked mean, projection and unit length on a GPU: what each thread of a block does between two
 * barriers.
 *
 * Plain C, for the host too: there a block is a loop over its threads for each phase in turn, which is how the very
 * same arithmetic, reductions over a block included, is tested against float64 on a CPU. kernels.cu has the kernels.
 *
 *   partial: block (tile of columns, split of tokens, batch) adds up its tokens -> sums [B, splits, W], counts [B,
 * splits] project: block (tile of outputs, batch) finishes the mean, projects it -> out [B, E], not yet of unit length,
 * and the tile's square -> squares [B, tiles]; the last block of a batch to arrive makes the length 1
 */
#ifndef VLJ_KERNELS_CUDA_POOL_BLOCK_H
#define VLJ_KERNELS_CUDA_POOL_BLOCK_H

#include <math.h>
#include <stdint.h>

#ifdef __CUDACC__
#define VLJ_BLOCK static __device__ __forceinline__
#else
#define VLJ_BLOCK static inline
#endif

enum {
    VLJ_POOL_LANES = 32,                /* threads beside each other, 4 columns each */
    VLJ_POOL_TILE = 4 * VLJ_POOL_LANES, /* columns of a block */
    VLJ_POOL_GROUPS = 8,                /* threads above each other, every 8th row each */
    VLJ_POOL_THREADS = VLJ_POOL_LANES * VLJ_POOL_GROUPS,
    VLJ_POOL_MOST_WIDTH = 4096, /* of the mean in shared memory */
};

typedef struct vlj_pool_arguments {
    const float *hidden; /* [B, M, W]; W and E are multiples of 4, rows 16-byte aligned */
    const float *mask;   /* [B, M] */
    const float *weight; /* [W, E] */
    const float *bias;   /* [E] */
    float *sums, *counts, *squares;
    float *out;       /* [B, E] */
    unsigned *ticket; /* [B] blocks that have arrived; 0 before the first launch, and after each again */
    uint32_t tokens, width, embedding, splits;
} vlj_pool_arguments;

typedef struct vlj_pool_shared {
    float partial[VLJ_POOL_GROUPS][VLJ_POOL_TILE];
    float count[VLJ_POOL_GROUPS];
    float square[VLJ_POOL_TILE];
    float mean[VLJ_POOL_MOST_WIDTH];
    uint32_t last; /* this block is the batch's last */
} vlj_pool_shared;

VLJ_BLOCK uint32_t vlj_pool_tiles(uint32_t columns) {
    return (columns + VLJ_POOL_TILE - 1u) / VLJ_POOL_TILE;
}

VLJ_BLOCK void vlj_pool_add_4(float factor, const float *row, float sum[4]) {
#ifdef __CUDA_ARCH__
    const float4 four = __ldg((const float4 *)row);
    sum[0] += factor * four.x, sum[1] += factor * four.y, sum[2] += factor * four.z, sum[3] += factor * four.w;
#else
    for (int i = 0; i < 4; i++) {
        sum[i] += factor * row[i];
    }
#endif
}

/* ---- partial ---- */

/* Rows first + group, first + group + 8, ... of this split; rows of weight 0 aren't read. */
VLJ_BLOCK void vlj_pool_partial_rows(const vlj_pool_arguments *a, uint32_t tile, uint32_t split, uint32_t batch,
                                     uint32_t thread, vlj_pool_shared *s) {
    const uint32_t lane = thread % VLJ_POOL_LANES, group = thread / VLJ_POOL_LANES;
    const uint32_t column = tile * VLJ_POOL_TILE + 4u * lane;
    const uint32_t first = (uint32_t)((uint64_t)a->tokens * split / a->splits);
    const uint32_t end = (uint32_t)((uint64_t)a->tokens * (split + 1u) / a->splits);
    const float *mask = a->mask + (uint64_t)batch * a->tokens;
    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f}, count = 0.0f;
    for (uint32_t row = first + group; row < end; row += VLJ_POOL_GROUPS) {
        const float weight = mask[row];
        count += weight;
        if (weight != 0.0f && column < a->width) {
            vlj_pool_add_4(weight, a->hidden + ((uint64_t)batch * a->tokens + row) * a->width + column, sum);
        }
    }
    for (uint32_t i = 0; i < 4u; i++) {
        s->partial[group][4u * lane + i] = sum[i];
    }
    if (lane == 0) {
        s->count[group] = count;
    }
}

VLJ_BLOCK void vlj_pool_partial_store(const vlj_pool_arguments *a, uint32_t tile, uint32_t split, uint32_t batch,
                                      uint32_t thread, const vlj_pool_shared *s) {
    const uint32_t column = tile * VLJ_POOL_TILE + thread;
    const uint64_t at = (uint64_t)batch * a->splits + split;
    if (thread < VLJ_POOL_TILE && column < a->width) {
        float sum = 0.0f;
        for (uint32_t group = 0; group < VLJ_POOL_GROUPS; group++) {
            sum += s->partial[group][thread];
        }
        a->sums[at * a->width + column] = sum;
    }
    if (thread == 0 && tile == 0) {
        float count = 0.0f;
        for (uint32_t group = 0; group < VLJ_POOL_GROUPS; group++) {
            count += s->count[group];
        }
        a->counts[at] = count;
    }
}

/* ---- project ---- */

VLJ_BLOCK void vlj_pool_project_mean(const vlj_pool_arguments *a, uint32_t batch, uint32_t thread, vlj_pool_shared *s) {
    float count = 0.0f;
    for (uint32_t split = 0; split < a->splits; split++) {
        count += a->counts[(uint64_t)batch * a->splits + split];
    }
    for (uint32_t column = thread; column < a->width; column += VLJ_POOL_THREADS) {
        float sum = 0.0f;
        for (uint32_t split = 0; split < a->splits; split++) {
            sum += a->sums[((uint64_t)batch * a->splits + split) * a->width + column];
        }
        s->mean[column] = sum / count;
    }
}

VLJ_BLOCK void vlj_pool_project_rows(const vlj_pool_arguments *a, uint32_t tile, uint32_t thread, vlj_pool_shared *s) {
    const uint32_t lane = thread % VLJ_POOL_LANES, group = thread / VLJ_POOL_LANES;
    const uint32_t column = tile * VLJ_POOL_TILE + 4u * lane;
    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (uint32_t row = group; row < a->width && column < a->embedding; row += VLJ_POOL_GROUPS) {
        vlj_pool_add_4(s->mean[row], a->weight + (uint64_t)row * a->embedding + column, sum);
    }
    for (uint32_t i = 0; i < 4u; i++) {
        s->partial[group][4u * lane + i] = sum[i];
    }
}

VLJ_BLOCK void vlj_pool_project_store(const vlj_pool_arguments *a, uint32_t tile, uint32_t batch, uint32_t thread,
                                      vlj_pool_shared *s) {
    const uint32_t column = tile * VLJ_POOL_TILE + thread;
    if (thread >= VLJ_POOL_TILE) {
        return;
    }
    float value = 0.0f;
    if (column < a->embedding) {
        value = a->bias[column];
        for (uint32_t group = 0; group < VLJ_POOL_GROUPS; group++) {
            value += s->partial[group][thread];
        }
        a->out[(uint64_t)batch * a->embedding + column] = value;
    }
    s->square[thread] = value * value;
}

/* For half = 64, 32 ... 1, with a barrier after each. */
VLJ_BLOCK void vlj_pool_reduce(uint32_t half, uint32_t thread, vlj_pool_shared *s) {
    if (thread < half) {
        s->square[thread] += s->square[thread + half];
    }
}

/* By every thread of the batch's last block, once all blocks' squares can be seen. */
VLJ_BLOCK void vlj_pool_unit(const vlj_pool_arguments *a, uint32_t batch, uint32_t thread) {
    const uint32_t tiles = vlj_pool_tiles(a->embedding);
    float square = 0.0f;
    for (uint32_t tile = 0; tile < tiles; tile++) {
        square += ((volatile float *)a->squares)[(uint64_t)batch * tiles + tile];
    }
    const float norm = sqrtf(square), length = norm > 1e-12f ? norm : 1e-12f;
    for (uint32_t column = thread; column < a->embedding; column += VLJ_POOL_THREADS) {
        volatile float *out = a->out + (uint64_t)batch * a->embedding + column;
        *out = *out / length;
    }
}

#endif
