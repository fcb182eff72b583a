/* masked_mean_pool.c: ONNX Runtime's operator vljepa::MaskedMeanPool over kernels/pool.h.
 *
 * Backend "ort" registers it with its sessions; library.c makes a custom op library of it for anybody else's. The
 * function body that a bundle's Predictor carries under the same name then isn't used: a registered kernel takes
 * precedence.
 *
 *   MaskedMeanPool(hidden [B,M,W], mask [B,M], weight [W,E], bias [E]) -> [B,E], all float32
 */
#include <stdio.h>
#include <stdlib.h>

#include "ort_pool_op.h"
#include "pool.h"
#include "pool_op_api.h"

typedef struct pool_op_kernel {
    const vlj_pool_kernels *kernels;
} pool_op_kernel;

static vlj_pool_op_api table; /* filled at registration: the functions of the one ONNX Runtime that loaded this */
static unsigned long long runs;

unsigned long long vlj_ort_pool_runs(void) {
    return __atomic_load_n(&runs, __ATOMIC_RELAXED);
}

static OrtStatus *fail(const char *message) {
    return table.CreateStatus(VLJ_ORT_ERROR_INVALID_ARGUMENT, message);
}

/* ---- computing ---- */

typedef struct operand {
    const float *values;
    int64_t shape[3];
} operand;

static OrtStatus *read_input(OrtKernelContext *context, size_t index, size_t rank, operand *o) {
    const OrtValue *value = NULL;
    OrtTensorInfo *shape = NULL;
    size_t found = 0;
    void *data = NULL;
    OrtStatus *failed = table.KernelContext_GetInput(context, index, &value);
    failed = failed != NULL ? failed : table.GetTensorTypeAndShape(value, &shape);
    failed = failed != NULL ? failed : table.GetDimensionsCount(shape, &found);
    if (failed == NULL && found != rank) {
        char message[96];
        snprintf(message, sizeof message, "vljepa::MaskedMeanPool: input %zu has rank %zu, expected %zu", index, found,
                 rank);
        failed = fail(message);
    }
    failed = failed != NULL ? failed : table.GetDimensions(shape, o->shape, rank);
    failed = failed != NULL ? failed : table.GetTensorMutableData((OrtValue *)value, &data);
    o->values = data;
    if (shape != NULL) {
        table.ReleaseTensorTypeAndShapeInfo(shape);
    }
    return failed;
}

static OrtStatus *compute(void *kernel, OrtKernelContext *context) {
    const pool_op_kernel *self = kernel;
    operand hidden, mask, weight, bias;
    OrtValue *output = NULL;
    void *out = NULL;
    OrtStatus *failed = read_input(context, 0, 3, &hidden);
    failed = failed != NULL ? failed : read_input(context, 1, 2, &mask);
    failed = failed != NULL ? failed : read_input(context, 2, 2, &weight);
    failed = failed != NULL ? failed : read_input(context, 3, 1, &bias);
    if (failed != NULL) {
        return failed;
    }
    int64_t batch = hidden.shape[0], tokens = hidden.shape[1], width = hidden.shape[2], embedding = weight.shape[1];
    if (mask.shape[0] != batch || mask.shape[1] != tokens || weight.shape[0] != width || bias.shape[0] != embedding) {
        char message[256];
        snprintf(message, sizeof message,
                 "vljepa::MaskedMeanPool: hidden [%lld,%lld,%lld] doesn't go with mask [%lld,%lld], weight [%lld,%lld] "
                 "and bias [%lld]",
                 (long long)batch, (long long)tokens, (long long)width, (long long)mask.shape[0],
                 (long long)mask.shape[1], (long long)weight.shape[0], (long long)weight.shape[1],
                 (long long)bias.shape[0]);
        return fail(message);
    }
    failed = table.KernelContext_GetOutput(context, 0, (const int64_t[]){batch, embedding}, 2, &output);
    failed = failed != NULL ? failed : table.GetTensorMutableData(output, &out);
    if (failed != NULL) {
        return failed;
    }
    float *scratch = malloc((size_t)width * sizeof *scratch + 1);
    if (scratch == NULL) {
        return fail("vljepa::MaskedMeanPool: no memory");
    }
    for (int64_t b = 0; b < batch; b++) {
        vlj_pool_project(self->kernels, hidden.values + (size_t)(b * tokens * width), mask.values + b * tokens,
                         (size_t)tokens, (size_t)width, weight.values, bias.values, (size_t)embedding, scratch,
                         (float *)out + b * embedding);
    }
    free(scratch);
    __atomic_add_fetch(&runs, 1, __ATOMIC_RELAXED);
    return NULL;
}

/* ---- what ONNX Runtime asks about the operator ---- */

static OrtStatus *create(const OrtCustomOp *op, const void *api, const void *info, void **kernel) {
    (void)op, (void)api, (void)info;
    pool_op_kernel *made = malloc(sizeof *made);
    if (made == NULL) {
        return fail("vljepa::MaskedMeanPool: no memory");
    }
    *made = (pool_op_kernel){vlj_pool_kernels_best()};
    *kernel = made;
    return NULL;
}

static void destroy(void *kernel) {
    free(kernel);
}

static const char *name_of(const OrtCustomOp *op) {
    (void)op;
    return "MaskedMeanPool";
}

static const char *provider_of(const OrtCustomOp *op) {
    (void)op;
    return NULL; /* the CPU */
}

static size_t input_count(const OrtCustomOp *op) {
    (void)op;
    return 4;
}

static size_t output_count(const OrtCustomOp *op) {
    (void)op;
    return 1;
}

static int float_type(const OrtCustomOp *op, size_t index) {
    (void)op, (void)index;
    return VLJ_ORT_FLOAT;
}

static int zero_of_index(const OrtCustomOp *op, size_t index) { /* required; and memory that the CPU reads */
    (void)op, (void)index;
    return 0;
}

static int one(const OrtCustomOp *op) { /* nothing is variadic: not asked for */
    (void)op;
    return 1;
}

static const OrtCustomOp pool_op = {
    .version = VLJ_POOL_OP_API,
    .GetName = name_of,
    .GetExecutionProviderType = provider_of,
    .GetInputType = float_type,
    .GetInputTypeCount = input_count,
    .GetOutputType = float_type,
    .GetOutputTypeCount = output_count,
    .KernelDestroy = destroy,
    .GetInputCharacteristic = zero_of_index,
    .GetOutputCharacteristic = zero_of_index,
    .GetInputMemoryType = zero_of_index,
    .GetVariadicInputMinArity = one,
    .GetVariadicInputHomogeneity = one,
    .GetVariadicOutputMinArity = one,
    .GetVariadicOutputHomogeneity = one,
    .CreateKernelV2 = create,
    .KernelComputeV2 = compute,
};

/* The functions and the domain, once: sessions may be made from several threads. The domain lives as long as the
 * process, as sessions may. */
static OrtStatus *prepare(const vlj_ort_slot *slots, OrtCustomOpDomain **domain) {
    static OrtCustomOpDomain *made;
    static char busy;
    OrtStatus *failed = NULL;
    while (__atomic_test_and_set(&busy, __ATOMIC_ACQUIRE)) {
    }
    if (made == NULL) {
#define TAKE(number, name, type, parameters) table.name = (type(*) parameters)slots[number];
        VLJ_POOL_OP_SLOTS(TAKE)
#undef TAKE
        failed = table.CreateCustomOpDomain("vljepa", &made);
        failed = failed != NULL ? failed : table.CustomOpDomain_Add(made, &pool_op);
    }
    *domain = made;
    __atomic_clear(&busy, __ATOMIC_RELEASE);
    return failed;
}

OrtStatus *vlj_ort_register_pool(OrtSessionOptions *options, const vlj_ort_api_base *base) {
    const vlj_ort_slot *slots = NULL;
    unsigned minor = 0; /* asking an older library for an API that it lacks makes it print to stderr */
    if (sscanf(base->get_version(), "1.%u", &minor) == 1 && minor >= VLJ_POOL_OP_API) {
        slots = base->get_api(VLJ_POOL_OP_API);
    }
    if (slots == NULL) {
        return NULL; /* older than KernelComputeV2: the function body does the work */
    }
    OrtCustomOpDomain *domain = NULL;
    OrtStatus *failed = prepare(slots, &domain);
    return failed != NULL ? failed : table.AddCustomOpDomain(options, domain);
}
