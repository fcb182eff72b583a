"""Results as CSV: one line per run and kind of samples, or per prediction."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict

from ..results import Results

_SUMMARY = ("count", "min", "mean", "p50", "p90", "p95", "p99", "p999", "max")
_PREDICTED = (
    "device", "model", "frames", "stride", "precision", "bound_ms", "realistic_ms",
    "keep_up_fps", "keep_up_w", "model_fps", "model_fps_w", "window_j", "kind",
)  # fmt: skip


def render(results: Results) -> str:
    """Measured runs where there are any, else predictions."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if results.runs:
        writer.writerow(
            ("subject", "scenario", "threads", "backend", "samples", *_SUMMARY, "valid", "reasons")
        )
        for run in results.runs:
            for name in sorted(run.samples):
                found = asdict(run.summary(name))
                settings = [run.settings.get(key) for key in ("threads", "backend")]
                verdict = [run.validity.valid, "; ".join(run.validity.reasons)]
                values = [found[key] for key in _SUMMARY]
                writer.writerow([run.subject, run.scenario, *settings, name, *values, *verdict])
    else:
        writer.writerow(_PREDICTED)
        for row in results.predictions:
            writer.writerow([row[key] for key in _PREDICTED])
    return out.getvalue()
