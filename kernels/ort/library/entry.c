/* entry.c: what makes libvljepa_ort_ops.so of the operator: the entry that ONNX Runtime looks for when it is given a
 * library by path (register_custom_ops_library). */
#include "ort_pool_op.h"

__attribute__((visibility("default"))) OrtStatus *RegisterCustomOps(OrtSessionOptions *options,
                                                                    const vlj_ort_api_base *base);
OrtStatus *RegisterCustomOps(OrtSessionOptions *options, const vlj_ort_api_base *base) {
    return vlj_ort_register_pool(options, base);
}

__attribute__((visibility("default"))) unsigned long long vljepa_ort_ops_runs(void);
unsigned long long vljepa_ort_ops_runs(void) {
    return vlj_ort_pool_runs();
}
