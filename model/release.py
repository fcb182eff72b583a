"""Turns a training folder into the checkpoint that ships: half precision, with its log as card.

    python -m vljepa_edge.model.release FOLDER checkpoints/nano

What is exported from a release is the float32 model of these rounded weights, so that checkpoint
and bundle are the same model to the last bit.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import torch

from . import checkpoint


def training_log(folder: Path) -> list[dict[str, Any]]:
    """The last row of each stage in `log.csv`."""
    last: dict[str, dict[str, Any]] = {}
    with (folder / "log.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            last[row["stage"]] = {
                "stage": row["stage"],
                "steps": int(row["step"]),
                "loss": float(row["loss"]),
            }
    return list(last.values())


def release(folder: Path, output: Path, note: str = "") -> None:
    """Writes `output` from a finished training folder; CheckpointError where it isn't finished."""
    opened = checkpoint.load(folder)
    if opened.card.get("stage") != "done":
        stage = opened.card.get("stage")
        raise checkpoint.CheckpointError(
            f"{folder}: training stopped in stage {stage!r}; run `vljepa train` again to finish it"
        )
    card = {
        "name": opened.model.config.name,
        "trained_on": "sprite world (docs/world.md), split train",
        "world": int(opened.card.get("world", 1)),
        "parameters": opened.model.parameter_count(),
        "log": training_log(folder),
        "recipe": opened.card.get("recipe"),
        "note": note,
        "licence": "Apache-2.0; trained on pictures listed in world/atlas/NOTICE.md",
    }
    checkpoint.save(output, opened.model, opened.tokenizer, card, dtype=torch.float16)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m vljepa_edge.model.release", description=__doc__
    )
    parser.add_argument("folder", type=Path, help="a finished training folder")
    parser.add_argument("output", type=Path, help="the checkpoint folder to write")
    parser.add_argument("--note", default="", help="what a reader of the card should know")
    arguments = parser.parse_args()
    release(arguments.folder, arguments.output, arguments.note)
