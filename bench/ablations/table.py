"""Tables of ablations in Markdown, with the paper's direction of effect beside ours."""

from __future__ import annotations

from collections.abc import Mapping

from ..tasks.score import Score
from .judging import standard_error
from .plan import Ablation, Expectation, Metric
from .running import Result

# How figures are named in tables and pictures.
HEADS: dict[Metric, str] = {
    "objects": "objects",
    "motions": "motions",
    "both": "both",
    "retrieval": "R@1",
    "vqa": "VQA",
    "of 100": "classification of 100",
    "CIDEr": "CIDEr",
    "captions": "captions right",
}


def to_markdown(ablation: Ablation, results: Mapping[str, Result]) -> str:
    """One ablation's table: `results` by label, as many as there are yet."""
    metrics = ablation.variants[0].metrics
    heads = ["variant", "trained", *(HEADS[metric] for metric in metrics)]
    lines = [
        f"## {ablation.name}",
        "",
        ablation.question,
        "",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
    ]
    for variant in ablation.variants:
        found = results.get(variant.label)
        cells = ["–"] * (len(heads) - 1)
        if found is not None:
            figures = [shown(found.scores[metric]) for metric in metrics]
            cells = [f"{found.trained / 1e6:.2f} M", *figures]
        lines.append(f"| {' | '.join([variant.label, *cells])} |")
    lines += ["", f"The paper: {ablation.paper}"]
    if ablation.expectations:
        lines += ["", "| the paper has | above | in | here |", "|---|---|---|---|"]
    for pair in ablation.expectations:
        verdict = compare(pair, results)
        lines.append(f"| {pair.better} | {pair.worse} | {HEADS[pair.metric]} | {verdict} |")
    return "\n".join(lines) + "\n"


def shown(row: Score) -> str:
    """A figure with half of its 95 % interval."""
    if row.value is None or row.low is None or row.high is None:
        return f"– ({row.note})"
    half = (row.high - row.low) / 2
    if row.unit == "share":
        return f"{100 * row.value:.1f} ± {100 * half:.1f} %"
    return f"{row.value:.2f} ± {half:.2f}"


def compare(pair: Expectation, results: Mapping[str, Result]) -> str:
    """Whether our figures go the paper's way; within 1.96 standard errors nothing can be told."""
    if pair.better not in results or pair.worse not in results:
        return "not run"
    one, other = (results[label].scores[pair.metric] for label in (pair.better, pair.worse))
    if one.value is None or other.value is None:
        return "not measured"
    ahead = one.value - other.value
    error = (standard_error(one) ** 2 + standard_error(other) ** 2) ** 0.5
    told = f"{100 * ahead:+.1f} points" if one.unit == "share" else f"{ahead:+.2f}"
    if abs(ahead) <= 1.96 * error:
        return f"too close to tell ({told})"
    return f"{'as the paper' if ahead > 0 else 'the other way'} ({told})"
