"""Timelines of what is true in a video: `--timeline truth.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click


@dataclass(frozen=True)
class Annotation:
    """What holds from start_s until end_s."""

    start_s: float
    end_s: float
    caption: str


def read_timeline(path: Path) -> list[Annotation]:
    """Reads {"annotations": [{"t_start_s", "t_end_s", "caption"}, ...]}, as sprite world has it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [_annotation(entry) for entry in content["annotations"]]
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise click.UsageError(
            f"{path}: not a timeline; wanted "
            '{"annotations": [{"t_start_s", "t_end_s", "caption"}, ...]}'
        ) from error


def _annotation(entry: dict[str, Any]) -> Annotation:
    return Annotation(float(entry["t_start_s"]), float(entry["t_end_s"]), str(entry["caption"]))


def truth_for(timeline: list[Annotation], start_s: float, end_s: float) -> str:
    """The caption that holds for most of a span; "" where none does."""
    best, best_overlap = "", 0.0
    for annotation in timeline:
        overlap = min(end_s, annotation.end_s) - max(start_s, annotation.start_s)
        if overlap > best_overlap:
            best, best_overlap = annotation.caption, overlap
    return best
