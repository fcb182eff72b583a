/* pool_op_api.h: the part of ONNX Runtime's C interface that a custom op is made of, declared by us as in
 * runtime/backends/ort_api.h: positions in the append-only `struct OrtApi`, and `struct OrtCustomOp` up to the members
 * of API version 16 (ONNX Runtime 1.16), which is what `version` tells the library that reads it. */
#ifndef VLJ_KERNELS_ORT_POOL_OP_API_H
#define VLJ_KERNELS_ORT_POOL_OP_API_H

#include <stddef.h>
#include <stdint.h>

#include "ort_api.h"

enum { VLJ_POOL_OP_API = 16, VLJ_ORT_ERROR_INVALID_ARGUMENT = 2 };

typedef struct OrtCustomOpDomain OrtCustomOpDomain;
typedef struct OrtKernelContext OrtKernelContext;
typedef struct OrtCustomOp OrtCustomOp;

struct OrtCustomOp {
    uint32_t version;
    void *(*CreateKernel)(const OrtCustomOp *op, const void *api, const void *info);
    const char *(*GetName)(const OrtCustomOp *op);
    const char *(*GetExecutionProviderType)(const OrtCustomOp *op);
    int (*GetInputType)(const OrtCustomOp *op, size_t index);
    size_t (*GetInputTypeCount)(const OrtCustomOp *op);
    int (*GetOutputType)(const OrtCustomOp *op, size_t index);
    size_t (*GetOutputTypeCount)(const OrtCustomOp *op);
    void (*KernelCompute)(void *kernel, OrtKernelContext *context);
    void (*KernelDestroy)(void *kernel);
    int (*GetInputCharacteristic)(const OrtCustomOp *op, size_t index);
    int (*GetOutputCharacteristic)(const OrtCustomOp *op, size_t index);
    int (*GetInputMemoryType)(const OrtCustomOp *op, size_t index);
    int (*GetVariadicInputMinArity)(const OrtCustomOp *op);
    int (*GetVariadicInputHomogeneity)(const OrtCustomOp *op);
    int (*GetVariadicOutputMinArity)(const OrtCustomOp *op);
    int (*GetVariadicOutputHomogeneity)(const OrtCustomOp *op);
    OrtStatus *(*CreateKernelV2)(const OrtCustomOp *op, const void *api, const void *info, void **kernel);
    OrtStatus *(*KernelComputeV2)(void *kernel, OrtKernelContext *context);
};

#define VLJ_POOL_OP_SLOTS(SLOT)                                                                                        \
    SLOT(0, CreateStatus, OrtStatus *, (int code, const char *message))                                                \
    SLOT(26, CreateCustomOpDomain, OrtStatus *, (const char *name, OrtCustomOpDomain **domain))                        \
    SLOT(27, CustomOpDomain_Add, OrtStatus *, (OrtCustomOpDomain * domain, const OrtCustomOp *op))                     \
    SLOT(28, AddCustomOpDomain, OrtStatus *, (OrtSessionOptions * options, OrtCustomOpDomain * domain))                \
    SLOT(51, GetTensorMutableData, OrtStatus *, (OrtValue * value, void **data))                                       \
    SLOT(61, GetDimensionsCount, OrtStatus *, (const OrtTensorInfo *tensor, size_t *rank))                             \
    SLOT(62, GetDimensions, OrtStatus *, (const OrtTensorInfo *tensor, int64_t *shape, size_t rank))                   \
    SLOT(65, GetTensorTypeAndShape, OrtStatus *, (const OrtValue *value, OrtTensorInfo **tensor))                      \
    SLOT(90, KernelContext_GetInput, OrtStatus *,                                                                      \
         (const OrtKernelContext *context, size_t index, const OrtValue **value))                                      \
    SLOT(91, KernelContext_GetOutput, OrtStatus *,                                                                     \
         (OrtKernelContext * context, size_t index, const int64_t *shape, size_t rank, OrtValue **value))              \
    SLOT(99, ReleaseTensorTypeAndShapeInfo, void, (OrtTensorInfo * tensor))

typedef struct vlj_pool_op_api {
#define VLJ_POOL_OP_FIELD(number, name, type, parameters) type(*name) parameters;
    VLJ_POOL_OP_SLOTS(VLJ_POOL_OP_FIELD)
#undef VLJ_POOL_OP_FIELD
} vlj_pool_op_api;

#endif
