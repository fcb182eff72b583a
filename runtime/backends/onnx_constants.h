/* onnx_constants.h: what initializers and attributes of an ONNX graph hold, beyond onnx_graph.h. */
#ifndef VLJ_BACKENDS_ONNX_CONSTANTS_H
#define VLJ_BACKENDS_ONNX_CONSTANTS_H

#include "onnx_graph.h"

/* An initializer of that type (TYPE_...) and rank; `sizes` takes that many. Its content may lie in another file. */
int vlj_onnx_has_rank(const vlj_onnx_graph *g, span name, int64_t type, int64_t *sizes, size_t rank);
/* An initializer [size] of that type. */
int vlj_onnx_is_vector(const vlj_onnx_graph *g, span name, int64_t type, int64_t size);
/* An initializer [size], or with sizes of 1 before it. */
int vlj_onnx_is_row(const vlj_onnx_graph *g, span name, int64_t type, int64_t size);
/* An int8 vector of zeros, in the message itself. */
int vlj_onnx_is_int8_zeros(const vlj_onnx_graph *g, span name, int64_t size);
/* The bits of a float32 initializer of rank 0 in the message itself; 0 where it isn't one. */
int vlj_onnx_number(const vlj_onnx_graph *g, span name, uint32_t *bits);
/* An initializer, if a graph's input may take its place too, or what a node makes of nothing else. */
int vlj_onnx_is_constant(const vlj_onnx_graph *g, span name);

/* The bits of an attribute that is a float32; 0 where it isn't one. */
int vlj_onnx_float_attribute(const vlj_onnx_node *node, const char *name, uint32_t *bits);
int vlj_onnx_has_text(const vlj_onnx_node *node, const char *name, const char *characters);

#endif
