/* yuv_kernels.h: the instruction sets' entries, for yuv.c and their tails. */
#ifndef VLJ_KERNELS_YUV_KERNELS_H
#define VLJ_KERNELS_YUV_KERNELS_H

#include "yuv.h"

extern const vlj_yuv_kernels vlj_yuv_generic;
#if VLJ_KERNELS_X86
extern const vlj_yuv_kernels vlj_yuv_avx2;
#endif
#if VLJ_KERNELS_NEON
extern const vlj_yuv_kernels vlj_yuv_neon;
#endif

#endif
