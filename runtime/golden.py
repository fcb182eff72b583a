"""Reruns a bundle's golden vectors through the core, on the engines that a stream would use."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from vljepa_edge.runtime.bundle import Bundle
from vljepa_edge.runtime.errors import BundleError
from vljepa_edge.runtime.model import Model
from vljepa_edge.runtime.queries import Query

Arrays = dict[str, npt.NDArray[Any]]

# Tensors of each component in the core's order (vlj_component in vljepa.h).
INPUTS = {
    "x_encoder": ("frames",),
    "predictor": ("visual_tokens", "query_embeddings", "query_mask"),
    "y_encoder": ("token_ids",),
    "y_decoder_prefix": ("embedding",),
    "y_decoder": ("input_embeddings", "positions", "attention_mask", "kv_cache"),
}
OUTPUTS = {
    "x_encoder": ("visual_tokens",),
    "predictor": ("predicted_embedding",),
    "y_encoder": ("text_embedding",),
    "y_decoder_prefix": ("soft_tokens",),
    "y_decoder": ("logits", "kv_new"),
}
# Golden groups and the component that each runs: the Y-Decoder has its prefill and its first step.
GROUPS = {**{name: name for name in INPUTS}, "y_decoder_step": "y_decoder"}


@dataclass(frozen=True)
class Comparison:
    """One output of the core against full precision; `cosine` is the worst row's."""

    name: str
    shape: tuple[int, ...]
    cosine: float
    max_abs: float
    detail: str = ""


def read_golden(path: Path) -> Arrays:
    """The arrays of golden.npz by `<group>/<tensor>`. BundleError where it has none to read."""
    with Bundle(path) as bundle:
        if not bundle.has("golden"):
            raise BundleError(
                f"{path}: carries no golden vectors (an image for firmware?); "
                "check its bundle instead"
            )
        content = bundle.read("golden")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"{path}: its golden vectors cannot be read ({error})") from error


def rerun(model: Model, golden: Arrays) -> Iterator[Comparison]:
    """Runs each open component on its golden inputs, then the chain from frames to words."""
    for group, component in GROUPS.items():
        if model.has(component) and f"{group}/{INPUTS[component][0]}" in golden:
            yield from _component(model, golden, group, component)
    if "chain/predicted_embedding" in golden:
        yield from _chain(model, golden)


def _component(model: Model, golden: Arrays, group: str, component: str) -> Iterator[Comparison]:
    inputs = {name: _array(golden, group, name) for name in INPUTS[component]}
    expected = {name: _array(golden, group, name) for name in OUTPUTS[component]}
    found = {name: np.full_like(array, np.nan) for name, array in expected.items()}
    model.run_component(component, inputs, found)
    for name, array in expected.items():
        yield compare(f"{group}/{name}", array, found[name])


def _chain(model: Model, golden: Arrays) -> Iterator[Comparison]:
    frames = _array(golden, "x_encoder", "frames")
    mask = _array(golden, "predictor", "query_mask")[0]
    query = _array(golden, "predictor", "query_embeddings")[0][mask > 0]
    visual_tokens = model.encode_window(frames[0])
    predicted = model.predict(visual_tokens, [Query("golden", query)])[0]
    expected = _array(golden, "chain", "predicted_embedding")
    detail = ""
    if "chain/text" in golden and model.has("y_decoder"):
        wanted = golden["chain/text"].tobytes().decode("utf-8", "replace")
        text = model.decode(predicted).text
        detail = f"text {text!r}" + ("" if text == wanted else f", wanted {wanted!r}")
    yield compare("chain/predicted_embedding", expected, predicted, detail)


def compare(
    name: str, expected: npt.NDArray[Any], found: npt.NDArray[Any], detail: str = ""
) -> Comparison:
    """Worst cosine over rows, and largest absolute difference."""
    rows = [a.reshape(-1, a.shape[-1]).astype(np.float64) for a in (expected, found)]
    dots = (rows[0] * rows[1]).sum(1)
    norms = np.linalg.norm(rows[0], axis=1) * np.linalg.norm(rows[1], axis=1)
    # Two rows of zeros agree.
    cosines = np.where(norms > 0, dots / np.where(norms > 0, norms, 1), 1.0)
    return Comparison(
        name,
        tuple(expected.shape),
        float(np.min(cosines)),
        float(np.max(np.abs(rows[0] - rows[1]))),
        detail,
    )


def _array(golden: Arrays, group: str, name: str) -> npt.NDArray[Any]:
    key = f"{group}/{name}"
    if key not in golden:
        raise BundleError(f"golden.npz has no {key}; export the bundle again")
    return np.ascontiguousarray(golden[key])
