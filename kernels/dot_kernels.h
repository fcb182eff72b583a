/* dot_kernels.h: the instruction sets' entries, for dot.c and their tails. */
#ifndef VLJ_KERNELS_DOT_KERNELS_H
#define VLJ_KERNELS_DOT_KERNELS_H

#include "dot.h"

/* Bytes that INT8 products ask for in advance: a bank is read row by row, and the hardware's own prefetch stops at each
 * page's end. Two rows of 1,536 gave 1.3 times the speed of none. Asking beyond the bank's end does nothing. */
#define VLJ_DOT_INT8_AHEAD 3072u

extern const vlj_dot_kernels vlj_dot_generic;
#if VLJ_KERNELS_X86
extern const vlj_dot_kernels vlj_dot_avx2;
extern const vlj_dot_kernels vlj_dot_avx512;
#endif
#if VLJ_KERNELS_NEON
extern const vlj_dot_kernels vlj_dot_neon;
#endif

#endif
