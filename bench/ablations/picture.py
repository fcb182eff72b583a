"""All tables as one picture: a row for each variant, a column for each figure, dots with bars of
the 95 % interval. SVG of its own colours, so that a page may show it as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from ..tasks.score import Score
from .plan import Ablation, Metric
from .running import Result
from .table import HEADS

_LABELS, _COLUMN, _GAP, _ROW, _HEAD, _EDGE = 266, 124, 24, 22, 44, 14
_INK, _FAINT, _GRID, _DOT, _PAPER = "#1f2933", "#66727f", "#e1e5ea", "#3a6ea5", "#ffffff"


def to_svg(ablations: Sequence[Ablation], results: Mapping[str, Mapping[str, Result]]) -> str:
    """`results` by ablation and label; what has no result has an empty row."""
    columns = max((len(one.variants[0].metrics) for one in ablations), default=1)
    width = _LABELS + columns * (_COLUMN + _GAP) + _EDGE
    parts: list[str] = []
    y = _EDGE
    for one in ablations:
        parts += _block(one, results.get(one.name, {}), y)
        y += _HEAD + _ROW * len(one.variants) + 2 * _GAP
    named = "Figures of each ablation's variants with their 95 % intervals"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" width="{width}" '
        f'height="{y}" role="img" aria-label="{named}" font-family="sans-serif" font-size="13" '
        f'fill="{_INK}">\n<rect width="{width}" height="{y}" fill="{_PAPER}"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _block(one: Ablation, found: Mapping[str, Result], top: float) -> list[str]:
    metrics = one.variants[0].metrics
    first = top + _HEAD
    parts = [_text(_EDGE, top + 14, one.name, weight="bold")]
    for i, variant in enumerate(one.variants):
        parts.append(_text(_LABELS - 10, first + _ROW * i + 15, variant.label, anchor="end"))
    for n, metric in enumerate(metrics):
        left = _LABELS + n * (_COLUMN + _GAP)
        rows = [found[v.label].scores[metric] if v.label in found else None for v in one.variants]
        parts += _column(metric, rows, left, first)
    return parts


def _column(metric: Metric, rows: Sequence[Score | None], left: float, top: float) -> list[str]:
    """One figure of all variants, from nought to 100 % or to the highest end of an interval."""
    shares = all(row is None or row.unit == "share" for row in rows)
    most = 1.0 if shares else max((row.high or 0.0 for row in rows if row), default=0.0) or 1.0
    foot = top + _ROW * len(rows)
    parts = [_text(left, top - 8, HEADS[metric], fill=_FAINT)]
    for k in range(5):
        x = left + _COLUMN * k / 4
        parts.append(f'<path d="M{x:g} {top:g}V{foot:g}" stroke="{_GRID}"/>')
    end = "100 %" if shares else f"{most:.2f}"
    for x, told, anchor in ((left, "0", "start"), (left + _COLUMN, end, "end")):
        parts.append(_text(x, foot + 12, told, anchor=anchor, size=10, fill=_FAINT))
    for i, row in enumerate(rows):
        if row is None or row.value is None or row.low is None or row.high is None:
            continue
        low, at, high = (left + _COLUMN * v / most for v in (row.low, row.value, row.high))
        y = top + _ROW * i + _ROW / 2
        told = f"{100 * row.value:.1f} %" if shares else f"{row.value:.2f}"
        parts.append(
            f'<g stroke="{_DOT}" fill="{_DOT}"><title>{told}</title>'
            f'<path d="M{low:.1f} {y:g}H{high:.1f}" stroke-width="2"/>'
            f'<circle cx="{at:.1f}" cy="{y:g}" r="4"/></g>'
        )
        right = high < left + 0.68 * _COLUMN
        x, anchor = (max(high, at + 4) + 4, "start") if right else (min(low, at - 4) - 4, "end")
        parts.append(_text(x, y + 4, told, anchor=anchor, size=11, fill=_FAINT))
    return parts


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    weight: str = "normal",
    size: int = 13,
    fill: str = _INK,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:g}" text-anchor="{anchor}" font-weight="{weight}" '
        f'font-size="{size}" fill="{fill}">{escape(text)}</text>'
    )
