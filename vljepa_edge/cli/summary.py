"""The closing lines of `vljepa run`: counts, decodes saved, times per stage, what was dropped."""

from __future__ import annotations

from vljepa_edge.runtime.stats import StreamStats


def summary(stats: StreamStats, queries: int) -> list[str]:
    """Lines for people."""
    lines = [
        f"{stats.windows} windows over {stats.duration_s:.1f} s, {stats.predictions} predictions, "
        f"{stats.shifts} shifts, {stats.decodes} decodes ({stats.tokens} tokens)"
    ]
    lines += _saved(stats, queries)
    lines += _stages(stats)
    lines += _losses(stats)
    return lines


def _saved(stats: StreamStats, queries: int) -> list[str]:
    """Against two uniform decoders: of every prediction, and once a second."""
    if not stats.predictions:
        return []
    each_second = max(1, round(stats.duration_s)) * queries
    return [
        "decodes saved: "
        f"{_share(stats.decodes, stats.predictions)} against one per window ({stats.predictions}), "
        f"{_share(stats.decodes, each_second)} against one per second ({each_second})"
    ]


def _share(made: int, uniform: int) -> str:
    return f"{100 * (1 - made / uniform):.1f} %"


def _stages(stats: StreamStats) -> list[str]:
    if not stats.stages:
        return []
    lines = [f"{'stage, ms':<10}{'count':>8}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}"]
    for name, stage in stats.stages.items():
        times = (stage.p50_ns, stage.p95_ns, stage.p99_ns, stage.max_ns)
        lines.append(f"{name:<10}{stage.count:>8}" + "".join(f"{t / 1e6:>9.3f}" for t in times))
    return lines


def _losses(stats: StreamStats) -> list[str]:
    losses = {
        "frames": stats.frames_dropped,
        "windows": stats.windows_dropped,
        "decodes superseded": stats.decodes_superseded,
        "decodes failed": stats.decode_failures,
        "events": stats.events_dropped,
    }
    told = ", ".join(f"{count} {name}" for name, count in losses.items() if count) or "nothing"
    steps = f"; degraded {stats.degradations} times" if stats.degradations else ""
    return [f"dropped: {told}{steps}"]
