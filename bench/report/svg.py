"""The report's plots as inline SVG: 380 units wide, so that they read on a phone unscaled.

Colours are CSS variables of the page, which change between light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 380, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 38
COLOURS = 6
DASHES = ("", "6 3", "2 3")


@dataclass(frozen=True)
class Series:
    """One line (or points alone) of a plot."""

    name: str
    points: Sequence[tuple[float, float]]
    line: bool = True
    marks: bool = False


def plot(
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
    label: str = "",
) -> str:
    """Lines and points over two axes, with a legend below."""
    xs = [x for one in series for x, _ in one.points]
    ys = [y for one in series for _, y in one.points]
    if not xs:
        return ""
    x_ticks, y_ticks = _ticks(xs, log_x), _ticks(ys, log_y)
    to_x = _scale(x_ticks, log_x, LEFT, WIDTH - RIGHT)
    to_y = _scale(y_ticks, log_y, HEIGHT - BOTTOM, TOP)
    parts = _axes(x_ticks, y_ticks, to_x, to_y, x_label, y_label)
    for i, one in enumerate(series):
        colour = f"var(--c{i % COLOURS})"
        places = [f"{to_x(x):.1f},{to_y(y):.1f}" for x, y in one.points]
        if one.line and len(places) > 1:
            parts.append(f'<polyline points="{" ".join(places)}" stroke="{colour}"{_dash(i)}/>')
        if one.marks or len(places) == 1:
            for place in places:
                x, y = place.split(",")
                parts.append(f'<circle cx="{x}" cy="{y}" r="3.2" fill="{colour}"/>')
    keys = [
        '<svg class="key" viewBox="0 0 24 8">'
        f'<line x1="0" x2="24" y1="4" y2="4" stroke="var(--c{i % COLOURS})"{_dash(i)}/></svg>'
        for i in range(len(series))
    ]
    return _figure(parts, label, [one.name for one in series], keys)


def stacked_bars(bars: Sequence[tuple[str, dict[str, float]]], unit: str, label: str = "") -> str:
    """One horizontal bar per row, cut into named parts."""
    names = list(dict.fromkeys(name for _, parts in bars for name in parts))
    if not names:
        return ""
    row, top = 40, 8
    height = top + row * len(bars) + BOTTOM
    ticks = _ticks([0.0, *(sum(parts.values()) for _, parts in bars)], False)
    to_x = _scale(ticks, False, 10, WIDTH - RIGHT - 10)
    shapes = []
    for tick in ticks:
        x, foot = to_x(tick), height - BOTTOM
        shapes.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{foot}"/>')
        shapes.append(f'<text x="{x:.1f}" y="{foot + 14}" class="mid">{_number(tick)}</text>')
    shapes.append(f'<text x="{WIDTH / 2}" y="{height - 6}" class="mid">{escape(unit)}</text>')
    for i, (title, parts) in enumerate(bars):
        y, at = top + i * row, 0.0
        shapes.append(f'<text x="10" y="{y + 12}">{escape(title)}</text>')
        for name, value in parts.items():
            x, end = to_x(at), to_x(at + value)
            colour = f"var(--c{names.index(name) % COLOURS})"
            shapes.append(
                f'<rect x="{x:.1f}" y="{y + 17}" width="{max(0.4, end - x):.1f}" height="16" '
                f'fill="{colour}"><title>{escape(name)} {value:.3g} {escape(unit)}</title></rect>'
            )
            at += value
    keys = [f'<i style="background:var(--c{i % COLOURS})"></i>' for i in range(len(names))]
    return _figure(shapes, label, names, keys, height)


def _dash(number: int) -> str:
    """Lines that share a colour differ by their dashes."""
    dashes = DASHES[number // COLOURS % len(DASHES)]
    return f' stroke-dasharray="{dashes}"' if dashes else ""


def _axes(
    x_ticks: list[float],
    y_ticks: list[float],
    to_x: Callable[[float], float],
    to_y: Callable[[float], float],
    x_label: str,
    y_label: str,
) -> list[str]:
    foot, parts = HEIGHT - BOTTOM, []
    for tick in x_ticks:
        x = to_x(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{foot}"/>')
        parts.append(f'<text x="{x:.1f}" y="{foot + 14}" class="mid">{_number(tick)}</text>')
    for tick in y_ticks:
        y, end = to_y(tick), WIDTH - RIGHT
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{end}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" class="end">{_number(tick)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" class="mid">{escape(x_label)}</text>')
    half = (TOP + foot) / 2
    turned = f'transform="rotate(-90 11 {half})"'
    parts.append(f'<text x="11" y="{half}" class="mid" {turned}>{escape(y_label)}</text>')
    return parts


def _figure(
    parts: list[str], label: str, names: Sequence[str], keys: list[str], height: float = HEIGHT
) -> str:
    legend = "".join(f"<li>{key}{escape(name)}</li>" for key, name in zip(keys, names, strict=True))
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(label)}">'
        + "".join(parts)
        + f'</svg><ul class="legend">{legend}</ul>'
    )


def _ticks(values: Sequence[float], log: bool) -> list[float]:
    """Round values that reach from the least to the greatest."""
    low, high = min(values), max(values)
    if log:
        low, high = max(low, 1e-9), max(high, 1e-9)
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high) + 1e-9)
        if last - first <= 2:
            fine = [k * 10.0**power for power in range(first, last + 1) for k in (1, 2, 5)]
            below = max(tick for tick in fine if tick <= low * 1.001)
            above = min((tick for tick in fine if tick >= high * 0.999), default=fine[-1])
            return [tick for tick in fine if below <= tick <= max(above, below * 2)]
        step = max(1, math.ceil((last - first) / 6))
        return [10.0**power for power in range(first, last + step, step)]
    low = 0.0 if low >= 0 and low < 0.7 * high else low
    span = (high - low) or abs(high) or 1.0
    raw = span / 5
    size = 10 ** math.floor(math.log10(raw))
    step_size = next(size * k for k in (1, 2, 5, 10) if size * k >= raw * 0.999)
    first_tick = math.floor(low / step_size)
    count = math.ceil((high - first_tick * step_size) / step_size - 1e-9)
    return [(first_tick + i) * step_size for i in range(max(1, count) + 1)]


def _scale(ticks: Sequence[float], log: bool, start: float, end: float) -> Callable[[float], float]:
    def level(value: float) -> float:
        return math.log10(max(value, 1e-9)) if log else value

    low, high = level(ticks[0]), level(ticks[-1])
    return lambda value: start + (level(value) - low) / ((high - low) or 1) * (end - start)


def _number(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 10_000 or abs(value) < 0.001:
        return f"{value:.0e}".replace("e+0", "e").replace("e-0", "e-")
    return f"{value:.6g}"
