/* onnx_linear.h: a component's INT8 linear maps as one node each, for backends with an operator for them. */
#ifndef VLJ_BACKENDS_ONNX_LINEAR_H
#define VLJ_BACKENDS_ONNX_LINEAR_H

#include "onnx_rewrite.h"

/* Replaces a product of quantised values and quantised weights, with what comes right before and after, by
 *
 *   vljepa::QuantisedLinear(x [..,K], in_scale [], weight int8 [K,N], weight_scale [N] [, weight_zero int8 [N]]
 *                           [, bias [N]] [, norm_weight [K]] [, norm_bias [K]] [, factor [..,N]] [, sum [..,N]]
 *                           [, out_scale []]) -> [..,N]
 *     = activation(norm(x) W * scale + bias) * factor + sum
 *
 * (kernels/linear.h) with the attributes
 *
 *   biased, norm_biased, factored, summed  which of the optional inputs are there
 *   unread      1: weight_zero is, for it lies in another file; the operator is to check that it is zero
 *   norm        0: none; 1: LayerNormalization; 2: RMS, without a bias; and its epsilon, 0 without
 *   activation  0: none; 1: Gelu, with the error function; 2: SiLU
 *   rounded     1: x is int8 already; 0: it is rounded by in_scale, after the norm
 *   quantised   1: the result is int8, as a QuantizeLinear by out_scale with zero point 0 gives it
 *   bfloat16    1: the result is BF16, for all that take it is the projection of a RotaryAttention (onnx_attention.h,
 *               which goes first) or the factor of another such node
 *
 * The bias has any number of leading sizes of 1. Whether a factor or a sum has as many rows as the result, only a shape
 * inference knows: the operator is to check it, and that a bias has no more sizes than x. What isn't the expected
 * operator, attribute, constant or use stays as it is, and so does a message that isn't ONNX. VLJ_E_MEMORY is the only
 * failure. vlj_onnx_fused_free frees the result.
 */
vlj_status vlj_onnx_fuse_linear(const vlj_host *host, const uint8_t *bytes, size_t size, vlj_fused_onnx *fused);

#endif
