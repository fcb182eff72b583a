/* attention.h: a layer's attention in one call: heads out of the fused projection, rotation, softmax(Q K^T + mask) V,
 * heads merged. What the scores are scaled by is in the projection's weights. */
#ifndef VLJ_KERNELS_ATTENTION_H
#define VLJ_KERNELS_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

#include "isa.h"

/* One item of a batch. heads is a multiple of kv_heads; query head h looks at key and value head h * kv_heads / heads.
 * A rotated row is x[d] * cosine[d] + x[(d + width / 2) % width] * sine[d]: signs are in the table. */
typedef struct vlj_attention {
    size_t tokens, heads, kv_heads, width; /* width of a head: even */
    const void *qkv;                       /* [tokens, (heads + 2 * kv_heads) * width]: queries, keys, values */
    int qkv_is_bfloat16;                   /* else it is float32 */
    const float *cosine, *sine;            /* [tokens, width] */
    const float *mask;                     /* [tokens], added to every query's scores; NULL: none */
    void *out;                             /* [tokens, heads * width] */
    float out_scale; /* 0: out is float32; else it is int8, of result / out_scale rounded to even and saturated */
} vlj_attention;

#define VLJ_ATTENTION_ALIGNMENT 64u /* of the scratch */

typedef struct vlj_attention_kernels {
    const char *name;
    vlj_isa isa;
    size_t width; /* the only one that it takes; 0: every even one */
    size_t (*scratch_bytes)(const vlj_attention *a);
    /* Query heads first ... first + count - 1 into `out`; several threads may share an item, each with scratch of its
     * own. Heads of one kv_head in one call have their keys made ready once. */
    void (*run)(const vlj_attention *a, size_t first, size_t count, void *scratch);
} vlj_attention_kernels;

/* NULL when the name is unknown, the CPU lacks it, or the system doesn't let the process use it. */
const vlj_attention_kernels *vlj_attention_kernels_named(const char *name);
/* The fastest that this CPU has, VLJ_ISA permitting, for heads of that width. */
const vlj_attention_kernels *vlj_attention_kernels_best(size_t width);

#endif
