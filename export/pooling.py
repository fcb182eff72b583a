"""The operator `vljepa::MaskedMeanPool`: masked mean, projection and unit length in one node.

The node carries an ONNX function body of standard operators, so every runtime can run it; a runtime
with a fused kernel of that name takes the kernel instead.

    MaskedMeanPool(hidden [B,M,W], mask [B,M], weight [W,E], bias [E]) -> [B,E]
    mask holds 1 for positions that count and 0 for the others.
"""

from __future__ import annotations

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from .blocks import Projection, unit_rows

DOMAIN = "vljepa"
NAME = "MaskedMeanPool"
VERSION = 1
# Smallest norm that is divided by, as torch.nn.functional.normalize.
SMALLEST_NORM = 1e-12


class MaskedMeanPool(nn.Module):
    """Computes in PyTorch when run, and leaves one `vljepa::MaskedMeanPool` node when exported."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        projection = Projection.of(linear)
        assert projection.bias is not None
        self.weight, self.bias = projection.weight, projection.bias

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """hidden [B,M,W], mask 1/0 [B,M] -> unit rows [B,E]."""
        if torch.compiler.is_exporting():
            return torch.onnx.ops.symbolic(
                f"{DOMAIN}::{NAME}",
                (hidden, mask, self.weight, self.bias),
                dtype=torch.float32,
                shape=(hidden.shape[0], self.weight.shape[1]),
                version=VERSION,
            )
        weights = mask / mask.sum(-1, keepdim=True)
        pooled = (weights[:, None] @ hidden)[:, 0]
        return unit_rows(pooled @ self.weight + self.bias)


def function_body(opset: int) -> onnx.FunctionProto:
    """The body in standard operators. The sum is a MatMul: one pass, no masked copy of `hidden`."""

    def constant(name: str, tensor: onnx.TensorProto) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [name], value=tensor)

    axis_one = helper.make_tensor("axis_one", TensorProto.INT64, [1], [1])
    last_axis = helper.make_tensor("last_axis", TensorProto.INT64, [1], [-1])
    smallest = helper.make_tensor("smallest", TensorProto.FLOAT, [], [SMALLEST_NORM])
    nodes = [
        constant("axis_one", axis_one),
        constant("last_axis", last_axis),
        constant("smallest", smallest),
        helper.make_node("ReduceSum", ["mask", "last_axis"], ["count"], keepdims=1),
        helper.make_node("Div", ["mask", "count"], ["share"]),
        helper.make_node("Unsqueeze", ["share", "axis_one"], ["row"]),
        helper.make_node("MatMul", ["row", "hidden"], ["mean_row"]),
        helper.make_node("Squeeze", ["mean_row", "axis_one"], ["mean"]),
        helper.make_node("MatMul", ["mean", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["projected"]),
        helper.make_node("ReduceL2", ["projected", "last_axis"], ["norm"], keepdims=1),
        helper.make_node("Max", ["norm", "smallest"], ["length"]),
        helper.make_node("Div", ["projected", "length"], ["embedding"]),
    ]
    return helper.make_function(
        DOMAIN,
        NAME,
        ["hidden", "mask", "weight", "bias"],
        ["embedding"],
        nodes,
        [helper.make_opsetid("", opset)],
    )
