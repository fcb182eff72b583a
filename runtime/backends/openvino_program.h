/* openvino_program.h: a compiled model of OpenVINO with its request, run over tensors of the core's in place. */
#ifndef VLJ_BACKENDS_OPENVINO_PROGRAM_H
#define VLJ_BACKENDS_OPENVINO_PROGRAM_H

#include "engine.h"
#include "openvino_api.h"

/* One tensor of the model and the view of the buffer that it was last given; the view is made anew only when buffer or
 * shape is another one. */
typedef struct vlj_openvino_slot {
    ov_port *port;
    ov_tensor *tensor;
    void *data;
    int64_t shape[VLJ_MAX_RANK];
    int new_view;        /* since the last run */
    size_t copied_bytes; /* of each run: 0 where OpenVINO works on `data` itself */
} vlj_openvino_slot;

/* All zero: there is none. */
typedef struct vlj_openvino_program {
    ov_compiled_model *compiled;
    ov_infer_request *request;
    vlj_openvino_slot inputs[VLJ_MAX_TENSORS], outputs[VLJ_MAX_TENSORS];
} vlj_openvino_program;

/* What every program of an engine is compiled with. */
typedef struct vlj_openvino_settings {
    const char *precision; /* NULL: the plug-in's own choice */
    char *cache;           /* folder of compiled models; NULL: none */
    size_t cache_bytes;    /* of that string */
    uint32_t threads;      /* 0: as many as there are */
} vlj_openvino_settings;

/* Compiles `model` for the CPU and finds the signature's tensors in it by name. `program` is for vlj_openvino_free
 * whether it succeeds or not. */
vlj_status vlj_openvino_compile(const vlj_openvino_api *api, ov_core *core, const ov_model *model,
                                const vlj_openvino_settings *settings, const vlj_signature *signature, const char *what,
                                vlj_openvino_program *program);
/* Adds what OpenVINO copied to *copied. Statuses of OpenVINO: 0 is success. */
int vlj_openvino_run(const vlj_openvino_api *api, vlj_openvino_program *program, const vlj_tensor *inputs,
                     uint32_t input_count, const vlj_tensor *outputs, uint32_t output_count, uint64_t *copied);
void vlj_openvino_free(const vlj_openvino_api *api, vlj_openvino_program *program);

#endif
