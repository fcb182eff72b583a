/* onnx_attention.h: each layer's attention in a component's ONNX as one node, for backends with an operator for it. */
#ifndef VLJ_BACKENDS_ONNX_ATTENTION_H
#define VLJ_BACKENDS_ONNX_ATTENTION_H

#include "onnx_rewrite.h"

/* Replaces what export writes between a layer's fused projection and its output projection by
 *
 *   vljepa::RotaryAttention(qkv [B,N,(heads + 2 kv_heads) * width], cosine [N,width], sine [N,width]
 *                           [, mask [B,1,1,N]] [, scale []]) -> [B,N,heads * width]
 *
 * with the attributes heads, kv_heads, masked, quantised: the last two say which of the optional inputs are there.
 * With a scale the result is int8, as a QuantizeLinear with zero point 0 gives it: where that is all that takes the
 * merged heads, it goes into the node.
 *
 * (kernels/attention.h), where every operator, attribute, constant and use is the expected one and heads are `width`
 * wide. Shapes that only a shape inference knows are left to the operator to check. Anything else stays as it is, and
 * so does a message that isn't ONNX. VLJ_E_MEMORY is the only failure.
 */
vlj_status vlj_onnx_fuse_attention(const vlj_host *host, const uint8_t *bytes, size_t size, uint32_t width,
                                   vlj_fused_onnx *fused);

#endif
