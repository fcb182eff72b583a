/* openvino_api.h: the part of OpenVINO's C interface that backend "openvino" calls, declared by us.
 *
 * The functions are found by name in libopenvino_c.so (OpenVINO, Apache-2.0), so no header or library is needed at
 * build time. Structs that go by value are copied from its interface and have not changed since 2022. The numbers of
 * element types have: vlj_openvino_load finds them by what they do.
 */
#ifndef VLJ_BACKENDS_OPENVINO_API_H
#define VLJ_BACKENDS_OPENVINO_API_H

#include <stddef.h>
#include <stdint.h>

typedef struct ov_core ov_core;
typedef struct ov_model ov_model;
typedef struct ov_compiled_model ov_compiled_model;
typedef struct ov_infer_request ov_infer_request;
typedef struct ov_tensor ov_tensor;
typedef struct ov_output_const_port ov_port;

typedef struct ov_version {
    const char *build; /* "2026.4.1-..." */
    const char *description;
} ov_version;
typedef struct ov_shape {
    int64_t rank;
    int64_t *sizes;
} ov_shape;
typedef struct ov_dimension {
    int64_t min, max; /* equal where the size is fixed */
} ov_dimension;
typedef struct ov_partial_shape {
    ov_dimension rank;
    ov_dimension *sizes;
} ov_partial_shape;

/* FUNCTION(name, return type, parameters); int results are statuses, 0 is success. */
#define VLJ_OPENVINO_FUNCTIONS(FUNCTION)                                                                               \
    FUNCTION(ov_get_openvino_version, int, (ov_version * version))                                                     \
    FUNCTION(ov_version_free, void, (ov_version * version))                                                            \
    FUNCTION(ov_get_error_info, const char *, (int status))                                                            \
    FUNCTION(ov_get_last_err_msg, const char *, (void))                                                                \
    FUNCTION(ov_free, void, (const char *content))                                                                     \
    FUNCTION(ov_core_create, int, (ov_core * *core))                                                                   \
    FUNCTION(ov_core_free, void, (ov_core * core))                                                                     \
    FUNCTION(ov_core_add_extension, int, (const ov_core *core, const char *path))                                      \
    FUNCTION(ov_core_read_model_from_memory_buffer, int,                                                               \
             (const ov_core *core, const char *text, size_t bytes, const ov_tensor *weights, ov_model **model))        \
    FUNCTION(ov_model_free, void, (ov_model * model))                                                                  \
    FUNCTION(ov_model_reshape, int,                                                                                    \
             (const ov_model *model, const char **names, const ov_partial_shape *shapes, size_t count))                \
    FUNCTION(ov_core_compile_model, int,                                                                               \
             (const ov_core *core, const ov_model *model, const char *device, size_t property_arguments,               \
              ov_compiled_model **compiled, ...))                                                                      \
    FUNCTION(ov_compiled_model_free, void, (ov_compiled_model * compiled))                                             \
    FUNCTION(ov_compiled_model_inputs_size, int, (const ov_compiled_model *compiled, size_t *count))                   \
    FUNCTION(ov_compiled_model_outputs_size, int, (const ov_compiled_model *compiled, size_t *count))                  \
    FUNCTION(ov_compiled_model_input_by_index, int, (const ov_compiled_model *compiled, size_t index, ov_port **port)) \
    FUNCTION(ov_compiled_model_output_by_index, int,                                                                   \
             (const ov_compiled_model *compiled, size_t index, ov_port **port))                                        \
    FUNCTION(ov_compiled_model_input_by_name, int,                                                                     \
             (const ov_compiled_model *compiled, const char *name, ov_port **port))                                    \
    FUNCTION(ov_compiled_model_output_by_name, int,                                                                    \
             (const ov_compiled_model *compiled, const char *name, ov_port **port))                                    \
    FUNCTION(ov_compiled_model_create_infer_request, int,                                                              \
             (const ov_compiled_model *compiled, ov_infer_request **request))                                          \
    FUNCTION(ov_port_get_any_name, int, (const ov_port *port, char **name))                                            \
    FUNCTION(ov_port_get_element_type, int, (const ov_port *port, int *type))                                          \
    FUNCTION(ov_port_get_partial_shape, int, (const ov_port *port, ov_partial_shape *shape))                           \
    FUNCTION(ov_partial_shape_free, void, (ov_partial_shape * shape))                                                  \
    FUNCTION(ov_output_const_port_free, void, (ov_port * port))                                                        \
    FUNCTION(ov_infer_request_set_tensor_by_const_port, int,                                                           \
             (ov_infer_request * request, const ov_port *port, const ov_tensor *tensor))                               \
    FUNCTION(ov_infer_request_get_tensor_by_const_port, int,                                                           \
             (const ov_infer_request *request, const ov_port *port, ov_tensor **tensor))                               \
    FUNCTION(ov_infer_request_infer, int, (ov_infer_request * request))                                                \
    FUNCTION(ov_infer_request_free, void, (ov_infer_request * request))                                                \
    FUNCTION(ov_tensor_create, int, (int type, ov_shape shape, ov_tensor **tensor))                                    \
    FUNCTION(ov_tensor_create_from_host_ptr, int, (int type, ov_shape shape, void *data, ov_tensor **tensor))          \
    FUNCTION(ov_tensor_data, int, (const ov_tensor *tensor, void **data))                                              \
    FUNCTION(ov_tensor_get_byte_size, int, (const ov_tensor *tensor, size_t *bytes))                                   \
    FUNCTION(ov_tensor_free, void, (ov_tensor * tensor))

typedef struct vlj_openvino_api {
#define VLJ_OPENVINO_FIELD(name, type, parameters) type(*name) parameters;
    VLJ_OPENVINO_FUNCTIONS(VLJ_OPENVINO_FIELD)
#undef VLJ_OPENVINO_FIELD
    int element_types[6]; /* this version's numbers, by vlj_dtype */
} vlj_openvino_api;

#endif
