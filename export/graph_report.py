"""Prints what the rewrites do: nodes before and after, and ONNX Runtime against PyTorch.

python -m vljepa_edge.export.graph_report                     # nano, random weights
python -m vljepa_edge.export.graph_report --checkpoint FOLDER
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import torch
from torch import Tensor, nn

from ..model import checkpoint
from ..model.config import PRESETS, TransformerConfig, VLJEPAConfig
from ..model.vl_jepa import VLJEPA
from .components import component_names, component_spec, dynamic_shapes, example_inputs
from .golden import golden_frames
from .onnx_export import OPSET, export_component, quiet


class Reference(nn.Module):
    """A component as `model/` has it, with the inputs of the exported one."""

    def __init__(self, name: str, model: VLJEPA) -> None:
        super().__init__()
        self.model = model
        self.call = _references(model)[name]

    def forward(self, *inputs: Tensor) -> Any:
        """Whatever the component takes and gives."""
        return self.call(*inputs)


def _references(model: VLJEPA) -> dict[str, Callable[..., Any]]:
    def predict(visual: Tensor, query: Tensor, mask: Tensor) -> Any:
        return model.predictor(visual.expand(query.shape[0], -1, -1), query, mask)

    components: dict[str, Callable[..., Any]] = {
        "x_encoder": model.x_encoder,
        "predictor": predict,
        "y_encoder": model.y_encoder,
    }
    if model.y_decoder is not None:
        components["y_decoder_prefix"] = model.y_decoder.soft_tokens
        components["y_decoder"] = model.y_decoder.step
    return components


def plain_nodes(name: str, model: VLJEPA) -> int:
    """Nodes that torch.onnx.export alone gives for the reference."""
    return len(plain_program(name, model).graph)


def plain_program(name: str, model: VLJEPA) -> ir.Model:
    """What torch.onnx.export alone gives for the reference."""
    with quiet():
        program = torch.onnx.export(
            Reference(name, model),
            example_inputs(name, model.config),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=_as_varargs(dynamic_shapes(name, model.config)),
            verbose=False,
        )
    assert program is not None
    return program.model


def _as_varargs(shapes: tuple[dict[int, Any], ...] | None) -> Any:
    return None if shapes is None else (shapes,)


@torch.no_grad()
def difference(name: str, model: VLJEPA, path: Path) -> float:
    """Largest difference between the exported component and the reference, over all outputs."""
    inputs = _random_inputs(name, model)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in component_spec(name, model.config).inputs]
    found = session.run(None, {n: x.numpy() for n, x in zip(names, inputs, strict=True)})
    expected = Reference(name, model)(*inputs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    return max(float(np.abs(a - b.numpy()).max()) for a, b in zip(found, expected, strict=True))


def _random_inputs(name: str, model: VLJEPA) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    if name == "x_encoder":
        return (torch.from_numpy(golden_frames(model.config)),)
    inputs = []
    for tensor, example in zip(
        component_spec(name, model.config).inputs, example_inputs(name, model.config), strict=True
    ):
        if tensor.dtype == "int64":
            inputs.append(torch.arange(example.numel()).view(example.shape))
        elif tensor.name in ("query_mask", "attention_mask"):
            inputs.append(torch.ones(example.shape) * (tensor.name == "query_mask"))
        else:
            inputs.append(torch.randn(example.shape, generator=generator))
    return tuple(inputs)


def narrow(config: VLJEPAConfig) -> VLJEPAConfig:
    """The same layers and heads at a fraction of the width: the same graph, made in seconds."""

    def stack(part: TransformerConfig) -> TransformerConfig:
        return replace(part, width=64, head_dim=8, mlp_width=64, vocabulary=512)

    x_encoder = replace(config.x_encoder, width=8 * config.x_encoder.heads)
    decoder = config.y_decoder
    if decoder is not None:
        decoder = replace(decoder, transformer=stack(decoder.transformer))
    return replace(
        config,
        frames=2 * config.x_encoder.tubelet,
        x_encoder=x_encoder,
        predictor=replace(
            config.predictor,
            transformer=stack(config.predictor.transformer),
            visual_width=x_encoder.width,
        ),
        y_encoder=replace(config.y_encoder, transformer=stack(config.y_encoder.transformer)),
        y_decoder=decoder,
    )


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--preset", choices=PRESETS, default="nano")
    source.add_argument("--checkpoint", type=Path)
    parser.add_argument("--narrow", action="store_true", help="Same layers, small widths.")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    if arguments.checkpoint is not None:
        model = checkpoint.load(arguments.checkpoint).model
    else:
        config = PRESETS[arguments.preset]()
        model = VLJEPA(narrow(config) if arguments.narrow else config).eval()
    print("| component | nodes, plain export | nodes | max abs difference | MB |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in component_names(model.config):
            part = export_component(name, model, Path(folder))
            size = part.path.stat().st_size + (part.external.stat().st_size if part.external else 0)
            print(
                f"| {name} | {plain_nodes(name, model)} | {part.nodes} "
                f"| {difference(name, model, part.path):.1e} | {size / 1e6:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
