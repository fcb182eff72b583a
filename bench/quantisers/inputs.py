"""What every quantiser gets: two components as plain ONNX of fixed shapes, and their inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import inliner, shape_inference

from ... import world
from ...calibration.windows import open_windows
from ...runtime.model import Model

Floats = npt.NDArray[np.float32]
Arrays = dict[str, npt.NDArray[Any]]
COMPONENTS = ("x_encoder", "predictor")
SPLIT = "test"
JUDGED_SEED = 2


@dataclass(frozen=True)
class Judged:
    """Held-out windows: frames uint8 [n,T,3,H,W], and which candidate each one shows."""

    frames: npt.NDArray[np.uint8]
    right: npt.NDArray[np.int64]
    candidates: Floats  # [m, E], unit length


def fixed_graph(source: Path, output: Path, sizes: Mapping[str, int]) -> None:
    """Inlines functions, gives symbolic axes a size, and infers all shapes anew."""
    model = inliner.inline_local_functions(onnx.load(source))
    for value in (*model.graph.input, *model.graph.output):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_value = sizes[axis.dim_param]
    del model.graph.value_info[:]
    named: dict[str, int] = {}
    for node in model.graph.node:  # an inlined body has names of its own, or none
        base = node.name or node.op_type
        named[base] = named.get(base, 0) + 1
        node.name = base if named[base] == 1 else f"{base}_{named[base]}"
    onnx.save(shape_inference.infer_shapes(model, data_prop=True), output)


def calibration_inputs(model: Model, count: int, seed: int, version: int) -> dict[str, Arrays]:
    """Inputs of both components from windows of the training split, stacked along a first axis.

    The Predictor's visual tokens are full precision's; its query is the bundle's first.
    """
    windows = open_windows("world", model.description, count, seed, version)
    frames = np.stack([window for window, _ in windows])
    tokens = np.stack([model.encode_window(window) for window in frames])
    query = query_inputs(model)
    repeated = {name: np.repeat(array, count, 0) for name, array in query.items()}
    return {"x_encoder": {"frames": frames}, "predictor": {"visual_tokens": tokens, **repeated}}


def query_inputs(model: Model) -> Arrays:
    """The bundle's first query: embeddings float32 [1,L,W], mask [1,L]."""
    embeddings = np.asarray(model.queries[0].embeddings, np.float32)[None]
    return {
        "query_embeddings": embeddings,
        "query_mask": np.ones(embeddings.shape[:2], np.float32),
    }


def judged(model: Model, count: int, candidates: int, version: int) -> Judged:
    """Held-out clips, and captions to choose from: the right ones among random others."""
    about = model.description
    config = world.WorldConfig.of(version, size=about.height, frames=about.frames, fps=about.fps)
    clips = [world.sample_clip(JUDGED_SEED, i, config, split=SPLIT) for i in range(count)]
    told = [world.motion_object_caption(c.scene.object, c.scene.motion) for c in clips]
    every = [world.motion_object_caption(o, m) for o in config.objects for m in config.motions]
    order = np.random.default_rng(JUDGED_SEED).permutation(len(every))
    bank = list(dict.fromkeys([*told, *(every[i] for i in order)]))
    most = about.text_max_tokens
    bank = [text for text in bank if len(model.tokenize(text, "y_encoder")) <= most]
    bank = bank[: max(candidates, len(set(told)))]
    index = {text: i for i, text in enumerate(bank)}
    return Judged(
        np.stack([np.ascontiguousarray(c.frames.transpose(0, 3, 1, 2)) for c in clips]),
        np.array([index[text] for text in told]),
        model.embed_text(bank),
    )
