/* ort_options.h: how a session of backend "ort" is set up: threads, memory, execution provider, operators, weights. */
#ifndef VLJ_BACKENDS_ORT_OPTIONS_H
#define VLJ_BACKENDS_ORT_OPTIONS_H

#include "engine.h"
#include "ort_api.h"

/* VLJ_E_BACKEND_MISSING, listing the providers there are, where the library lacks the one that was asked for. */
vlj_status vlj_ort_set_options(const vlj_ort_api *api, const vlj_backend_context *context, const vlj_engine_spec *spec,
                               OrtSessionOptions *options);
/* An image's external weights lie inside it: they are handed over by the names that the ONNX uses. */
vlj_status vlj_ort_add_data_files(const vlj_ort_api *api, const vlj_engine_spec *spec, OrtSessionOptions *options);

#endif
