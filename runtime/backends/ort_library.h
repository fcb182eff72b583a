/* ort_library.h: finds and loads libonnxruntime, and turns its statuses into ours. */
#ifndef VLJ_BACKENDS_ORT_LIBRARY_H
#define VLJ_BACKENDS_ORT_LIBRARY_H

#include "hooks.h"
#include "ort_api.h"
#include "vljepa.h"

/* `path` NULL: the loader's search path. Fills `api`; VLJ_E_BACKEND_MISSING says what was tried. The library stays
 * loaded: its threads and thread-local objects don't survive an unload. */
vlj_status vlj_ort_load(const char *path, vlj_ort_api *api);

/* Releases `status`; a failure becomes `otherwise` with a sentence "what: ONNX Runtime's message". */
vlj_status vlj_ort_check(const vlj_ort_api *api, OrtStatus *status, vlj_status otherwise, const char *what);

/* Errors that ONNX Runtime logs on this thread from now on go to `host` (NULL: nowhere). It never writes to stderr: an
 * environment outlives models, so its logger must not hold one. */
void vlj_ort_log_to(const vlj_host *host);
vlj_status vlj_ort_create_env(const vlj_ort_api *api, OrtEnv **env);

#endif
