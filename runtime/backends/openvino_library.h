/* openvino_library.h: finds and loads libopenvino_c, and turns its statuses into ours. */
#ifndef VLJ_BACKENDS_OPENVINO_LIBRARY_H
#define VLJ_BACKENDS_OPENVINO_LIBRARY_H

#include "openvino_api.h"
#include "vljepa.h"

/* `path` NULL: the loader's search path. Fills `api`; VLJ_E_BACKEND_MISSING says what was tried. The library stays
 * loaded: its threads don't survive an unload. */
vlj_status vlj_openvino_load(const char *path, vlj_openvino_api *api);

/* A failure (code != 0) becomes `otherwise` with a sentence "what: OpenVINO: its message". */
vlj_status vlj_openvino_check(const vlj_openvino_api *api, int code, vlj_status otherwise, const char *what);

/* The process's one ov_core: each would load the CPU plug-in anew. Returned as often as it was taken, it is freed. */
vlj_status vlj_openvino_take_core(const vlj_openvino_api *api, ov_core **core);
void vlj_openvino_return_core(const vlj_openvino_api *api);

/* Has the process's core, which was taken, know the operators of that library. Once: later calls do nothing. */
vlj_status vlj_openvino_extend_core(const vlj_openvino_api *api, const char *path);

#endif
