/* attention_kernels.h: the instruction sets' entries, for attention.c. */
#ifndef VLJ_KERNELS_ATTENTION_KERNELS_H
#define VLJ_KERNELS_ATTENTION_KERNELS_H

#include "attention.h"

extern const vlj_attention_kernels vlj_attention_generic;
#if VLJ_KERNELS_AMX
extern const vlj_attention_kernels vlj_attention_amx;
#endif

#endif
