"""The public open-vljepa checkpoint (hub `cun-bjy/open-vljepa`, file `best.pt`).

A mapping with `model_state_dict` and the training `config`. Names: `predictor.*` (the last layers
of Llama-3.2-1B, `vis_proj`, `out_proj`), `y_encoder.model.*` (EmbeddingGemma without its linear
heads), `y_encoder.projector.*`; `x_encoder.*` is usually left out, being a frozen V-JEPA 2. There
is no decoder.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..checkpoint import CheckpointError
from ..config import SpecialTokens, VLJEPAConfig, paper
from ..predictor import Predictor
from ..vl_jepa import VLJEPA
from ..x_encoder import XEncoder
from ..y_encoder import YEncoder
from . import embedding_gemma, llama, vjepa2
from .fill import Progress, Stored, fill, finished, on_meta
from .tensor_source import Renamed, TensorSource, below
from .torch_file import TorchFile, read_torch

ENTRY = "model_state_dict"

# What the parts were made from, by (section, field) of the training configuration.
_BASES = {
    ("encoder", "model_name"): "vjepa2-vitl-fpc64-256",
    ("predictor", "llama_name"): "Llama-3.2-1B",
    ("y_encoder", "model_name"): "embeddinggemma-300m",
}


def read_config(path: Path) -> VLJEPAConfig:
    """The model of a best.pt, from the training configuration inside it.

    CheckpointError where it was made from other models than the published one, or causally: then a
    configuration has to be given to `load`.
    """
    return _read_config(path, read_torch(path))


def load(
    path: Path,
    x_encoder: Path | None = None,
    config: VLJEPAConfig | None = None,
    progress: Progress | None = None,
) -> VLJEPA:
    """The whole model in float32.

    `x_encoder`: the folder of the frozen V-JEPA 2, needed where the file leaves it out.
    `config`: what to read the file as; by default what it says itself.
    """
    values = read_torch(path)
    source, config = _open(path, values, config)
    chosen = config
    model = on_meta(lambda: VLJEPA(chosen))
    model.x_encoder = _x_encoder(source, x_encoder, config, progress)
    model.predictor = _predictor(source, config, progress)
    model.y_encoder = _y_encoder(source, config, progress)
    model.logit_scale = nn.Parameter(torch.tensor(_logit_scale(values)))
    return finished(model)


def load_component(
    path: Path,
    name: str,
    x_encoder: Path | None = None,
    config: VLJEPAConfig | None = None,
    progress: Progress | None = None,
) -> nn.Module:
    """One component (`x_encoder`, `predictor`, `y_encoder`) in float32; see `load`."""
    source, config = _open(path, read_torch(path), config)
    if name == "x_encoder":
        return _x_encoder(source, x_encoder, config, progress)
    if name == "predictor":
        return _predictor(source, config, progress)
    if name == "y_encoder":
        return _y_encoder(source, config, progress)
    raise ValueError(f"an open-vljepa checkpoint has no component {name!r}")


def _open(
    path: Path, values: dict[str, Any], config: VLJEPAConfig | None
) -> tuple[TorchFile, VLJEPAConfig]:
    """The model's tensors, once their names have been seen, and its configuration."""
    if not isinstance(values.get(ENTRY), dict):
        raise CheckpointError(f"{path}: no {ENTRY}; holds {', '.join(sorted(map(str, values)))}")
    if config is None:
        config = _read_config(path, values)
    source = TorchFile(path, values[ENTRY])
    parts = ("predictor.", "y_encoder.", "x_encoder.model.")
    unknown = sorted(name for name in source.names() if not name.startswith(parts))
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise CheckpointError(f"{path}: unexpected {unknown[0]}{more}; not an open-vljepa model")
    return source, config


def _read_config(path: Path, values: dict[str, Any]) -> VLJEPAConfig:
    training = values.get("config")
    if not isinstance(training, dict):
        raise CheckpointError(f"{path}: no training configuration inside; give one")
    for (section, field), expected in _BASES.items():
        name = str(_field(training, section, field, expected))
        if name.rstrip("/").rpartition("/")[2] != expected:
            raise CheckpointError(f"{path}: {section}.{field} is {name}, expected {expected}")
    if not _field(training, "predictor", "disable_causal_mask", True):
        raise CheckpointError(f"{path}: its predictor is causal (predictor.disable_causal_mask)")
    side = int(_field(training, "data", "image_size", 256))
    base = paper(frames=int(_field(training, "data", "num_frames", 8)))
    llama_layers = int(_field(training, "predictor", "n_keep_layers", 8))
    stack = dataclasses.replace(base.predictor.transformer, layers=llama_layers)
    return dataclasses.replace(
        base,
        name="open-vljepa",
        image_size=side,
        resize_short_side=side,  # Resize(256) and CenterCrop(256), not V-JEPA 2's 292
        embedding_width=int(_field(training, "predictor", "proj_dim", 1536)),
        predictor=dataclasses.replace(base.predictor, transformer=stack),
        y_decoder=None,
        special_tokens=SpecialTokens(pad=128_004, begin=128_000, end=128_001),  # Llama 3.2's
    )


def _x_encoder(
    source: TensorSource, folder: Path | None, config: VLJEPAConfig, progress: Progress | None
) -> XEncoder:
    if any(name.startswith("x_encoder.") for name in source.names()):
        return vjepa2.load_from(Renamed(source, below("x_encoder.model.")), config, progress)
    if folder is None:
        raise CheckpointError(
            f"{source.path}: leaves out the frozen X-Encoder; name the folder of "
            "facebook/vjepa2-vitl-fpc64-256"
        )
    return vjepa2.load(folder, config, progress)


def _predictor(source: TensorSource, config: VLJEPAConfig, progress: Progress | None) -> Predictor:
    predictor = on_meta(lambda: Predictor(config))
    recipe = llama.stack_recipe(config.predictor.transformer.layers)
    recipe |= _same("vis_proj.weight", "vis_proj.bias", "out_proj.weight", "out_proj.bias")
    part = Renamed(source, below("predictor."))
    fill(predictor, recipe, part, llama.IGNORED, progress)
    return finished(predictor)


def _y_encoder(source: TensorSource, config: VLJEPAConfig, progress: Progress | None) -> YEncoder:
    encoder = on_meta(lambda: YEncoder(config))
    recipe = dict(embedding_gemma.stack_recipe(config.y_encoder.transformer.layers))
    recipe |= _same("projector.weight", "projector.bias")
    part = Renamed(Renamed(source, below("y_encoder.")), lambda name: name.removeprefix("model."))
    fill(encoder, recipe, part, llama.IGNORED, progress)
    return finished(encoder)


def _same(*names: str) -> dict[str, Stored]:
    return {name: Stored((name,)) for name in names}


def _field(training: dict[str, Any], section: str, field: str, default: Any) -> Any:
    values = training.get(section)
    value = values.get(field) if isinstance(values, dict) else None
    return default if value is None else value


def _logit_scale(values: dict[str, Any]) -> float:
    training = values.get("config")
    temperature = 0.07
    if isinstance(training, dict):
        temperature = float(_field(training, "training", "temperature", temperature))
    return math.log(1 / temperature)
