"""Our own checkpoint format, one component at a time: what export needs at paper scale."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from ..checkpoint import CheckpointError
from ..config import VLJEPAConfig
from ..predictor import Predictor
from ..x_encoder import XEncoder
from ..y_decoder import YDecoder
from ..y_encoder import YEncoder
from .fill import Progress, Stored, fill, finished, on_meta
from .safetensors_files import SafetensorsFiles
from .tensor_source import Renamed, below

COMPONENTS: dict[str, Callable[[VLJEPAConfig], nn.Module]] = {
    "x_encoder": XEncoder,
    "predictor": Predictor,
    "y_encoder": YEncoder,
    "y_decoder": YDecoder,
}


def read_config(folder: Path) -> VLJEPAConfig:
    """The configuration of a checkpoint that `model.checkpoint.save` wrote."""
    path = folder / "config.json"
    try:
        return VLJEPAConfig.read(path)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: not a model configuration: {error}") from error


def load_component(folder: Path, name: str, progress: Progress | None = None) -> nn.Module:
    """One component (a key of COMPONENTS) in float32; the others are never read."""
    config = read_config(folder)
    if name == "y_decoder" and config.y_decoder is None:
        raise CheckpointError(f"{folder}: this model has no Y-Decoder")
    component = on_meta(lambda: COMPONENTS[name](config))
    recipe = {parameter: Stored((parameter,)) for parameter, _ in component.named_parameters()}
    with Renamed(SafetensorsFiles(folder), below(f"{name}.")) as source:
        fill(component, recipe, source, progress=progress)
    return finished(component)
