/* ort_library.c: finds and loads libonnxruntime, and turns its statuses into ours. */
#include "ort_library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "error.h"

static _Thread_local const vlj_host *log_host;

static void *open_library(const char *path, char *tried, size_t tried_bytes) {
    static const char *const names[] = {"libonnxruntime.so.1", "libonnxruntime.so"};
    size_t at = 0;
    for (int i = 0; i < (path != NULL ? 1 : 2); i++) {
        const char *name = path != NULL ? path : names[i];
        void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
        if (library != NULL) {
            return library;
        }
        const char *why = dlerror();
        int written = snprintf(tried + at, tried_bytes - at, "%s%s", at > 0 ? "; " : "", why != NULL ? why : name);
        at += written > 0 ? (size_t)written : 0;
        if (at >= tried_bytes) {
            at = tried_bytes - 1;
        }
    }
    return NULL;
}

/* A table in another order would call the wrong function. Slots 0-2, 69, 71 and 93-94 tell by what they give; since the
 * table is append-only, what lies between them is in place too. */
static int table_is_ours(const vlj_ort_api *api) {
    static const char message[] = "vljepa checks the table";
    OrtStatus *status = api->CreateStatus(VLJ_ORT_ERROR_FAIL, message);
    int right = status != NULL && api->GetErrorCode(status) == VLJ_ORT_ERROR_FAIL &&
                strcmp(api->GetErrorMessage(status), message) == 0;
    if (status != NULL) {
        api->ReleaseStatus(status);
    }
    OrtMemoryInfo *memory = NULL;
    const char *name = NULL;
    if (!right || api->CreateCpuMemoryInfo(VLJ_ORT_ARENA_ALLOCATOR, VLJ_ORT_DEFAULT_MEMORY, &memory) != NULL) {
        return 0;
    }
    right = api->MemoryInfoGetName(memory, &name) == NULL && name != NULL && strcmp(name, "Cpu") == 0;
    api->ReleaseMemoryInfo(memory);
    return right;
}

vlj_status vlj_ort_load(const char *path, vlj_ort_api *api) {
    char tried[300] = "";
    void *library = open_library(path, tried, sizeof tried);
    if (library == NULL) {
        return vlj_fail(
            VLJ_E_BACKEND_MISSING,
            "cannot load ONNX Runtime: %s. Name the library in options.backend_library (Python's onnxruntime package "
            "has it as onnxruntime/capi/libonnxruntime.so.*)",
            tried);
    }
    vlj_ort_get_api_base get_base = NULL;
    void *symbol = dlsym(library, "OrtGetApiBase");
    memcpy(&get_base, &symbol, sizeof get_base); /* ISO C has no cast from an object to a function pointer */
    const vlj_ort_api_base *base = get_base != NULL ? get_base() : NULL;
    if (base == NULL) {
        return vlj_fail(VLJ_E_BACKEND_MISSING, "%s is not ONNX Runtime: it has no OrtGetApiBase",
                        path != NULL ? path : "libonnxruntime.so");
    }
    unsigned major = 0, minor = 0; /* asking an older library for an API that it lacks makes it print to stderr */
    const char *version = base->get_version != NULL ? base->get_version() : NULL;
    if (version == NULL || sscanf(version, "%u.%u", &major, &minor) != 2 || major != 1 || minor < VLJ_ORT_OLDEST_API) {
        return vlj_fail(VLJ_E_BACKEND_MISSING, "ONNX Runtime is version %s, expected 1.%d or newer below 2",
                        version != NULL ? version : "unknown", VLJ_ORT_OLDEST_API);
    }
    int recent = minor >= VLJ_ORT_FILES_IN_MEMORY_API;
    const vlj_ort_slot *table = base->get_api(recent ? VLJ_ORT_FILES_IN_MEMORY_API : VLJ_ORT_OLDEST_API);
    if (table == NULL) {
        return vlj_fail(VLJ_E_BACKEND_MISSING, "ONNX Runtime %s gives no table of API version %d", version,
                        VLJ_ORT_OLDEST_API);
    }
    memset(api, 0, sizeof *api);
    api->base = base;
#define VLJ_ORT_TAKE(number, name, type, parameters)                                                                   \
    if (recent || number <= 208) {                                                                                     \
        api->name = (type(*) parameters)table[number];                                                                 \
    }
    VLJ_ORT_SLOTS(VLJ_ORT_TAKE)
#undef VLJ_ORT_TAKE
    if (!table_is_ours(api)) {
        return vlj_fail(VLJ_E_BACKEND_MISSING, "ONNX Runtime %s has a function table that this library doesn't know",
                        version);
    }
    return VLJ_OK;
}

/* Many of ONNX Runtime's messages begin with "/its/source.cc:256 type function(arguments) ": what matters comes after.
 */
static const char *skip_place(const char *message) {
    size_t place = strcspn(message, " ");
    const char *at = strchr(message, '(');
    if (message[0] != '/' || memchr(message, ':', place) == NULL || at == NULL) {
        return message;
    }
    int depth = 0;
    do {
        depth += (*at == '(') - (*at == ')');
        at++;
    } while (depth > 0 && *at != '\0');
    at += strncmp(at, " const", 6) == 0 ? 6 : 0;
    if (strncmp(at, " [with ", 7) == 0) { /* of a template */
        at += strcspn(at, "]");
        at += *at == ']';
    }
    return at[0] == ' ' && at[1] != '\0' ? at + 1 : message;
}

vlj_status vlj_ort_check(const vlj_ort_api *api, OrtStatus *status, vlj_status otherwise, const char *what) {
    if (status == NULL) {
        return VLJ_OK;
    }
    vlj_fail(otherwise, "%s: ONNX Runtime: %s", what, skip_place(api->GetErrorMessage(status)));
    api->ReleaseStatus(status);
    return otherwise;
}

static void log_message(void *param, int severity, const char *category, const char *log_id, const char *place,
                        const char *message) {
    (void)param, (void)category, (void)log_id, (void)place;
    if (log_host != NULL) {
        vlj_logf(log_host, severity >= VLJ_ORT_LOG_ERROR ? VLJ_LOG_ERROR : VLJ_LOG_INFO, "onnxruntime: %s", message);
    }
}

void vlj_ort_log_to(const vlj_host *host) {
    log_host = host;
}

vlj_status vlj_ort_create_env(const vlj_ort_api *api, OrtEnv **env) {
    return vlj_ort_check(api, api->CreateEnvWithCustomLogger(log_message, NULL, VLJ_ORT_LOG_ERROR, "vljepa", env),
                         VLJ_E_BACKEND, "ONNX Runtime's environment");
}
