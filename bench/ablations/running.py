"""Trains and judges variants, each once: a run is known by the digest of all that it depends on.

Below the output folder: `runs/<digest>/` (log.csv, result.json; the weights while it trains). A run
that was cut off goes on at its last checkpoint, one that is done is read. `texts/<digest>/` is what
runs with the same text stage begin with. `locks/` keeps processes that share the folder from
making one thing twice.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ... import world
from ...model import checkpoint
from ...model.config import VLJEPAConfig
from ...model.token_prediction import train_token_prediction
from ...model.train import train, train_text_side
from ...model.training_log import Progress
from ..conditions import machine
from ..tasks.score import Score
from .judging import judge
from .plan import Variant

# What a run leaves once it is judged; weights and optimiser go.
_KEPT = ("log.csv", "result.json")


@dataclass(frozen=True)
class Setting:
    """What all runs share. `version` of sprite world; `clips` judge each figure."""

    x_encoder_from: Path
    version: int
    clips: int
    seed: int = 2
    workers: int = 1
    corpus_sentences: int = 20_000

    @cached_property
    def x_encoder_sha256(self) -> str:
        """Digest of the checkpoint's weights."""
        return checkpoint.weights_sha256(self.x_encoder_from)

    def world(self, config: VLJEPAConfig) -> world.WorldConfig:
        """At the model's size and rate."""
        return world.WorldConfig.of(
            self.version, size=config.image_size, frames=config.frames, fps=config.fps
        )


@dataclass(frozen=True)
class Result:
    """Figures of one run. `trained`: parameters that learned; `clips`: that it was trained on;
    `seconds` of training, since it was last taken up, pauses among them, on `machine`."""

    label: str
    scores: dict[str, Score]
    trained: int
    clips: int
    seconds: float
    machine: str = ""


@contextmanager
def claimed(name: str, folder: Path, *, wait: bool) -> Iterator[bool]:
    """Whether `name` is this process's own meanwhile; with `wait`, once no other has it."""
    home = folder / "locks"
    home.mkdir(parents=True, exist_ok=True)
    with (home / name).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def run(
    variant: Variant, setting: Setting, folder: Path, progress: Callable[[str], None]
) -> Result:
    """Trains, judges and cleans up, or reads what an earlier call found."""
    if (found := known(variant, setting, folder)) is not None:
        return found
    home = folder / "runs" / digest(variant, setting)
    started = time.monotonic()

    def told(stage: str, step: int, steps: int, loss: float) -> None:
        if step in (1, steps) or step % 100 == 0:
            progress(f"{variant.label}: {stage} {step} of {steps}, loss {loss:.3f}")

    world_config = setting.world(variant.config)
    if variant.objective == "tokens":
        model: Any = train_token_prediction(
            home,
            variant.config,
            variant.recipe,
            x_encoder_from=setting.x_encoder_from,
            world_config=world_config,
            workers=setting.workers,
            corpus_sentences=setting.corpus_sentences,
            progress=told,
        )
    else:
        model = train(
            home,
            variant.config,
            variant.recipe,
            x_encoder_from=setting.x_encoder_from if variant.pretrained else None,
            text_from=text_side(variant, setting, folder, told),
            world_config=world_config,
            workers=setting.workers,
            corpus_sentences=setting.corpus_sentences,
            progress=told,
        )
    trained_s = time.monotonic() - started
    progress(f"{variant.label}: judging")
    scores = judge(variant, home, world_config, setting.clips, setting.seed)
    clips = sum(stage.steps * stage.batch for stage in variant.recipe.stages)
    on = f"{machine()['cpu']}, threads: {torch.get_num_threads()}"
    result = Result(variant.label, scores, _trained(variant, model), clips, round(trained_s, 1), on)
    part = home / "result.json.part"
    part.write_text(json.dumps(dataclasses.asdict(result), indent=1) + "\n", encoding="utf-8")
    part.replace(home / "result.json")
    for file in home.iterdir():
        if file.name not in _KEPT:
            file.unlink()
    return result


def text_side(variant: Variant, setting: Setting, folder: Path, progress: Progress) -> Path:
    """A checkpoint with the variant's tokenizer and Y-Encoder after its text stage, made once."""
    world_config = setting.world(variant.config)
    facts = {
        "y_encoder": dataclasses.asdict(variant.config.y_encoder),
        "stage": dataclasses.asdict(variant.recipe.text),
        "seed": variant.recipe.seed,
        "world": dataclasses.asdict(world_config),
        "sentences": setting.corpus_sentences,
    }
    name = _digits(facts)
    home = folder / "texts" / name
    with claimed(f"text-{name}", folder, wait=True):
        if not (home / "card.json").is_file():  # written last
            train_text_side(
                home,
                variant.config,
                variant.recipe,
                world_config,
                corpus_sentences=setting.corpus_sentences,
                progress=progress,
            )
    return home


def known(variant: Variant, setting: Setting, folder: Path) -> Result | None:
    """What an earlier run found, if there was one."""
    done = folder / "runs" / digest(variant, setting) / "result.json"
    if not done.is_file():
        return None
    stored = json.loads(done.read_text(encoding="utf-8"))
    scores = {name: Score(**row) for name, row in stored["scores"].items()}
    return Result(**{**stored, "scores": scores, "label": variant.label})


def digest(variant: Variant, setting: Setting) -> str:
    """Twelve digits of what decides a run; its label doesn't."""
    given = setting.x_encoder_sha256 if variant.pretrained else ""
    facts = {
        "config": dataclasses.asdict(variant.config),
        "recipe": dataclasses.asdict(variant.recipe),
        "objective": variant.objective,
        "metrics": variant.metrics,
        "x_encoder": given,
        "world": dataclasses.asdict(setting.world(variant.config)),
        "judged": (setting.clips, setting.seed),
        "sentences": setting.corpus_sentences,
    }
    return _digits(facts)


def _digits(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def _trained(variant: Variant, model: Any) -> int:
    """Parameters that the contrastive stages, or those of token prediction, change."""
    moved = {"predictor"}
    if any(stage.x_encoder_lr for stage in variant.recipe.stages):
        moved.add("x_encoder")
    if any(stage.y_encoder_lr for stage in variant.recipe.stages):
        moved.add("y_encoder")
    return sum(p.numel() for name, p in model.named_parameters() if name.split(".")[0] in moved)
