/* onnx_linear_match.h: which nodes of an ONNX graph one QuantisedLinear takes the place of (onnx_linear.h). */
#ifndef VLJ_BACKENDS_ONNX_LINEAR_MATCH_H
#define VLJ_BACKENDS_ONNX_LINEAR_MATCH_H

#include "onnx_graph.h"

enum { VLJ_ONNX_LAYER_NORM = 1, VLJ_ONNX_RMS_NORM = 2, VLJ_ONNX_GELU = 1, VLJ_ONNX_SILU = 2 };

typedef struct vlj_onnx_linear {
    vlj_onnx_node *product, *quantiser;              /* the latter before it; NULL: x comes rounded */
    vlj_onnx_node *dequantiser, *weight_dequantiser; /* its inputs' */
    vlj_onnx_node *last;                             /* of the nodes from the product on: the call stands there */
    span x, in_scale, weights, weight_scale, weight_zero, bias, norm_weight, norm_bias, factor, sum, out_scale;
    span out; /* those that aren't there are empty */
    int64_t inner, columns;
    int norm, activation, rounded, bfloat16; /* as in the node */
    uint32_t epsilon;                        /* the bits of a float */
} vlj_onnx_linear;

/* Finds all, at most as many as there are MatMul nodes; how many. Nodes from the products on that are taken become
 * `replaced`, the last one of each with its product as `start`; what comes before them, which others may use too,
 * becomes `spare`. */
size_t vlj_onnx_match_linear(const vlj_onnx_graph *g, vlj_onnx_linear *found);

#endif
