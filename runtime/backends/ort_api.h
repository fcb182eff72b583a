/* ort_api.h: the part of ONNX Runtime's C interface that backend "ort" calls, declared by us.
 *
 * The library exports OrtGetApiBase, which gives a table of function pointers. The table only ever grows at its end, so
 * a slot's number is fixed for good; the numbers below are positions in `struct OrtApi` of onnxruntime_c_api.h (ONNX
 * Runtime, MIT licence). vlj_ort_load checks some of them by what they do before the rest are trusted.
 */
#ifndef VLJ_BACKENDS_ORT_API_H
#define VLJ_BACKENDS_ORT_API_H

#include <stddef.h>
#include <stdint.h>

typedef struct OrtStatus OrtStatus; /* NULL is success */
typedef struct OrtEnv OrtEnv;
typedef struct OrtSession OrtSession;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtValue OrtValue;
typedef struct OrtTypeInfo OrtTypeInfo;
typedef struct OrtTensorTypeAndShapeInfo OrtTensorInfo;
typedef struct OrtAllocator OrtAllocator;
typedef struct OrtCUDAProviderOptionsV2 OrtCudaOptions;
typedef struct OrtTensorRTProviderOptionsV2 OrtTensorRtOptions;

typedef void (*vlj_ort_slot)(void);
typedef struct vlj_ort_api_base {
    const vlj_ort_slot *(*get_api)(uint32_t version); /* NULL when the library is older than `version` */
    const char *(*get_version)(void);                 /* "1.31.1" */
} vlj_ort_api_base;
typedef const vlj_ort_api_base *(*vlj_ort_get_api_base)(void);

enum {
    VLJ_ORT_OLDEST_API = 11, /* has every slot below but the next line's */
    VLJ_ORT_FILES_IN_MEMORY_API = 18,
};

/* Values of ONNX Runtime's own enums. */
enum {
    VLJ_ORT_LOG_ERROR = 3,
    VLJ_ORT_SEQUENTIAL = 0,
    VLJ_ORT_OPTIMISE_ALL = 99,
    VLJ_ORT_ARENA_ALLOCATOR = 1,
    VLJ_ORT_DEFAULT_MEMORY = 0,
    VLJ_ORT_ERROR_FAIL = 1,
};
enum { /* tensor element types */
       VLJ_ORT_FLOAT = 1,
       VLJ_ORT_UINT8 = 2,
       VLJ_ORT_INT8 = 3,
       VLJ_ORT_INT64 = 7,
       VLJ_ORT_FLOAT16 = 10,
       VLJ_ORT_BFLOAT16 = 16,
};

typedef void (*vlj_ort_log_function)(void *param, int severity, const char *category, const char *log_id,
                                     const char *place, const char *message);

/* SLOT(number, name, return type, parameters) */
#define VLJ_ORT_SLOTS(SLOT)                                                                                            \
    SLOT(0, CreateStatus, OrtStatus *, (int code, const char *message))                                                \
    SLOT(1, GetErrorCode, int, (const OrtStatus *status))                                                              \
    SLOT(2, GetErrorMessage, const char *, (const OrtStatus *status))                                                  \
    SLOT(4, CreateEnvWithCustomLogger, OrtStatus *,                                                                    \
         (vlj_ort_log_function log, void *param, int severity, const char *log_id, OrtEnv **env))                      \
    SLOT(7, CreateSession, OrtStatus *,                                                                                \
         (const OrtEnv *env, const char *path, const OrtSessionOptions *options, OrtSession **session))                \
    SLOT(8, CreateSessionFromArray, OrtStatus *,                                                                       \
         (const OrtEnv *env, const void *model, size_t bytes, const OrtSessionOptions *options, OrtSession **session)) \
    SLOT(9, Run, OrtStatus *,                                                                                          \
         (OrtSession * session, const OrtRunOptions *options, const char *const *input_names,                          \
          const OrtValue *const *inputs, size_t input_count, const char *const *output_names, size_t output_count,     \
          OrtValue **outputs))                                                                                         \
    SLOT(10, CreateSessionOptions, OrtStatus *, (OrtSessionOptions * *options))                                        \
    SLOT(13, SetSessionExecutionMode, OrtStatus *, (OrtSessionOptions * options, int mode))                            \
    SLOT(17, DisableMemPattern, OrtStatus *, (OrtSessionOptions * options))                                            \
    SLOT(19, DisableCpuMemArena, OrtStatus *, (OrtSessionOptions * options))                                           \
    SLOT(22, SetSessionLogSeverityLevel, OrtStatus *, (OrtSessionOptions * options, int severity))                     \
    SLOT(23, SetSessionGraphOptimizationLevel, OrtStatus *, (OrtSessionOptions * options, int level))                  \
    SLOT(24, SetIntraOpNumThreads, OrtStatus *, (OrtSessionOptions * options, int threads))                            \
    SLOT(25, SetInterOpNumThreads, OrtStatus *, (OrtSessionOptions * options, int threads))                            \
    SLOT(30, SessionGetInputCount, OrtStatus *, (const OrtSession *session, size_t *count))                            \
    SLOT(31, SessionGetOutputCount, OrtStatus *, (const OrtSession *session, size_t *count))                           \
    SLOT(33, SessionGetInputTypeInfo, OrtStatus *, (const OrtSession *session, size_t index, OrtTypeInfo **type))      \
    SLOT(34, SessionGetOutputTypeInfo, OrtStatus *, (const OrtSession *session, size_t index, OrtTypeInfo **type))     \
    SLOT(36, SessionGetInputName, OrtStatus *,                                                                         \
         (const OrtSession *session, size_t index, OrtAllocator *allocator, char **name))                              \
    SLOT(37, SessionGetOutputName, OrtStatus *,                                                                        \
         (const OrtSession *session, size_t index, OrtAllocator *allocator, char **name))                              \
    SLOT(49, CreateTensorWithDataAsOrtValue, OrtStatus *,                                                              \
         (const OrtMemoryInfo *memory, void *data, size_t bytes, const int64_t *shape, size_t rank, int element_type,  \
          OrtValue **value))                                                                                           \
    SLOT(51, GetTensorMutableData, OrtStatus *, (OrtValue * value, void **data))                                       \
    SLOT(55, CastTypeInfoToTensorInfo, OrtStatus *, (const OrtTypeInfo *type, const OrtTensorInfo **tensor))           \
    SLOT(60, GetTensorElementType, OrtStatus *, (const OrtTensorInfo *tensor, int *element_type))                      \
    SLOT(61, GetDimensionsCount, OrtStatus *, (const OrtTensorInfo *tensor, size_t *rank))                             \
    SLOT(62, GetDimensions, OrtStatus *, (const OrtTensorInfo *tensor, int64_t *shape, size_t rank))                   \
    SLOT(69, CreateCpuMemoryInfo, OrtStatus *, (int allocator_type, int memory_type, OrtMemoryInfo **memory))          \
    SLOT(71, MemoryInfoGetName, OrtStatus *, (const OrtMemoryInfo *memory, const char **name))                         \
    SLOT(76, AllocatorFree, OrtStatus *, (OrtAllocator * allocator, void *memory))                                     \
    SLOT(78, GetAllocatorWithDefaultOptions, OrtStatus *, (OrtAllocator * *allocator))                                 \
    SLOT(92, ReleaseEnv, void, (OrtEnv * env))                                                                         \
    SLOT(93, ReleaseStatus, void, (OrtStatus * status))                                                                \
    SLOT(94, ReleaseMemoryInfo, void, (OrtMemoryInfo * memory))                                                        \
    SLOT(95, ReleaseSession, void, (OrtSession * session))                                                             \
    SLOT(96, ReleaseValue, void, (OrtValue * value))                                                                   \
    SLOT(98, ReleaseTypeInfo, void, (OrtTypeInfo * type))                                                              \
    SLOT(100, ReleaseSessionOptions, void, (OrtSessionOptions * options))                                              \
    SLOT(125, GetAvailableProviders, OrtStatus *, (char ***names, int *count))                                         \
    SLOT(126, ReleaseAvailableProviders, OrtStatus *, (char **names, int count))                                       \
    SLOT(130, AddSessionConfigEntry, OrtStatus *, (OrtSessionOptions * options, const char *key, const char *value))   \
    SLOT(170, AppendTensorRt, OrtStatus *, (OrtSessionOptions * options, const OrtTensorRtOptions *tensorrt))          \
    SLOT(171, CreateTensorRtOptions, OrtStatus *, (OrtTensorRtOptions * *tensorrt))                                    \
    SLOT(172, UpdateTensorRtOptions, OrtStatus *,                                                                      \
         (OrtTensorRtOptions * tensorrt, const char *const *keys, const char *const *values, size_t count))            \
    SLOT(174, ReleaseTensorRtOptions, void, (OrtTensorRtOptions * tensorrt))                                           \
    SLOT(204, AppendCuda, OrtStatus *, (OrtSessionOptions * options, const OrtCudaOptions *cuda)) /* since API 11 */   \
    SLOT(205, CreateCudaOptions, OrtStatus *, (OrtCudaOptions * *cuda))                                                \
    SLOT(206, UpdateCudaOptions, OrtStatus *,                                                                          \
         (OrtCudaOptions * cuda, const char *const *keys, const char *const *values, size_t count))                    \
    SLOT(208, ReleaseCudaOptions, void, (OrtCudaOptions * cuda))                                                       \
    SLOT(279, AddExternalInitializersFromFilesInMemory, OrtStatus *,                                                   \
         (OrtSessionOptions * options, const char *const *names, char *const *buffers, const size_t *bytes,            \
          size_t count)) /* since API 18 */

/* ort->Run(...): the slots as typed functions. */
typedef struct vlj_ort_api {
    const vlj_ort_api_base *base; /* for operators, which take a table of a version of their own */
#define VLJ_ORT_FIELD(number, name, type, parameters) type(*name) parameters;
    VLJ_ORT_SLOTS(VLJ_ORT_FIELD)
#undef VLJ_ORT_FIELD
} vlj_ort_api;

#endif
