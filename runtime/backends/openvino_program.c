/* openvino_program.c: compiles a model for the CPU, and runs it over tensors of the core's in place. */
#include "openvino_program.h"

#include <stdio.h>
#include <string.h>

#include "error.h"
#include "openvino_library.h"

/* ---- compiling ---- */

/* The names of a side's tensors, for the sentence about one that is missing or too many. */
static void list_names(const vlj_openvino_api *api, const vlj_openvino_program *program, int is_input, size_t count,
                       char *names, size_t bytes) {
    names[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        ov_port *port = NULL;
        char *name = NULL;
        int failed = is_input ? api->ov_compiled_model_input_by_index(program->compiled, i, &port)
                              : api->ov_compiled_model_output_by_index(program->compiled, i, &port);
        if (failed == 0 && api->ov_port_get_any_name(port, &name) == 0) {
            size_t length = strlen(names);
            snprintf(names + length, bytes - length, "%s%s", length > 0 ? ", " : "", name);
            api->ov_free(name);
        }
        if (port != NULL) {
            api->ov_output_const_port_free(port);
        }
    }
}

/* Every tensor of the signature must be there; of inputs, no other may be, since nobody would fill it. */
static vlj_status take_ports(const vlj_openvino_api *api, vlj_openvino_program *program,
                             const vlj_tensor_spec *expected, uint32_t count, int is_input, const char *what) {
    vlj_openvino_slot *slots = is_input ? program->inputs : program->outputs;
    size_t found = 0;
    char names[160];
    int failed = is_input ? api->ov_compiled_model_inputs_size(program->compiled, &found)
                          : api->ov_compiled_model_outputs_size(program->compiled, &found);
    vlj_status status = vlj_openvino_check(api, failed, VLJ_E_BACKEND, what);
    for (uint32_t i = 0; i < count && status == VLJ_OK; i++) {
        failed = is_input ? api->ov_compiled_model_input_by_name(program->compiled, expected[i].name, &slots[i].port)
                          : api->ov_compiled_model_output_by_name(program->compiled, expected[i].name, &slots[i].port);
        if (failed != 0) {
            list_names(api, program, is_input, found, names, sizeof names);
            return vlj_fail(VLJ_E_BUNDLE_SHAPE, "%s: there is no %s \"%s\"; it has %s", what,
                            is_input ? "input" : "output", expected[i].name, names);
        }
    }
    if (status == VLJ_OK && is_input && found != count) {
        list_names(api, program, 1, found, names, sizeof names);
        status = vlj_fail(VLJ_E_BUNDLE_SHAPE, "%s: %zu inputs, expected %u; it has %s", what, found, count, names);
    }
    return status;
}

vlj_status vlj_openvino_compile(const vlj_openvino_api *api, ov_core *core, const ov_model *model,
                                const vlj_openvino_settings *settings, const vlj_signature *signature, const char *what,
                                vlj_openvino_program *program) {
    const char *precision = settings->precision, *cache = settings->cache;
    char threads[16];
    snprintf(threads, sizeof threads, "%u", settings->threads);
    /* Pairs that have nothing to say repeat the first one: the call takes its arguments one by one. Threads aren't
     * pinned, since every engine would pin its own to the same cores. */
    static const char hint[] = "PERFORMANCE_HINT", latency[] = "LATENCY";
    int failed = api->ov_core_compile_model(
        core, model, "CPU", 12, &program->compiled, hint, latency, "NUM_STREAMS", "1", "INFERENCE_NUM_THREADS", threads,
        "ENABLE_CPU_PINNING", "NO", precision != NULL ? "INFERENCE_PRECISION_HINT" : hint,
        precision != NULL ? precision : latency, cache != NULL ? "CACHE_DIR" : hint, cache != NULL ? cache : latency);
    vlj_status status = vlj_openvino_check(api, failed, VLJ_E_BACKEND, what);
    if (status == VLJ_OK) {
        failed = api->ov_compiled_model_create_infer_request(program->compiled, &program->request);
        status = vlj_openvino_check(api, failed, VLJ_E_BACKEND, what);
    }
    if (status == VLJ_OK) {
        status = take_ports(api, program, signature->inputs, signature->input_count, 1, what);
    }
    if (status == VLJ_OK) {
        status = take_ports(api, program, signature->outputs, signature->output_count, 0, what);
    }
    return status;
}

static void free_slots(const vlj_openvino_api *api, vlj_openvino_slot *slots) {
    for (uint32_t i = 0; i < VLJ_MAX_TENSORS; i++) {
        if (slots[i].tensor != NULL) {
            api->ov_tensor_free(slots[i].tensor);
        }
        if (slots[i].port != NULL) {
            api->ov_output_const_port_free(slots[i].port);
        }
    }
}

void vlj_openvino_free(const vlj_openvino_api *api, vlj_openvino_program *program) {
    if (program->request != NULL) {
        api->ov_infer_request_free(program->request);
    }
    free_slots(api, program->inputs);
    free_slots(api, program->outputs);
    if (program->compiled != NULL) {
        api->ov_compiled_model_free(program->compiled);
    }
    memset(program, 0, sizeof *program);
}

/* ---- running ---- */

static int look_at(const vlj_openvino_api *api, const vlj_openvino_program *program, vlj_openvino_slot *s,
                   const vlj_tensor *tensor) {
    if (s->tensor != NULL && s->data == tensor->data &&
        memcmp(s->shape, tensor->shape, tensor->rank * sizeof *s->shape) == 0) {
        return 0; /* a slot's rank and dtype never change */
    }
    ov_tensor *made = NULL;
    memcpy(s->shape, tensor->shape, tensor->rank * sizeof *s->shape);
    int failed = api->ov_tensor_create_from_host_ptr(api->element_types[tensor->dtype],
                                                     (ov_shape){tensor->rank, s->shape}, tensor->data, &made);
    if (failed == 0) {
        failed = api->ov_infer_request_set_tensor_by_const_port(program->request, s->port, made);
    }
    if (s->tensor != NULL) {
        api->ov_tensor_free(s->tensor);
    }
    s->tensor = failed == 0 ? made : NULL; /* NULL: the next run tries again */
    s->data = tensor->data;
    s->new_view = 1;
    if (failed != 0 && made != NULL) {
        api->ov_tensor_free(made);
    }
    return failed;
}

/* Counts the run's copies: a request that had put a tensor of its own in place of ours would read or write that. */
static int count_copies(const vlj_openvino_api *api, const vlj_openvino_program *program, vlj_openvino_slot *s,
                        const vlj_tensor *tensor, uint64_t *copied) {
    int failed = 0;
    if (s->new_view) {
        ov_tensor *used = NULL;
        void *data = NULL;
        failed = api->ov_infer_request_get_tensor_by_const_port(program->request, s->port, &used);
        failed = failed != 0 ? failed : api->ov_tensor_data(used, &data);
        if (used != NULL) {
            api->ov_tensor_free(used);
        }
        s->copied_bytes = data != tensor->data ? tensor->size_bytes : 0;
        s->new_view = 0;
    }
    *copied += s->copied_bytes;
    return failed;
}

int vlj_openvino_run(const vlj_openvino_api *api, vlj_openvino_program *program, const vlj_tensor *inputs,
                     uint32_t input_count, const vlj_tensor *outputs, uint32_t output_count, uint64_t *copied) {
    int failed = 0;
    for (uint32_t i = 0; i < input_count && failed == 0; i++) {
        failed = look_at(api, program, &program->inputs[i], &inputs[i]);
    }
    for (uint32_t i = 0; i < output_count && failed == 0; i++) {
        failed = look_at(api, program, &program->outputs[i], &outputs[i]);
    }
    if (failed == 0) {
        failed = api->ov_infer_request_infer(program->request);
    }
    for (uint32_t i = 0; i < input_count && failed == 0; i++) {
        failed = count_copies(api, program, &program->inputs[i], &inputs[i], copied);
    }
    for (uint32_t i = 0; i < output_count && failed == 0; i++) {
        failed = count_copies(api, program, &program->outputs[i], &outputs[i], copied);
    }
    return failed;
}
