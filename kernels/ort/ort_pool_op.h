/* ort_pool_op.h: registers vljepa::MaskedMeanPool with a session of ONNX Runtime. */
#ifndef VLJ_KERNELS_ORT_ORT_POOL_OP_H
#define VLJ_KERNELS_ORT_ORT_POOL_OP_H

#include "ort_api.h"

/* NULL is success, and for a library older than 1.16 nothing was done: it runs the function body. One ONNX Runtime per
 * process. */
OrtStatus *vlj_ort_register_pool(OrtSessionOptions *options, const vlj_ort_api_base *base);
/* How often the kernel ran in this process: tests ask, to know that it was this code. */
unsigned long long vlj_ort_pool_runs(void);

#endif
