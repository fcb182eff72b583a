"""Rows of the Predictor's token table, from whatever checkpoint holds it: a few are read, not all.

A bundle at the paper's scale leaves the table behind; queries are compiled where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import ExportError

TABLE = "embed_tokens.weight"
Floats = NDArray[np.float32]
# Token ids int64 [n] -> their embeddings [n, width].
Embed = Callable[[NDArray[np.int64]], Floats]
# Stored queries keep float32 of what was stored in the checkpoint: the same rows, or others.
SAME = 1e-6


def checkpoint_embedder(checkpoint: Path, width: int) -> Embed:
    """The table of a checkpoint of ours, of a Llama's hub folder, or of open-vljepa's best.pt.

    ExportError or CheckpointError where there is none, or one of another width.
    """
    from ..model.checkpoint import CheckpointError
    from ..model.loaders.tensor_source import Renamed, TensorSource, below
    from ..model.loaders.torch_file import open_tensors

    def opened() -> TensorSource:
        source = open_tensors(checkpoint, ("model_state_dict",))
        if f"predictor.{TABLE}" in source.names():
            return Renamed(source, below("predictor."))
        return Renamed(source, lambda name: name.removeprefix("model."))

    with opened() as source:
        if TABLE not in source.names():
            raise CheckpointError(
                f"{checkpoint}: holds no {TABLE}; name a checkpoint of ours, the folder of the "
                "Predictor's Llama, or an open-vljepa best.pt"
            )
        rows, columns = source.shape(TABLE)
    if columns != width:
        raise ExportError(f"{checkpoint}: {TABLE} is {columns} wide, the bundle's queries {width}")

    def embed(ids: NDArray[np.int64]) -> Floats:
        if ids.max() >= rows:
            raise ExportError(
                f"{checkpoint}: token {ids.max()} is outside the table of {rows} rows"
            )
        with opened() as source:
            found = [source.rows(TABLE, int(i), int(i) + 1).float().numpy() for i in ids]
        return np.concatenate(found)

    return embed


def check_same_table(checkpoint: Path, text: str, stored: Floats, found: Floats) -> None:
    """ExportError unless the table gives a query that the bundle has as the bundle has it."""
    if stored.shape != found.shape or np.abs(stored - found).max() > SAME:
        raise ExportError(
            f"{checkpoint}: its token table is not the one that the bundle was made with: "
            f"{text[:40]!r} comes out differently",
            "name the checkpoint that the bundle was exported from",
        )
