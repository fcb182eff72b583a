/* dot_kernels.h: the instruction sets' entries, for dot.c and their tails. */
#ifndef VLJ_KERNELS_DOT_KERNELS_H
#define VLJ_KERNELS_DOT_KERNELS_H

#include "dot.h"

extern const vlj_dot_kernels vlj_dot_generic;
#if VLJ_KERNELS_X86
extern const vlj_dot_kernels vlj_dot_avx2;
extern const vlj_dot_kernels vlj_dot_avx512;
#endif
#if VLJ_KERNELS_NEON
extern const vlj_dot_kernels vlj_dot_neon;
#endif

#endif
