/* pool_kernels.h: the instruction sets' entries, for pool.c and their tails. */
#ifndef VLJ_KERNELS_POOL_KERNELS_H
#define VLJ_KERNELS_POOL_KERNELS_H

#include "pool.h"

extern const vlj_pool_kernels vlj_pool_generic;
#if VLJ_KERNELS_X86
extern const vlj_pool_kernels vlj_pool_avx2;
#endif
#if VLJ_KERNELS_NEON
extern const vlj_pool_kernels vlj_pool_neon;
#endif

#endif
