"""`python -m vljepa_edge.bench.ablations NAME|all -o DIR --x-encoder-from CHECKPOINT --scale S`.

Trains each variant of an ablation from the same frozen X-Encoder, judges it on sprite world, and
writes DIR/ablations.json, .md and .svg after each of them. Run it again to go on, or
several times at once to share the work.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import torch

from ...model import checkpoint
from ...model.recipe import Recipe, nano_recipe
from .picture import to_svg
from .plan import ABLATIONS, Ablation, Base, Variant
from .running import Result, Setting, claimed, digest, known, run
from .table import to_markdown


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m vljepa_edge.bench.ablations", description=__doc__
    )
    parser.add_argument("name", choices=[*ABLATIONS, "all"])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--x-encoder-from", type=Path, required=True, help="a checkpoint")
    parser.add_argument("--scale", type=float, default=0.2, help="of the recipe's steps")
    parser.add_argument("--batch", type=int, help="clips a step; default: the recipe's")
    parser.add_argument("--clips", type=int, default=200, help="that judge each figure")
    parser.add_argument("--world", type=int, help="its version; default: the checkpoint's")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw")
    parser.add_argument("--sentences", type=int, default=20_000, help="for the tokenizer")
    parser.add_argument("--seed", type=int, default=1, help="of the recipe")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Runs what was asked for."""
    told = parse(arguments)
    opened = checkpoint.load(told.x_encoder_from)
    recipe = dataclasses.replace(nano_recipe(told.scale), seed=told.seed)
    base = Base(opened.model.config, with_batch(recipe, told.batch) if told.batch else recipe)
    setting = Setting(
        told.x_encoder_from,
        told.world or opened.world,
        told.clips,
        workers=told.workers,
        corpus_sentences=told.sentences,
    )
    plan = [make(base) for make in ABLATIONS.values()]
    told.output.mkdir(parents=True, exist_ok=True)
    about = {
        "x_encoder": setting.x_encoder_sha256,
        "world": setting.version,
        "scale": told.scale,
        "batch": told.batch,
        "clips": told.clips,
        "seed": told.seed,
        "torch": torch.__version__,
    }

    def mine(variant: Variant, *, wait: bool) -> bool:
        """Whether its result is there now; without `wait` another process may be at it."""
        with claimed(f"run-{digest(variant, setting)}", told.output, wait=wait) as ours:
            if not ours:
                return False
            run(variant, setting, told.output, lambda line: print(line, file=sys.stderr))
        write(told.output, plan, setting, about)
        return True

    asked = [v for a in plan if told.name in ("all", a.name) for v in a.variants]
    for variant in [variant for variant in asked if not mine(variant, wait=False)]:
        mine(variant, wait=True)
    print((told.output / "ablations.md").read_text(encoding="utf-8"), end="")
    return 0


def with_batch(recipe: Recipe, batch: int) -> Recipe:
    """The recipe with so many clips in each step of the stages with video."""
    return dataclasses.replace(
        recipe,
        encoder=tuple(dataclasses.replace(stage, batch=batch) for stage in recipe.encoder),
        stages=tuple(dataclasses.replace(stage, batch=batch) for stage in recipe.stages),
    )


def write(folder: Path, plan: list[Ablation], setting: Setting, about: dict[str, Any]) -> None:
    """The files, each whole or not at all, of all ablations with runs to compare."""
    with claimed("tables", folder, wait=True):
        for name, content in tables(folder, plan, setting, about).items():
            part = folder / f"{name}.part"
            part.write_text(content, encoding="utf-8")
            part.replace(folder / name)


def tables(
    folder: Path, plan: list[Ablation], setting: Setting, about: dict[str, Any]
) -> dict[str, str]:
    """What the files hold, by name."""
    results: dict[str, dict[str, Result]] = {}
    for ablation in plan:
        found = [known(variant, setting, folder) for variant in ablation.variants]
        results[ablation.name] = {one.label: one for one in found if one is not None}
    # The base stands in nearly every table: alone it compares nothing.
    plan = [ablation for ablation in plan if len(results[ablation.name]) > 1]
    stored = {
        "about": about,
        "ablations": {
            ablation.name: [dataclasses.asdict(one) for one in results[ablation.name].values()]
            for ablation in plan
        },
    }
    told = (
        f"World version {about['world']}, {about['scale']:g} of the recipe's steps, "
        f"{about['clips']} cases a figure, ± half of the 95 % interval over cases; one run each "
        f"(seed {about['seed']}): what training's own chance adds is not in the interval."
    )
    text = "\n".join(
        [
            "# Ablations",
            "",
            told,
            "",
            *(to_markdown(a, results[a.name]) for a in plan),
        ]
    )
    return {
        "ablations.json": json.dumps(stored, indent=1) + "\n",
        "ablations.md": text,
        "ablations.svg": to_svg(plan, results),
    }


if __name__ == "__main__":
    sys.exit(main())
