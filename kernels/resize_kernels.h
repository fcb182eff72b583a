/* resize_kernels.h: the instruction sets' entries, for resize.c only. */
#ifndef VLJ_KERNELS_RESIZE_KERNELS_H
#define VLJ_KERNELS_RESIZE_KERNELS_H

#include "resize.h"

extern const vlj_resize_kernels vlj_resize_generic;
#if VLJ_KERNELS_X86
extern const vlj_resize_kernels vlj_resize_avx2;
#endif
#if VLJ_KERNELS_NEON
extern const vlj_resize_kernels vlj_resize_neon;
#endif

#endif
