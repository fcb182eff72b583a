/* component.c: vlj_run_component, one engine over the caller's own tensors, checked against its signature. */
#include "engine.h"
#include "error.h"
#include "model.h"

/* The caller's tensor must be what the signature says, and its buffer as large as its shape. */
static vlj_status check_tensor(vlj_component component, const vlj_tensor_spec *expected, const vlj_tensor *tensor) {
    const char *name = vlj_component_name(component);
    if (tensor->dtype != expected->dtype || tensor->rank != expected->rank) {
        return vlj_fail(VLJ_E_ARGUMENT, "component %s: tensor %s is %s of rank %u, expected %s of rank %u", name,
                        expected->name, vlj_dtype_name(tensor->dtype), tensor->rank, vlj_dtype_name(expected->dtype),
                        expected->rank);
    }
    size_t bytes = vlj_dtype_bytes(expected->dtype);
    for (uint32_t i = 0; i < expected->rank; i++) {
        int64_t size = tensor->shape[i], wanted = expected->shape[i];
        if (size < 1 || (wanted != VLJ_DYNAMIC && size != wanted) || (uint64_t)size > SIZE_MAX / bytes) {
            return vlj_fail(VLJ_E_ARGUMENT, "component %s: dimension %u of tensor %s is %lld, expected %lld", name, i,
                            expected->name, (long long)size, (long long)wanted);
        }
        bytes *= (size_t)size;
    }
    if (tensor->data == NULL || tensor->size_bytes != bytes) {
        return vlj_fail(VLJ_E_ARGUMENT, "component %s: tensor %s has %zu bytes, its shape needs %zu", name,
                        expected->name, tensor->data == NULL ? (size_t)0 : tensor->size_bytes, bytes);
    }
    return VLJ_OK;
}

vlj_status vlj_run_component(vlj_model *model, vlj_component component, const vlj_tensor *inputs, uint32_t input_count,
                             vlj_tensor *outputs, uint32_t output_count) {
    if (model == NULL || inputs == NULL || outputs == NULL || (uint32_t)component >= VLJ_COMPONENT_COUNT) {
        return vlj_fail(VLJ_E_ARGUMENT, "vlj_run_component wants a model, a component below %d, inputs and outputs",
                        (int)VLJ_COMPONENT_COUNT);
    }
    if (!vlj_model_has(model, component)) {
        return vlj_fail(VLJ_E_STATE, "component %s is not open", vlj_component_name(component));
    }
    const vlj_signature *signature = vlj_model_signature(model, component);
    if (input_count != signature->input_count || output_count != signature->output_count) {
        return vlj_fail(VLJ_E_ARGUMENT, "component %s takes %u inputs and gives %u outputs, not %u and %u",
                        vlj_component_name(component), signature->input_count, signature->output_count, input_count,
                        output_count);
    }
    vlj_tensor named_inputs[VLJ_MAX_TENSORS], named_outputs[VLJ_MAX_TENSORS];
    for (uint32_t i = 0; i < input_count; i++) {
        vlj_status status = check_tensor(component, &signature->inputs[i], &inputs[i]);
        if (status != VLJ_OK) {
            return status;
        }
        named_inputs[i] = inputs[i];
        named_inputs[i].name = signature->inputs[i].name; /* tensors are told by their order */
    }
    for (uint32_t i = 0; i < output_count; i++) {
        vlj_status status = check_tensor(component, &signature->outputs[i], &outputs[i]);
        if (status != VLJ_OK) {
            return status;
        }
        named_outputs[i] = outputs[i];
        named_outputs[i].name = signature->outputs[i].name;
    }
    return vlj_model_run(model, component, named_inputs, input_count, named_outputs, output_count);
}
