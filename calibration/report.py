"""Fidelity, sensitivity and ablation as Markdown, JSON and pictures."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .ablation import Variant
from .calibrator import Calibrator
from .fidelity import Fidelity, Side
from .insert import LayerPlan
from .sensitivity import LayerError, Trial

Rows = Sequence[Sequence[str]]


def machine() -> dict[str, str]:
    """What figures depend on."""
    found = {"cpu": _cpu(), "threads": str(os.cpu_count()), "system": platform.platform()}
    for package in ("vljepa-edge", "onnxruntime", "onnx", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def table(head: Sequence[str], rows: Rows) -> str:
    """A Markdown table, numbers to the right."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def fidelity_markdown(f: Fidelity) -> str:
    """The report of `vljepa compare`."""
    a, b = f.a, f.b
    lines = [f"# {b.bundle} ({b.precision}) against {a.bundle} ({a.precision})", ""]
    lines.append(
        f"{f.windows} windows of {f.data}; {len(f.queries)} queries; {f.candidates} candidate "
        f"captions; {f.seconds:.0f} s."
    )
    if a.simulated or b.simulated:
        lines += ["", "FP8 is **simulated** on this CPU (values rounded to E4M3, arithmetic in"]
        lines.append("float32): its decisions are FP8's, its times say nothing.")
    agreement = [
        ("cosine of predicted embeddings, mean", f"{f.cosine_mean:.5f}"),
        ("… 1st percentile", f"{f.cosine_p1:.5f}"),
        ("… minimum", f"{f.cosine_min:.5f}"),
        ("cosine of text embeddings, mean", f"{f.text_cosine_mean:.5f}"),
        ("classification: best candidate differs", f"{f.top1_flips:.1%}"),
        ("classification: A's best not in B's five best", f"{f.top5_flips:.1%}"),
        ("shifts: F1 within one window", _share(f.trigger_f1, 3)),
        ("decoded texts equal", "–" if f.decoded_exact is None else f"{f.decoded_exact:.1%}"),
        ("CIDEr of B's texts against A's", _share(f.decoded_cider, 2)),
        ("size on disk, B of A", f"{f.size_share:.1%}"),
    ]
    lines += ["", "## Agreement", "", table(["B against A", "value"], agreement)]
    each: list[tuple[str, str, str, str]] = [
        _both("classification top-1", a.top1, b.top1, f.classification_points),
        _both("retrieval R@1 (text to video)", a.retrieval_r1, b.retrieval_r1, f.retrieval_points),
        ("CIDEr against the truth", _share(a.cider, 2), _share(b.cider, 2), ""),
    ]
    if f.trigger_shifts is not None:
        each.append(("shifts told", str(f.trigger_shifts[0]), str(f.trigger_shifts[1]), ""))
    lines += ["", "## Each by itself", "", table(["", "A", "B", "B − A"], each)]
    costs = [
        ("encode a window, ms (median)", *_ms(a.encode_ms, b)(b.encode_ms)),
        ("predict all queries, ms (median)", *_ms(a.predict_ms, b)(b.predict_ms)),
    ]
    if a.decode_ms is not None and b.decode_ms is not None:
        costs.append(("decode a text, ms (median)", *_ms(a.decode_ms, b)(b.decode_ms)))
    costs.append(("bundle, MB", f"{a.bytes / 1e6:.2f}", f"{b.bytes / 1e6:.2f}", _share_of(a, b)))
    for name, size in a.component_bytes.items():
        other = b.component_bytes.get(name, 0)
        costs.append(
            (f"{name}, MB", f"{size / 1e6:.2f}", f"{other / 1e6:.2f}", f"{other / size:.1%}")
        )
    lines += ["", "## Cost, side by side in one run", "", table(["", "A", "B", "B / A"], costs)]
    return "\n".join(lines) + "\n"


def _share(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _share_of(a: Side, b: Side) -> str:
    return f"{b.bytes / a.bytes:.1%}"


def _both(
    what: str, a: float | None, b: float | None, points: float | None
) -> tuple[str, str, str, str]:
    if a is None or b is None or points is None:
        return what, "–", "–", ""
    return what, f"{a:.1%}", f"{b:.1%}", f"{points:+.1f} points"


def _ms(a: float, side: Side) -> Any:
    def row(b: float) -> tuple[str, str, str]:
        if side.simulated:
            return f"{a:.2f}", "simulated", ""
        return f"{a:.2f}", f"{b:.2f}", f"{b / a:.0%}"

    return row


def write_fidelity(f: Fidelity, folder: Path) -> list[Path]:
    """fidelity.md, fidelity.json and fidelity.png."""
    folder.mkdir(parents=True, exist_ok=True)
    markdown, data, picture = (folder / f"fidelity.{end}" for end in ("md", "json", "png"))
    markdown.write_text(fidelity_markdown(f), encoding="utf-8")
    _write_json(data, {"machine": machine(), **f.to_json()})
    _draw_fidelity(f, picture)
    return [markdown, data, picture]


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _draw_fidelity(f: Fidelity, path: Path) -> None:
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(1, 4, figsize=(16, 4), layout="constrained")
    axes[0].hist(f.cosines, bins=40, color="#3a6ea5")
    axes[0].axvline(f.cosine_mean, color="#c0392b", label=f"mean {f.cosine_mean:.4f}")
    axes[0].set(title="cosine of predicted embeddings", xlabel="cosine, B against A")
    axes[0].legend()
    agreement = {
        "same best\ncandidate": 1 - f.top1_flips,
        "A's best in\nB's five": 1 - f.top5_flips,
        "shifts\n(F1)": f.trigger_f1,
        "equal\ntexts": f.decoded_exact,
    }
    known = {name: share for name, share in agreement.items() if share is not None}
    bars = axes[1].bar(list(known), [100 * v for v in known.values()], color="#3a6ea5")
    axes[1].bar_label(bars, fmt="%.1f")
    axes[1].set(title="decisions that agree, %", ylim=(0, 110))
    names = list(f.a.component_bytes)
    for i, (side, colour) in enumerate(((f.a, "#b8c4d0"), (f.b, "#3a6ea5"))):
        at = [n + 0.4 * i for n in range(len(names))]
        sizes = [side.component_bytes.get(name, 0) / 1e6 for name in names]
        axes[2].bar(at, sizes, 0.4, color=colour, label=f"{side.bundle} ({side.precision})")
    axes[2].set_xticks([n + 0.2 for n in range(len(names))], names, rotation=25, ha="right")
    axes[2].set(title="size, MB")
    axes[2].legend()
    stages = [("encode", f.a.encode_ms, f.b.encode_ms), ("predict", f.a.predict_ms, f.b.predict_ms)]
    if f.a.decode_ms is not None and f.b.decode_ms is not None:
        stages.append(("decode", f.a.decode_ms, f.b.decode_ms))
    labels = (f.a.bundle, f.b.bundle + (" (simulated)" if f.b.simulated else ""))
    for i, colour in enumerate(("#b8c4d0", "#3a6ea5")):
        at = [n + 0.4 * i for n in range(len(stages))]
        axes[3].bar(at, [s[i + 1] for s in stages], 0.4, color=colour, label=labels[i])
    axes[3].set_xticks([n + 0.2 for n in range(len(stages))], [s[0] for s in stages])
    axes[3].set(title="median ms, one run")
    axes[3].legend()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def write_sensitivity(
    errors: Sequence[LayerError], trials: Sequence[Trial], kept: Sequence[str], folder: Path
) -> list[Path]:
    """sensitivity.md, .json and .png: each layer alone in 8 bits, and the search where one ran."""
    folder.mkdir(parents=True, exist_ok=True)
    markdown, data, picture = (folder / f"sensitivity.{end}" for end in ("md", "json", "png"))
    ordered = sorted(errors, key=lambda e: -e.error)
    rows = [(e.layer, f"{e.error:.2e}", "float" if e.layer in kept else "8 bits") for e in ordered]
    text = "# Error of the predicted embedding with one layer alone in 8 bits\n\n"
    text += table(["layer", "1 − cosine", "in the bundle"], rows) + "\n"
    if trials:
        told = [
            (
                str(len(t.kept)),
                f"{t.measure.cosine_mean:.6f}",
                f"{t.measure.agreement:.1%}",
                f"{t.measure.ms:.2f}",
                t.added,
            )
            for t in trials
        ]
        head = ["layers in float", "cosine", "same decision", "ms", "step"]
        text += "\n# The search\n\n" + table(head, told) + "\n"
    markdown.write_text(text, encoding="utf-8")
    content = {
        "machine": machine(),
        "layers": [vars(e) for e in errors],
        "search": [{"kept": t.kept, "step": t.added, **vars(t.measure)} for t in trials],
        "kept_float": list(kept),
    }
    _write_json(data, content)
    pyplot = _pyplot()
    figure, axis = pyplot.subplots(figsize=(9, 0.8 + 0.22 * len(ordered)), layout="constrained")
    colours = ["#c0392b" if e.layer in kept else "#3a6ea5" for e in ordered]
    axis.barh([e.layer for e in ordered], [max(e.error, 1e-9) for e in ordered], color=colours)
    axis.invert_yaxis()
    axis.set(xscale="log", xlabel="1 − cosine of the predicted embedding (red: stays float)")
    axis.tick_params(axis="y", labelsize=7)
    figure.savefig(picture, dpi=100)
    pyplot.close(figure)
    return [markdown, data, picture]


def write_ablation(variants: Sequence[Variant], folder: Path) -> list[Path]:
    """ablation.md and ablation.json: what each part buys."""
    folder.mkdir(parents=True, exist_ok=True)
    markdown, data = folder / "ablation.md", folder / "ablation.json"
    rows = [
        (
            v.name,
            f"{v.measure.cosine_mean:.6f}",
            f"{v.measure.cosine_min:.6f}",
            f"{v.measure.agreement:.1%}",
        )
        for v in variants
    ]
    head = ["variant", "cosine mean", "cosine min", "same decision"]
    text = "# What each part of calibration buys\n\n" + table(head, rows) + "\n"
    markdown.write_text(text, encoding="utf-8")
    content = [{"name": v.name, **vars(v.measure)} for v in variants]
    _write_json(data, {"machine": machine(), "variants": content})
    return [markdown, data]


def write_layers(calibrator: Calibrator, plan: Mapping[str, LayerPlan], folder: Path) -> list[Path]:
    """layers.md and layers.json: each layer's scheme, range and smoothing."""
    folder.mkdir(parents=True, exist_ok=True)
    content = []
    for name, layer in plan.items():
        smoothing = calibrator.smoothing.get(name)
        content.append(
            {
                "layer": name,
                "scheme": layer.scheme,
                "amax": layer.amax or None,
                "float_channels": len(layer.outliers),
                "alpha": None if smoothing is None else smoothing.alpha,
                "error": None if smoothing is None else smoothing.error,
                "error_without_smoothing": None if smoothing is None else smoothing.error_without,
            }
        )
    markdown, data = folder / "layers.md", folder / "layers.json"
    rows = [
        (
            str(c["layer"]),
            {"full": "8 bits", "weights": "8-bit weights", "float": "float"}[str(c["scheme"])],
            "–" if c["amax"] is None else f"{c['amax']:.4g}",
            "–" if c["alpha"] is None else f"{c['alpha']}",
            str(c["float_channels"] or "–"),
        )
        for c in content
    ]
    text = (
        "# Layers\n\n"
        + table(["layer", "stored as", "input up to", "alpha", "channels in float"], rows)
        + "\n"
    )
    markdown.write_text(text, encoding="utf-8")
    _write_json(data, {"calibration": calibrator.record(), "layers": content})
    return [markdown, data]
