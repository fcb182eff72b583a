/* linear_kernels.h: the instruction sets' entries, for linear.c. */
#ifndef VLJ_KERNELS_LINEAR_KERNELS_H
#define VLJ_KERNELS_LINEAR_KERNELS_H

#include "linear.h"

extern const vlj_linear_kernels vlj_linear_generic;
#if VLJ_KERNELS_AMX
extern const vlj_linear_kernels vlj_linear_amx;
#endif

#endif
