"""The model card, written from files alone: `python -m vljepa_edge.bench.card CHECKPOINT`.

    python -m vljepa_edge.bench.card checkpoints/nano --quality bench/results/nano/quality.json \\
        --log bench/results/nano/training.csv -o docs/nano-card.md

`--quality` is what `vljepa eval MODEL --suite all --json` printed, `--log` the training's log.csv.
Figures and sizes come from these files; only what limits the model is told by hand (`--limits`, a
Markdown file that the card ends with).
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import world
from ..model import checkpoint
from ..runtime.bundle import Bundle
from .tasks.suite import shown

# What the model was to reach: (task, beginning of a row's name, end of it, figure). A rate is to be
# reached from above.
GOALS: tuple[tuple[str, str, str, float], ...] = (
    ("classification", "objects", "seen pairs", 0.85),
    ("classification", "motions", "seen pairs", 0.92),
    ("classification", "both", "held-out pairs", 0.75),
    ("classification", "objects", "held-out style", 0.45),
    ("retrieval", "R@1 of", "", 0.65),
    ("retrieval", "R@10 of", "", 0.95),
    ("vqa", "presence, average", "", 0.92),
    ("vqa", "counting", "", 0.75),
    ("vqa", "attributes", "", 0.88),
    ("vqa", "relations", "", 0.85),
    ("state change", "two pictures", "", 0.85),
    ("captions", "right object and motion", "", 0.85),
    ("selective decoding", "rate that equals uniform 1 Hz: gate", "averaged", 0.30),
    ("selective decoding", "rate that equals uniform 1 Hz: ward", "averaged", 0.25),
)
_MORE = {
    "text": "the Y-Encoder on phrasings, no video",
    "encoder-image": "the X-Encoder on the truth of every patch of a picture",
    "encoder-video": "the X-Encoder on the truth of every patch of a clip",
    "image": "single frames: caption and a question each",
    "video": "clips: captions",
    "query": "clips: caption and questions each",
    "decoder": "the Y-Decoder on noisy embeddings of texts",
}
_UNIT = {
    "text": "pairs of texts",
    "encoder-image": "pictures",
    "image": "pictures",
    "decoder": "embeddings",
}


def goal_of(row: dict[str, Any]) -> float | None:
    """The goal of a suite's row, if there is one."""
    for task, begin, end, figure in GOALS:
        if row["task"] == task and row["name"].startswith(begin) and row["name"].endswith(end):
            return figure
    return None


def model_rows(opened: checkpoint.Checkpoint, folder: Path, bundles: Sequence[Path]) -> list[str]:
    """The table of what it is."""
    c = opened.model.config
    own = world.WorldConfig.of(opened.world)
    names = {"x_encoder": "X-Encoder", "predictor": "Predictor"}
    names |= {"y_encoder": "Y-Encoder", "y_decoder": "Y-Decoder"}
    counts = opened.model.parameter_count()
    parts = ", ".join(
        f"{told} {counts[name] / 1e6:.2f} M" for name, told in names.items() if name in counts
    )
    size = (folder / "model.safetensors").stat().st_size
    sizes = [f"checkpoint {size / 1e6:.1f} MB"]
    for path in bundles:
        with Bundle(path) as bundle:
            total = sum(section.size for section in bundle.sections)
            precision = bundle.manifest().get("precision", "?")
        sizes.append(f"{precision} bundle {total / 1e6:.1f} MB")
    return [
        "| | |",
        "|---|---|",
        f"| parameters | {parts} |",
        f"| window | {c.frames} frames of {c.image_size} x {c.image_size} at {c.fps:g} a second; "
        f"{c.visual_tokens} visual tokens; embedding {c.embedding_width} wide |",
        f"| world | sprite world, version {opened.world} (docs/world.md): {len(own.objects)} "
        f"objects, {len(own.motions)} motions, {len(own.styles)} drawing styles and one held out |",
        f"| size | {', '.join(sizes)} |",
        f"| weights | SHA-256 `{opened.sha256}` |",
    ]


def training_rows(log: Path, recipe: dict[str, Any] | None) -> list[str]:
    """The table of stages: steps and losses by the log, batches by the recipe."""
    last: dict[str, dict[str, str]] = {}
    speeds: dict[str, list[float]] = {}
    with log.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            last[row["stage"]] = row
            speeds.setdefault(row["stage"], []).append(float(row["samples_per_s"]))
    batches = batch_sizes(recipe) if recipe else {}
    told = _MORE
    if recipe and recipe["decoder"].get("clips"):
        told = _MORE | {"decoder": f"{_MORE['decoder']}, and on predicted ones of clips"}
    lines = [
        "| stage | what | steps | seen | last loss | samples a second, median |",
        "|---" * 6 + "|",
    ]
    for stage, row in last.items():
        speed = sorted(speeds[stage])[len(speeds[stage]) // 2]
        steps = int(row["step"])
        seen = "–"
        if stage in batches:
            unit = _UNIT.get(stage, "clips")
            seen = f"{steps * batches[stage] / 1e3:.0f} k {unit}"
        lines.append(
            f"| {stage} | {told.get(stage, '')} | {steps:,} | {seen} | {float(row['loss']):.3f} "
            f"| {speed:.0f} |"
        )
    return lines


def batch_sizes(recipe: dict[str, Any]) -> dict[str, int]:
    """Things in a step, by stage; clips without their questions, but in the decoder's stage, which
    reads two embeddings of each."""
    decoder = recipe["decoder"]
    sizes = {"text": recipe["text"]["batch"]}
    sizes["decoder"] = decoder["batch"] + 2 * decoder.get("clips", 0)
    sizes |= {f"encoder-{stage['task']}": stage["batch"] for stage in recipe["encoder"]}
    sizes |= {stage["task"]: stage["batch"] for stage in recipe["stages"]}
    return sizes


def quality_rows(quality: dict[str, Any], reference: dict[str, Any] | None = None) -> list[str]:
    """A table of every figure but the decode curve's points, with goals where there are some, and
    beside the figures of `reference`, the same suite in full precision."""
    full = {
        (row["task"], row["name"]): shown(row["value"], row["unit"])
        for row in (reference or {}).get("scores", [])
    }
    beside = " full precision |" if reference else ""
    lines = [
        f"| task | what | figure |{beside} 95 % | chance | goal |",
        "|---" * (7 if reference else 6) + "|",
    ]
    for row in shown_rows(quality):
        unit, goal = row["unit"], goal_of(row)
        span = (
            "–"
            if row["low"] is None
            else f"{shown(row['low'], unit)} to {shown(row['high'], unit)}"
        )
        told = "–"
        if goal is not None and row["value"] is not None:
            met = row["value"] <= goal if unit == "Hz" else row["value"] >= goal
            told = f"{shown(goal, unit)}: {'met' if met else 'missed'}"
        elif goal is not None:
            told = f"{shown(goal, unit)}: not measured"
        other = f"| {full.get((row['task'], row['name']), '–')} " if reference else ""
        lines.append(
            f"| {row['task']} | {row['name']} | {shown(row['value'], unit)} {other}| {span} "
            f"| {shown(row['chance'], 'share')} | {told} |"
        )
    return lines


def shown_rows(quality: dict[str, Any]) -> list[dict[str, Any]]:
    """A suite's rows but the decode curve's points."""
    return [row for row in quality["scores"] if not row["name"].endswith(" Hz")]


def furthest(quality: dict[str, Any], reference: dict[str, Any]) -> str:
    """A sentence: the share that lies furthest from full precision's, and how many are within one
    point."""
    full = {(row["task"], row["name"]): row["value"] for row in reference["scores"]}
    apart = [
        (abs(row["value"] - full[row["task"], row["name"]]) * 100, f"{row['task']}, {row['name']}")
        for row in shown_rows(quality)
        if row["unit"] == "share"
        and row["value"] is not None
        and full.get((row["task"], row["name"])) is not None
    ]
    if not apart:
        return ""
    most, where = max(apart)
    near = sum(points <= 1.0 + 1e-9 for points, _ in apart)
    return (
        f"{near} of {len(apart)} shares are within one point of full precision's; the furthest "
        f"({where}) is {most:.1f} points away."
    )


def card(
    folder: Path,
    quality: Path,
    log: Path,
    bundles: Sequence[Path] = (),
    limits: str = "",
    command: str = "",
    reference: Path | None = None,
) -> str:
    """The card as Markdown. ValueError where `quality` or `reference` is not a suite's JSON."""
    opened = checkpoint.load(folder)
    found = _suite(quality)
    full = None if reference is None else _suite(reference)
    about = found["about"]
    note = opened.card.get("note")
    lines = [
        f"# Card of `{opened.model.config.name}`",
        "",
        "A VL-JEPA that is at home in sprite world alone: drawn objects that move over drawn "
        "backgrounds. On",
        "camera video it runs, but what it says there means nothing.",
        "",
        *model_rows(opened, folder, bundles),
        "",
        "## Training",
        "",
        "The stages in order (docs/model.md):",
        "",
        *training_rows(log, opened.card.get("recipe")),
        *(["", note] if note else []),
        "",
        "## Quality",
        "",
        f"{about['engine']}, {about['precision']}, sprite world version {about['world']}, up to "
        f"{about['clips']} cases a figure that training never saw (seed {about['seed']}); "
        f"intervals: {about['interval']}.",
        "",
        *quality_rows(found, full),
        "",
        *([furthest(found, full), ""] if full else []),
        *([limits.strip(), ""] if limits.strip() else []),
        f"Licence: {opened.card.get('licence', 'none told')}.",
        "",
        f"This page is written by `{command}`." if command else "",
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def _suite(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or "scores" not in found:
        raise ValueError(f"{path}: not what `vljepa eval MODEL --suite all --json` prints")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes or prints the card."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m vljepa_edge.bench.card", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--quality", type=Path, required=True, help="a suite's JSON")
    parser.add_argument("--reference", type=Path, help="the same suite in full precision")
    parser.add_argument("--log", type=Path, required=True, help="log.csv of the training")
    parser.add_argument("--bundle", type=Path, action="append", default=[], help="for its size")
    parser.add_argument("--limits", type=Path, help="Markdown: what limits the model")
    parser.add_argument("-o", "--output", type=Path)
    told = parser.parse_args(given)
    limits = told.limits.read_text(encoding="utf-8") if told.limits else ""
    command = f"python -m vljepa_edge.bench.card {' '.join(given)}"
    text = card(
        told.checkpoint, told.quality, told.log, told.bundle, limits, command, told.reference
    )
    if told.output is None:
        print(text, end="")
    else:
        told.output.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
