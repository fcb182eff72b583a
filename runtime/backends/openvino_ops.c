/* openvino_ops.c: finds libvljepa_openvino_ops and has OpenVINO know its operators.
 *
 * It is C++ over OpenVINO's classes, which change from version to version: one of another version isn't handed over.
 */
#define _GNU_SOURCE /* dladdr */
#include "openvino_ops.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "attention.h"
#include "error.h"
#include "openvino_library.h"

static const char FILE_NAME[] = "libvljepa_openvino_ops.so";
enum { HEAD_WIDTH = 64 };

/* Where this library, or the program that it was linked into, lies; 0: unknown, or no such file there. */
static int find_beside(char *path, size_t bytes) {
    Dl_info here;
    void *self = NULL;
    vlj_status (*function)(const vlj_openvino_api *, const vlj_host *, const char *, uint32_t *) =
        vlj_openvino_take_ops;
    memcpy(&self, &function, sizeof self); /* ISO C has no cast from a function pointer to an object */
    if (dladdr(self, &here) == 0 || here.dli_fname == NULL) {
        return 0;
    }
    const char *slash = strrchr(here.dli_fname, '/');
    int folder = slash != NULL ? (int)(slash - here.dli_fname) + 1 : 0;
    int length = snprintf(path, bytes, "%.*s%s", folder, here.dli_fname, FILE_NAME);
    FILE *file = length > 0 && (size_t)length < bytes ? fopen(path, "rb") : NULL;
    if (file != NULL) {
        fclose(file);
    }
    return file != NULL;
}

int vlj_openvino_find_ops(const char *named, char *path, size_t bytes) {
    if (named == NULL) {
        return find_beside(path, bytes);
    }
    int length = snprintf(path, bytes, "%s", named);
    return length > 0 && (size_t)length < bytes;
}

/* "2026.4.1" of "2026.4.1-22982-..." */
static int same_version(const char *build, const char *version) {
    size_t length = strlen(version);
    return build != NULL && strncmp(build, version, length) == 0 && (build[length] == '-' || build[length] == '\0');
}

static vlj_status check_library(const vlj_openvino_api *api, const char *path) {
    ov_version version = {NULL, NULL};
    const char *(*built_for)(void);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* it stays: OpenVINO's objects of its classes may */
    void *symbol = library != NULL ? dlsym(library, "vljepa_openvino_ops_version") : NULL;
    if (library == NULL) {
        const char *why = dlerror();
        return vlj_fail(VLJ_E_BACKEND_MISSING,
                        "backend openvino: cannot load its operators: %s. Was the library built "
                        "for this OpenVINO?",
                        why != NULL ? why : path);
    }
    if (symbol == NULL) {
        return vlj_fail(VLJ_E_BACKEND_MISSING, "backend openvino: %s is not a library of this package's operators",
                        path);
    }
    memcpy(&built_for, &symbol, sizeof symbol);
    vlj_status status = vlj_openvino_check(api, api->ov_get_openvino_version(&version), VLJ_E_BACKEND_MISSING, path);
    if (status != VLJ_OK) {
        return status;
    }
    if (!same_version(version.build, built_for())) {
        status = vlj_fail(VLJ_E_BACKEND_MISSING,
                          "backend openvino: %s was built for OpenVINO %s, and version %.60s runs here: build target "
                          "vljepa_openvino_ops anew",
                          path, built_for(), version.build != NULL ? version.build : "unknown");
    }
    api->ov_version_free(&version);
    return status;
}

vlj_status vlj_openvino_take_ops(const vlj_openvino_api *api, const vlj_host *host, const char *path, uint32_t *width) {
    char beside[PATH_MAX];
    const char *library = path;
    vlj_status status = VLJ_OK;
    *width = 0;
    if (path == NULL) {
        if (!find_beside(beside, sizeof beside)) {
            return VLJ_OK;
        }
        library = beside;
    }
    if (vlj_attention_kernels_best(HEAD_WIDTH)->isa == VLJ_ISA_GENERIC) {
        status = vlj_fail(VLJ_E_BACKEND_MISSING,
                          "backend openvino: the operators of %s need AMX with BF16, which this CPU lacks or VLJ_ISA "
                          "forbids",
                          library);
    }
    if (status == VLJ_OK) {
        status = check_library(api, library);
    }
    if (status == VLJ_OK) {
        status = vlj_openvino_extend_core(api, library);
    }
    if (status == VLJ_OK) {
        *width = HEAD_WIDTH;
        return VLJ_OK;
    }
    if (path == NULL) {
        vlj_logf(host, VLJ_LOG_INFO, "attention and products are left to OpenVINO: %s", vlj_last_error());
        return VLJ_OK;
    }
    return status;
}
