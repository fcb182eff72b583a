/* openvino_library.c: finds and loads libopenvino_c, and turns its statuses into ours. */
#include "openvino_library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "error.h"

enum { OLDEST_MAJOR = 2023 };

static pthread_mutex_t core_mutex = PTHREAD_MUTEX_INITIALIZER;
static ov_core *shared_core;
static unsigned core_users;
static int core_is_extended;

static vlj_status find_functions(void *library, const char *name, vlj_openvino_api *api) {
#define TAKE(function, type, parameters)                                                                               \
    {                                                                                                                  \
        void *symbol = dlsym(library, #function);                                                                      \
        if (symbol == NULL) {                                                                                          \
            return vlj_fail(VLJ_E_BACKEND_MISSING, "%s is not OpenVINO's C library: it has no " #function, name);      \
        }                                                                                                              \
        memcpy(&api->function, &symbol, sizeof symbol); /* ISO C has no cast from an object to a function pointer */   \
    }
    VLJ_OPENVINO_FUNCTIONS(TAKE)
#undef TAKE
    return VLJ_OK;
}

/* Bytes of 8 elements of that type; 0 when there is no such tensor. */
static size_t bytes_of_eight(const vlj_openvino_api *api, int type) {
    int64_t size = 8;
    size_t bytes = 0;
    ov_tensor *tensor = NULL;
    if (api->ov_tensor_create(type, (ov_shape){1, &size}, &tensor) != 0 || tensor == NULL) {
        return 0;
    }
    if (api->ov_tensor_get_byte_size(tensor, &bytes) != 0) {
        bytes = 0;
    }
    api->ov_tensor_free(tensor);
    return bytes;
}

/* The enum's order is boolean, bf16, f16, f32, f64, i4, i8, i16, i32, i64, some narrow ones, u8. Versions differ in
 * what stands before it and in the narrow ones: sizes tell where it begins and which is u8. */
static vlj_status find_element_types(vlj_openvino_api *api) {
    static const size_t expected[] = {8, 16, 16, 32, 64, 4, 8, 16, 32, 64}; /* bytes of 8 elements */
    enum { COUNT = sizeof expected / sizeof expected[0], NARROW = 12 };
    for (int first = 0; first < 4; first++) {
        int same = 0;
        while (same < COUNT && bytes_of_eight(api, first + same) == expected[same]) {
            same++;
        }
        int unsigned_byte = first + COUNT;
        while (same == COUNT && unsigned_byte < first + COUNT + NARROW && bytes_of_eight(api, unsigned_byte) != 8) {
            unsigned_byte++;
        }
        if (same == COUNT && unsigned_byte < first + COUNT + NARROW) {
            api->element_types[VLJ_BFLOAT16] = first + 1;
            api->element_types[VLJ_FLOAT16] = first + 2;
            api->element_types[VLJ_FLOAT32] = first + 3;
            api->element_types[VLJ_INT8] = first + 6;
            api->element_types[VLJ_INT64] = first + 9;
            api->element_types[VLJ_UINT8] = unsigned_byte;
            return VLJ_OK;
        }
    }
    return vlj_fail(VLJ_E_BACKEND_MISSING, "this version of OpenVINO has element types that this library doesn't know");
}

vlj_status vlj_openvino_load(const char *path, vlj_openvino_api *api) {
    const char *name = path != NULL ? path : "libopenvino_c.so";
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        const char *why = dlerror();
        return vlj_fail(VLJ_E_BACKEND_MISSING,
                        "cannot load OpenVINO: %s. Name the library in options.openvino_library (Python's openvino "
                        "package has it as openvino/libs/libopenvino_c.so.*)",
                        why != NULL ? why : name);
    }
    memset(api, 0, sizeof *api);
    vlj_status status = find_functions(library, name, api);
    if (status != VLJ_OK) {
        return status;
    }
    ov_version version = {NULL, NULL};
    int major = 0;
    status = vlj_openvino_check(api, api->ov_get_openvino_version(&version), VLJ_E_BACKEND_MISSING, name);
    if (status != VLJ_OK) {
        return status;
    }
    if (version.build == NULL || sscanf(version.build, "%d", &major) != 1 || major < OLDEST_MAJOR) {
        status = vlj_fail(VLJ_E_BACKEND_MISSING, "OpenVINO is version %.60s, expected %d or newer",
                          version.build != NULL ? version.build : "unknown", OLDEST_MAJOR);
    }
    api->ov_version_free(&version);
    return status != VLJ_OK ? status : find_element_types(api);
}

/* OpenVINO's messages begin with lines that tell where in its sources a check failed: what matters comes after them. */
static const char *skip_places(const char *message) {
    static const char *const preambles[] = {"Exception from ", "Check '", "FrontEnd API failed", "Model wasn't fully",
                                            "Summary:"};
    for (const char *line = message; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        int skipped = length == 0;
        for (size_t i = 0; i < sizeof preambles / sizeof preambles[0]; i++) {
            skipped |= strncmp(line, preambles[i], strlen(preambles[i])) == 0;
        }
        if (!skipped) {
            return line;
        }
        line += length + (line[length] == '\n');
    }
    return message;
}

vlj_status vlj_openvino_check(const vlj_openvino_api *api, int code, vlj_status otherwise, const char *what) {
    if (code == 0) {
        return VLJ_OK;
    }
    const char *message = api->ov_get_last_err_msg();
    if (message == NULL || message[0] == '\0') {
        return vlj_fail(otherwise, "%s: OpenVINO: %s", what, api->ov_get_error_info(code));
    }
    vlj_fail(otherwise, "%s: OpenVINO: %s", what, skip_places(message));
    api->ov_free(message);
    return otherwise;
}

vlj_status vlj_openvino_take_core(const vlj_openvino_api *api, ov_core **core) {
    vlj_status status = VLJ_OK;
    pthread_mutex_lock(&core_mutex);
    if (shared_core == NULL) {
        status = vlj_openvino_check(api, api->ov_core_create(&shared_core), VLJ_E_BACKEND, "OpenVINO's core");
    }
    if (status == VLJ_OK) {
        core_users++;
        *core = shared_core;
    }
    pthread_mutex_unlock(&core_mutex);
    return status;
}

void vlj_openvino_return_core(const vlj_openvino_api *api) {
    pthread_mutex_lock(&core_mutex);
    if (--core_users == 0) {
        api->ov_core_free(shared_core);
        shared_core = NULL;
        core_is_extended = 0;
    }
    pthread_mutex_unlock(&core_mutex);
}

vlj_status vlj_openvino_extend_core(const vlj_openvino_api *api, const char *path) {
    vlj_status status = VLJ_OK;
    pthread_mutex_lock(&core_mutex);
    if (!core_is_extended) {
        status = vlj_openvino_check(api, api->ov_core_add_extension(shared_core, path), VLJ_E_BACKEND_MISSING, path);
        core_is_extended = status == VLJ_OK;
    }
    pthread_mutex_unlock(&core_mutex);
    return status;
}
