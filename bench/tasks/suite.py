"""All tasks by name, run in order; results as JSON for machines and Markdown for people."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ... import world
from .answering import answer, anticipate
from .captioning import caption
from .classification import classify
from .context import Context, Progress
from .judge import Judged
from .retrieval import retrieve
from .score import Score
from .selective_decoding import decode_selectively
from .state_change import choose
from .triplets import compare

Task = Callable[[Context], list[Score]]

TASKS: dict[str, Task] = {
    "classification": classify,
    "retrieval": retrieve,
    "vqa": answer,
    "state-change": choose,
    "anticipation": anticipate,
    "captions": caption,
    "triplets": compare,
    "selective": decode_selectively,
}


@dataclass
class Report:
    """What a run found, and of what. `seconds` per task, this machine's time."""

    about: dict[str, Any]
    scores: list[Score] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Ready for `json.dumps`."""
        return {
            "about": self.about,
            "scores": [asdict(row) for row in self.scores],
            "seconds": self.seconds,
        }


def world_config(judged: Judged, version: int) -> world.WorldConfig:
    """A version of sprite world at the model's own size and rate."""
    return world.WorldConfig.of(version, size=judged.size, frames=judged.frames, fps=judged.fps)


def run(
    judged: Judged,
    *,
    version: int | None = None,
    tasks: Sequence[str] = tuple(TASKS),
    clips: int = 1000,
    seed: int = 2,
    progress: Progress = lambda line: None,
) -> Report:
    """Runs tasks on clips that training never draws. ValueError for an unknown task.

    `version` of sprite world; None: the one that the model was trained on.
    """
    version = version or judged.world
    for name in tasks:
        if name not in TASKS:
            raise ValueError(f"no task {name!r}; one of {', '.join(TASKS)}")
    config = world_config(judged, version)
    context = Context(judged, config, clips, seed, progress)
    report = Report(
        {
            "model": judged.name,
            "engine": judged.engine,
            "precision": judged.precision,
            "world": version,
            "objects": len(config.objects),
            "motions": len(config.motions),
            "clips": clips,
            "seed": seed,
            "interval": "95 %, percentile bootstrap over cases, 1,000 rounds",
        }
    )
    for name in tasks:
        begin = time.monotonic()
        report.scores += TASKS[name](context)
        report.seconds[name] = round(time.monotonic() - begin, 2)
    return report


def shown(value: float | None, unit: str) -> str:
    """A figure as reports print it."""
    if value is None:
        return "–"
    return f"{value:.1%}" if unit == "share" else f"{value:.2f}{' Hz' if unit == 'Hz' else ''}"


def _curve(rows: Sequence[Score]) -> list[str]:
    """Quality over decode rate, a line a method: names are "CIDEr, method, embedding, rate"."""
    split = [row.name.split(", ") for row in rows]
    rates = list(dict.fromkeys(parts[-1] for parts in split))
    lines = ["", f"| CIDEr at | {' | '.join(rates)} |", "|---" * (1 + len(rates)) + "|"]
    for method in dict.fromkeys(", ".join(parts[1:-1]) for parts in split):
        at = {
            parts[-1]: row.value
            for parts, row in zip(split, rows, strict=True)
            if ", ".join(parts[1:-1]) == method
        }
        cells = " | ".join(shown(at.get(rate), "cider") for rate in rates)
        lines.append(f"| {method} | {cells} |")
    return lines


def to_markdown(report: Report) -> str:
    """One table a task."""
    a = report.about
    lines = [
        f"# {a['model']} on sprite world",
        "",
        f"{a['engine']}, {a['precision']}; world version {a['world']}: {a['objects']} objects, "
        f"{a['motions']} motions; up to {a['clips']} cases a figure, seed {a['seed']}; intervals: "
        f"{a['interval']}.",
    ]
    for task in dict.fromkeys(row.task for row in report.scores):
        lines += ["", f"## {task}", "", "| what | figure | 95 % | chance | cases |"]
        lines += ["|---|---|---|---|---|"]
        curve = [row for row in report.scores if row.task == task and row.name.endswith(" Hz")]
        for row in report.scores:
            if row.task != task or row in curve:
                continue
            span = "–"
            if row.low is not None:
                span = f"{shown(row.low, row.unit)} to {shown(row.high, row.unit)}"
            note = f" ({row.note})" if row.note else ""
            lines.append(
                f"| {row.name}{note} | {shown(row.value, row.unit)} | {span} "
                f"| {shown(row.chance, 'share')} | {row.count or '–'} |"
            )
        if curve:
            lines += _curve(curve)
    return "\n".join(lines) + "\n"
