/* openvino_ops.h: finds libvljepa_openvino_ops and has OpenVINO know its operators. */
#ifndef VLJ_BACKENDS_OPENVINO_OPS_H
#define VLJ_BACKENDS_OPENVINO_OPS_H

#include "hooks.h"
#include "openvino_api.h"

/* `path` NULL: the library beside this one, and where there is none, or it doesn't suit this CPU or OpenVINO, *width is
 * 0; a named one that doesn't is VLJ_E_BACKEND_MISSING with the reason. *width: of the heads that
 * vljepa::RotaryAttention takes. The process's core must have been taken. */
vlj_status vlj_openvino_take_ops(const vlj_openvino_api *api, const vlj_host *host, const char *path, uint32_t *width);

/* The path of the library that would be taken: `named`, or the one beside this library; 0: neither is. */
int vlj_openvino_find_ops(const char *named, char *path, size_t bytes);

#endif
