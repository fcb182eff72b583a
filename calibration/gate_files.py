"""Gates fitted to a bundle and written into it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from ..export.bundle import MANIFEST
from ..export.errors import ExportError
from ..export.gate import set_gate
from ..export.manifest import GateSettings, Manifest
from ..runtime.model import Model, load
from .fidelity import gate_options
from .gate import GateScore, fit, follow
from .recording import Recording

# Records the streams that a gate is fitted on.
Record = Callable[[Model], list[Recording]]


def write_fitted(
    bundle: Path,
    recordings: Sequence[Recording],
    *,
    rate_hz: float | None = None,
    recall: float | None = None,
    dry_run: bool = False,
) -> tuple[GateScore, int]:
    """Fits a gate to true shifts and writes it into the bundle, unless it is a `dry_run`.

    Returns the gate with its score, and how many were tried. When texts are written is the bundle's
    own choice, and stays. ExportError where the streams tell nothing to fit to.
    """
    try:
        best, tried = fit(recordings, target_rate_hz=rate_hz, target_recall=recall)
    except ValueError as error:
        raise ExportError(f"{bundle}: {error}", "give longer streams, or other clips") from error
    if not dry_run:
        when = Manifest.read(bundle / MANIFEST).gate.decode_when
        thresholds = dataclasses.asdict(best.options)
        set_gate(bundle, GateSettings(decode_when=cast(Any, when), **thresholds))
    return best, len(tried)


def write_following(
    source: Path,
    output: Path,
    record: Record,
    *,
    reference: list[Recording] | None = None,
    threads: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> GateScore:
    """Gives `output` a gate that shifts where that of `source`, its full precision, does.

    `reference`: what `record` gave of `source`, where that is known already.
    """
    recorded = [] if reference is None else [reference]
    for folder in (source, output)[len(recorded) :]:
        if progress is not None:
            progress("gate", len(recorded), 2)
        with load(folder, threads=threads) as model:
            recorded.append(record(model))
    manifest = Manifest.read(source / MANIFEST)
    window = manifest.window
    found = follow(recorded[0], gate_options(source), recorded[1], window.stride / window.fps)
    threshold = found.options.ward_threshold
    set_gate(output, dataclasses.replace(manifest.gate, ward_threshold=threshold))
    return found
