"""Puts explicit Q/DQ pairs around linear layers, and checks node by node that none was missed.

Weights are stored in 8 bits with a DequantizeLinear (per output channel, symmetric); activations
get QuantizeLinear and DequantizeLinear (per tensor, symmetric). Residual, rotary and norm
arithmetic stays float, and so does attention unless asked for. ONNX Runtime, OpenVINO and TensorRT
take the same graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..export.errors import ExportError
from .formats import FORMATS, Array, Format
from .linear import (
    OUTLIERS,
    WEIGHT_INPUT,
    AttentionProduct,
    LinearLayer,
    is_weight,
    linear_layers,
    own_initializer,
    set_initializer,
    stayed_float,
    weight_array,
)
from .outliers import rest

# 8-bit weights and input; 8-bit weights alone; all float.
Scheme = Literal["full", "weights", "float"]
# Softmax gives 0..1, so that its scale is known without looking.
SOFTMAX_AMAX = 1.0
# Pixels lose nothing: shifted by this they are the 256 values of int8.
PIXEL_OFFSET = 128
# Tables of fewer elements stay as they are.
_SMALL_TABLE = 2048


@dataclass(frozen=True)
class LayerPlan:
    """How one layer is stored. `amax`: of its input, for scheme `full`. `bias`: added to it.
    `outliers`: channels of its input that stay float. `stored`: its weights' format, where that
    isn't the bundle's."""

    scheme: Scheme
    amax: float = 0.0
    bias: npt.NDArray[np.float32] | None = None
    outliers: tuple[int, ...] = ()
    stored: Format | None = None


def quantise_graph(
    component: str, model: ir.Model, plan: Mapping[str, LayerPlan], target: Format
) -> None:
    """Quantises the layers of one graph in place, each as `plan` says by name.

    ExportError names layers that have no plan, and those that stayed float without being told to.
    """
    layers = linear_layers(component, model)
    if missing := [layer.name for layer in layers if layer.name not in plan]:
        raise ExportError(f"no calibration for {', '.join(missing)}", "calibrate on more windows")
    inserters: dict[Format, _Inserter] = {}
    for layer in layers:
        stored_as = plan[layer.name].stored or layer.stored_as(target)
        inserter = inserters.setdefault(stored_as, _Inserter(model.graph, stored_as))
        inserter.layer(layer, plan[layer.name])
    for inserter in inserters.values():
        inserter.remove_unused()
    if target == "fp8":
        model.ir_version = max(model.ir_version, 9)  # the first that has FP8 numbers
    check_placement(component, model, {n for n, p in plan.items() if p.scheme == "float"})


def quantise_attention(
    products: Iterable[AttentionProduct],
    amax: Mapping[str, float],
    model: ir.Model,
    target: Format,
) -> None:
    """Q/DQ on queries, keys, values and the softmax's output; `amax` by `AttentionProduct.key`."""
    inserter = _Inserter(model.graph, target)
    for product in products:
        for position, key in enumerate(product.keys):
            limit = SOFTMAX_AMAX if key is None else amax[key]
            inserter.operand(product.node, position, limit, product.name)


def store_tables_small(model: ir.Model) -> None:
    """Stores tables that are no linear layer's in less.

    Embedding rows take 8 bits a value and a scale each, and are scaled once they are gathered;
    other tables (rotary) become float16, cast back once, when a session opens. What float16 cannot
    hold (the lowest number of float32, in masks) stays as it is.
    """
    graph = model.graph
    inserter = _Inserter(graph, "int8")
    for name, table in list(graph.initializers.items()):
        if not is_weight(table) or table.dtype != ir.DataType.FLOAT:
            continue
        uses = list(table.uses())
        if any(WEIGHT_INPUT.get(use.node.op_type) == use.idx for use in uses):
            continue
        array = weight_array(table)
        if array.size < _SMALL_TABLE or np.abs(array).max() > np.finfo(np.float16).max:
            continue
        if all(use.node.op_type == "Gather" and use.idx == 0 for use in uses) and (
            len(array) > array.shape[1]
        ):
            for use in uses:
                inserter.rows(use.node, name, array)
        else:
            half = set_initializer(graph, f"{name}.float16", array.astype(np.float16))
            cast = inserter.cast(half, f"{name}/Cast", uses[0].node)
            for use in uses:
                use.node.replace_input_with(use.idx, cast)
            graph.sort()
    inserter.remove_unused()


def check_placement(component: str, model: ir.Model, kept_float: Iterable[str] = ()) -> None:
    """ExportError with the name of each linear layer that stayed float against the plan."""
    wrong = [name for name in stayed_float(component, model) if name not in set(kept_float)]
    if wrong:
        raise ExportError(
            f"linear layers stayed float: {', '.join(wrong)}", "this is a fault in calibration"
        )


class _Inserter:
    def __init__(self, graph: ir.Graph, target: Format) -> None:
        self.graph, self.format = graph, FORMATS[target]
        self._weights: dict[str, ir.Value] = {}
        self._readers: Counter[str] = Counter()

    def layer(self, layer: LinearLayer, plan: LayerPlan) -> None:
        if plan.bias is not None and (layer.bias is not None or _rank(layer.node.outputs[0]) > 2):
            self._add_bias(layer, plan.bias)
        if plan.scheme == "float":
            return
        if plan.scheme == "full" and not layer.pool:
            if layer.from_bytes is not None:
                self._pixels(layer)
            else:
                self._activation(layer, plan.amax)
        position = 2 if layer.pool else 1
        layer.node.replace_input_with(position, self._weight(layer, plan.outliers))
        if plan.scheme == "full" and layer.bias_add is not None and layer.bias is not None:
            self._keep_from_gemm(layer)
        if plan.outliers:
            self._outliers(layer, plan.outliers)

    def _outliers(self, layer: LinearLayer, channels: Sequence[int]) -> None:
        """Adds what the outlier channels give, by a float product of them alone."""
        output, weight = layer.node.outputs[0], layer.weight.name
        users = list(output.uses())
        scope = (layer.node.name or layer.name).rsplit("/", 1)[0] + OUTLIERS
        index = np.array(channels, np.int64)
        which = set_initializer(self.graph, f"{weight}.outliers.channels", index)
        rows = set_initializer(self.graph, f"{weight}.outliers", layer.array[index])
        axis = {"axis": _rank(layer.activation) - 1}
        gather = ir.node("Gather", [layer.activation, which], axis, name=f"{scope}Gather")
        product = ir.node("MatMul", [gather.outputs[0], rows], name=f"{scope}MatMul")
        total = ir.node("Add", [output, product.outputs[0]], name=f"{scope}Add")
        for node in (gather, product, total):
            node.outputs[0].name, node.outputs[0].dtype = node.name, ir.DataType.FLOAT
        product.outputs[0].shape = total.outputs[0].shape = output.shape
        self.graph.insert_after(layer.node, [gather, product, total])
        for use in users:
            use.node.replace_input_with(use.idx, total.outputs[0])
        self._replace_output(output, total.outputs[0])

    def _keep_from_gemm(self, layer: LinearLayer) -> None:
        """Gives a bias the rank of what it is added to.

        ONNX Runtime turns MatMul and the Add of a plain vector into Gemm before it looks for Q/DQ,
        and a Gemm with a float bias then stays float without a word.
        """
        output = layer.node.outputs[0]
        add = layer.bias_add
        if add is None or _rank(output) < 3:
            return  # nothing helps there; what is left has one row
        position, value = next(
            (i, v) for i, v in enumerate(add.inputs) if v is not None and v.is_initializer()
        )
        array = weight_array(value).reshape((1,) * (_rank(output) - 1) + (-1,))
        add.replace_input_with(position, set_initializer(self.graph, f"{value.name}.row", array))

    def remove_unused(self) -> None:
        """Drops float weights that nothing uses any more."""
        for name, value in list(self.graph.initializers.items()):
            if not value.uses() and value not in self.graph.outputs:
                self.graph.initializers.pop(name)

    def _weight(self, layer: LinearLayer, outliers: Sequence[int] = ()) -> ir.Value:
        name = layer.weight.name
        assert name is not None
        if name not in self._weights:
            array = rest(layer.array, outliers)
            amax = np.abs(array).max(0)
            # A column of zeros needs some scale; any will do.
            scale = np.where(amax > 0, amax / self.format.largest, 1.0).astype(np.float32)
            stored = set_initializer(
                self.graph, f"{name}.quantised", self.format.encode(array, scale)
            )
            self._weights[name] = self._node(
                "DequantizeLinear",
                [
                    stored,
                    set_initializer(self.graph, f"{name}.scale", scale),
                    self._zeros(f"{name}.zero_point", (len(scale),)),
                ],
                f"{name}/DequantizeLinear",
                layer.node,
                {"axis": 1},
            )
        return self._weights[name]

    def _activation(self, layer: LinearLayer, amax: float) -> None:
        if not amax > 0:
            raise ExportError(
                f"{layer.name}: its input was 0 on all windows, which gives no range",
                "calibrate on clips that show more",
            )
        layer.node.replace_input_with(0, self._own_pair(layer.activation, amax, layer.node))

    def _own_pair(self, value: ir.Value, amax: float, user: ir.Node) -> ir.Value:
        """A pair for one reader of `value`.

        ONNX Runtime on x86 turns int8 into uint8 only where one node reads the quantised value, and
        leaves the others in float; it also merges equal pairs. So each further reader gets a scale
        that differs in its last bit.
        """
        name = value.name
        assert name is not None
        scale = np.float32(amax / self.format.largest)
        readers = self._readers[name]
        for _ in range(readers):
            scale = np.nextafter(scale, np.float32(np.inf))
        self._readers[name] += 1
        suffix = f"_{readers + 1}" if readers else ""
        return self.pair(value, np.array(scale), user, suffix)

    def pair(self, value: ir.Value, scale: Array, before: ir.Node, suffix: str = "") -> ir.Value:
        """Quantises and dequantises a value for the nodes from `before` on."""
        name = f"{value.name}/{{}}{suffix}"
        stored_scale = set_initializer(self.graph, name.format("scale"), scale)
        name_of_zero = "zero_point" if self.format.name == "int8" else "zero_point_fp8"
        zero = self._zeros(name_of_zero, ())
        stored = self._node(
            "QuantizeLinear", [value, stored_scale, zero], name.format("QuantizeLinear"), before
        )
        stored.type = ir.TensorType(self.format.onnx_type)
        return self._node(
            "DequantizeLinear",
            [stored, stored_scale, zero],
            name.format("DequantizeLinear"),
            before,
        )

    def operand(self, node: ir.Node, position: int, amax: float, what: str) -> None:
        """Quantises one input of a node."""
        if not amax > 0:
            raise ExportError(f"{what}: an input was 0 on all windows", "calibrate on other clips")
        value = node.inputs[position]
        assert value is not None and value.name is not None
        node.replace_input_with(position, self._own_pair(value, amax, node))

    def rows(self, gather: ir.Node, name: str, table: Array) -> None:
        """A Gather of rows from an 8-bit table, scaled after it."""
        amax = np.abs(table).max(1, keepdims=True)
        scale = np.where(amax > 0, amax / self.format.largest, 1.0).astype(np.float32)
        stored = set_initializer(self.graph, f"{name}.quantised", self.format.encode(table, scale))
        scales = set_initializer(self.graph, f"{name}.scale", scale)
        indices, output = gather.inputs[1], gather.outputs[0]
        assert indices is not None and output.name is not None
        kept = output.name
        gather.replace_input_with(0, stored)
        output.name, output.dtype = f"{kept}/stored", self.format.onnx_type
        users = list(output.uses())
        cast = ir.node("Cast", [output], {"to": int(ir.DataType.FLOAT)}, name=f"{kept}/Cast")
        which = ir.node("Gather", [scales, indices], name=f"{kept}/scale")
        scaled = ir.node("Mul", [cast.outputs[0], which.outputs[0]], name=f"{kept}/Mul")
        for node, value_name in ((cast, f"{kept}/Cast"), (which, f"{kept}/scale"), (scaled, kept)):
            node.outputs[0].name, node.outputs[0].dtype = value_name, ir.DataType.FLOAT
        cast.outputs[0].shape = scaled.outputs[0].shape = output.shape
        self.graph.insert_after(gather, [cast, which, scaled])
        for use in users:
            use.node.replace_input_with(use.idx, scaled.outputs[0])

    def cast(self, value: ir.Value, name: str, before: ir.Node) -> ir.Value:
        """A value as float32."""
        return self._node("Cast", [value], name, before, {"to": int(ir.DataType.FLOAT)})

    def _pixels(self, layer: LinearLayer) -> None:
        """Bytes become int8 without loss: 128 is taken off, and what that takes off is added."""
        offset = set_initializer(self.graph, "pixel_offset", np.array(PIXEL_OFFSET, np.float32))
        shifted = self._node(
            "Sub", [layer.activation, offset], f"{layer.activation.name}/Sub", layer.node
        )
        layer.node.replace_input_with(0, self.pair(shifted, np.array(1, np.float32), layer.node))
        self._add_bias(layer, PIXEL_OFFSET * layer.array.sum(0, dtype=np.float64))

    def _add_bias(self, layer: LinearLayer, more: Array) -> None:
        """Adds a vector [out] to the layer's output."""
        if layer.bias is not None:
            assert layer.bias.name is not None
            # Another layer may share the stored vector: exporters merge equal ones.
            bias = own_initializer(self.graph, layer.bias, layer.bias_add or layer.node)
            bias.const_value = ir.tensor(
                (weight_array(bias) + more).astype(np.float32), name=bias.name
            )
            return
        output = layer.node.outputs[0]
        scope = (layer.node.name or layer.name).rsplit("/", 1)[0]
        row = np.asarray(more, np.float32).reshape((1,) * (_rank(output) - 1) + (-1,))
        bias = set_initializer(self.graph, f"{scope}.bias", row)
        users = list(output.uses())
        added = ir.node("Add", [output, bias], name=f"{scope}/Add_bias")
        added.outputs[0].name = f"{scope}/Add_bias"
        added.outputs[0].shape, added.outputs[0].dtype = output.shape, ir.DataType.FLOAT
        self.graph.insert_after(layer.node, added)
        for use in users:
            use.node.replace_input_with(use.idx, added.outputs[0])
        self._replace_output(output, added.outputs[0])

    def _replace_output(self, old: ir.Value, new: ir.Value) -> None:
        """Where `old` was an output of the graph, `new` takes its place and name."""
        for i, value in enumerate(self.graph.outputs):
            if value is old:
                old.name, new.name = f"{old.name}/product", old.name
                self.graph.outputs[i] = new

    def _zeros(self, name: str, shape: tuple[int, ...]) -> ir.Value:
        return set_initializer(self.graph, name, np.zeros(shape, self.format.storage))

    def _node(
        self,
        operator: str,
        inputs: list[ir.Value],
        name: str,
        before: ir.Node,
        attributes: Mapping[str, int] | None = None,
    ) -> ir.Value:
        node = ir.node(operator, inputs, attributes=attributes, name=name)
        output = node.outputs[0]
        output.name, output.shape, output.dtype = name, inputs[0].shape, ir.DataType.FLOAT
        self.graph.insert_before(before, node)
        return output


def _rank(value: ir.Value) -> int:
    """Number of axes; 1 where the graph doesn't tell."""
    return 1 if value.shape is None else len(value.shape)
