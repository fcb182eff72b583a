"""Makes the packaged bundle from a checkpoint: export, gate, INT8, gate again, proof.

    python -m vljepa_edge.calibration.package checkpoints/nano -o vljepa_edge/bundles/nano

What it makes on the way stays in --work: the full-precision bundle (`fp32`), the quantised one and
the report. The output is replaced only where the quantised bundle keeps all its goals
(calibration/goals.py). The same checkpoint, seeds and tools give the same bytes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..export import bundle
from ..export.errors import ExportError
from ..runtime.model import Model, load
from . import goals, quantise
from .calibrator import Calibrator
from .fidelity import Fidelity, compare
from .full_precision import full_precision
from .gate import GateScore, score
from .gate_files import write_fitted, write_following
from .insert import Scheme
from .recording import Recording
from .report import write_fidelity, write_layers
from .sensitivity import Budget, Judge, search, sensitivities
from .settings import Precision, Settings
from .world_streams import record_world

# Components that write texts.
_WRITERS = ("y_decoder_prefix", "y_decoder")
# Mean cosine that is reached by leaving inputs in float.
_SPARED_COSINE = 0.9996

Progress = Callable[[str, int, int], None]
FLOAT = "fp32"


@dataclass(frozen=True)
class Recipe:
    """How much of sprite world each step sees. Seeds apart: no two steps see the same."""

    windows: int = 128  # that ranges come from
    streams: int = 4  # that each gate is fitted on
    seconds: float = 60.0
    seed: int = 100
    judged_windows: int = 400
    judged_streams: int = 4
    judged_seed: int = 2
    candidates: int = 2400
    search_windows: int = 32  # that tell which layers' inputs stay float
    threads: int = 0  # of the engines; 0: all


@dataclass(frozen=True)
class Packaged:
    """What was made; `fidelity` None for full precision itself."""

    folder: Path
    sha256: str
    gate: GateScore
    held_out: GateScore
    fidelity: Fidelity | None


def make(
    checkpoint: Path,
    work: Path,
    precision: Precision | None = "int8",
    recipe: Recipe | None = None,
    progress: Progress | None = None,
) -> Packaged:
    """Makes `work`/fp32, and from it `work`/<precision> with `work`/report; None: fp32 alone."""
    r = recipe or Recipe()
    work.mkdir(parents=True, exist_ok=True)
    source = full_precision(checkpoint, work / FLOAT, progress=progress)
    fitted, held_out, recordings = _fit_gate(source, r, work, progress)
    if precision is None:
        return Packaged(source, _digest(source), fitted, held_out, None)
    output = work / precision
    settings = Settings(
        precision=precision,
        windows=r.windows,
        seed=r.seed,
        # In FP8 both cost more of the decisions than they give (bench/results/calibration).
        attention=False,
        bias_correction=precision != "fp8",
        threads=r.threads,
    )
    calibrator = Calibrator(source, settings)
    calibrator.observe(work / f".{precision}.calibration", progress)
    schemes = _spared(calibrator, r, progress)
    plan = calibrator.plan(schemes)
    quantise.write(calibrator, plan, output, overwrite=True)
    for file in work.glob(f".{precision}.calibration.*"):
        file.unlink()

    def record(model: Model) -> list[Recording]:
        return _record(model, r, r.seed, progress)

    write_following(source, output, record, reference=recordings, threads=r.threads)
    found = compare(
        source,
        output,
        windows=r.judged_windows,
        candidates=r.candidates,
        streams=r.judged_streams,
        seconds=r.seconds,
        seed=r.judged_seed,
        threads=r.threads,
        progress=progress,
    )
    report = work / "report"
    write_layers(calibrator, plan, report)
    write_fidelity(found, report)
    (report / "goals.md").write_text(_summary(calibrator, found, fitted, held_out), "utf-8")
    return Packaged(output, _digest(output), fitted, held_out, found)


def _spared(calibrator: Calibrator, r: Recipe, progress: Progress | None) -> dict[str, Scheme]:
    """Layers with 8-bit weights and inputs in float: the Y-Decoder's, which runs seldom and whose
    texts people read, and as few others as keep the predicted embedding."""
    schemes: dict[str, Scheme] = {
        layer.name: "weights" for layer in calibrator.layers() if layer.component in _WRITERS
    }
    judge = Judge(calibrator, r.search_windows)
    errors = sensitivities(judge, progress)
    budget = Budget(cosine=_SPARED_COSINE)
    try:
        return schemes | search(judge, errors, budget, progress, "weights")[0]
    except ExportError:  # 8-bit weights alone cost more: the report tells what all of it costs
        return schemes


def _summary(
    calibrator: Calibrator, found: Fidelity, fitted: GateScore, held_out: GateScore
) -> str:
    """Which checkpoint, how much was seen, and whether the goals are kept."""
    made = calibrator.manifest.provenance
    return (
        f"# {found.b.precision} against {found.a.precision}\n\n"
        f"Checkpoint `{made.checkpoint}`, sha256 {made.checkpoint_sha256}. Ranges from "
        f"{calibrator.observations.windows} windows; judged on {found.windows} windows and "
        f"{found.candidates} captions of {found.data}.\n\n"
        f"{goals.markdown(goals.goals(found))}\n"
        f"Full precision's gate: F1 {fitted.f1:.3f} where it was fitted, {held_out.f1:.3f} on "
        f"other streams. The report is beside this file: fidelity, layers, gate.\n"
    )


def publish(made: Path, output: Path) -> None:
    """Replaces `output` by a copy of the bundle `made`, whole or not at all."""
    with bundle.staged(output, overwrite=True) as folder:
        for file in sorted(made.iterdir()):
            shutil.copyfile(file, folder / file.name)
    bundle.check_folder(output)


def _fit_gate(
    source: Path, r: Recipe, work: Path, progress: Progress | None
) -> tuple[GateScore, GateScore, list[Recording]]:
    """The full-precision gate, on streams of its own; its score on as many others; the former."""
    with load(source, threads=r.threads) as model:
        recordings = _record(model, r, r.seed, progress)
        others = _record(model, r, r.seed + r.streams, progress)
    fitted, tried = write_fitted(source, recordings)
    held_out = score(others, fitted.options)
    told = {
        "gate": dataclasses.asdict(fitted.options),
        "tried": tried,
        "fitted": _told(fitted),
        "held_out": _told(held_out),
    }
    report = work / "report"
    report.mkdir(exist_ok=True)
    (report / "gate.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return fitted, held_out, recordings


def _record(model: Model, r: Recipe, seed: int, progress: Progress | None) -> list[Recording]:
    def advance(done: int, total: int) -> None:
        if progress is not None:
            progress("streams", done, total)

    return record_world(model, streams=r.streams, seconds=r.seconds, seed=seed, progress=advance)


def _told(found: GateScore) -> dict[str, float]:
    names = ("f1", "precision", "recall", "rate_hz", "delay_s")
    return {name: getattr(found, name) for name in names}


def _digest(folder: Path) -> str:
    with load(folder, verify_hashes=True) as model:
        return model.description.bundle_sha256


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: made; 1: a goal was missed, and the output is as it was; 2: bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m vljepa_edge.calibration.package", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="replaced if it is a bundle")
    parser.add_argument("--work", type=Path, default=Path("build/bundle"))
    parser.add_argument("--precision", choices=["int8", "fp8", "fp32"], default="int8")
    parser.add_argument("--report", type=Path, help="a folder that the report is copied to")
    parser.add_argument("--force", action="store_true", help="replace the output in any case")
    for field in dataclasses.fields(Recipe):
        name = f"--{field.name.replace('_', '-')}"
        parser.add_argument(name, type=type(field.default), default=field.default)
    given: dict[str, Any] = vars(parser.parse_args(arguments))
    recipe = Recipe(**{field.name: given[field.name] for field in dataclasses.fields(Recipe)})
    said = ""

    def progress(what: str, done: int, total: int) -> None:
        nonlocal said
        if sys.stderr.isatty():
            print(f"\r\x1b[K{what} {done}/{total}", end="", file=sys.stderr, flush=True)
        elif what != said:
            print(what, file=sys.stderr, flush=True)
        said = what

    precision = None if given["precision"] == FLOAT else given["precision"]
    output: Path | None = given["output"]
    try:
        if not (given["checkpoint"] / "model.safetensors").is_file():
            raise ExportError(f"{given['checkpoint']}: no model.safetensors", "name a checkpoint")
        if output is not None:
            bundle.check_replaceable(output, overwrite=True)
        made = make(given["checkpoint"], given["work"], precision, recipe, progress)
    except ExportError as error:
        print(f"package: {error}", file=sys.stderr)
        return 2
    if sys.stderr.isatty():
        print(file=sys.stderr)
    if given["report"] is not None:
        shutil.copytree(given["work"] / "report", given["report"], dirs_exist_ok=True)
    size = quantise.size(made.folder)
    print(f"{made.folder}: {size / 1e6:.2f} MB, sha256 {made.sha256}")
    print(f"gate: F1 {made.gate.f1:.3f} fitted, {made.held_out.f1:.3f} on other streams")
    missed = []
    if made.fidelity is not None:
        found = goals.goals(made.fidelity)
        missed = [goal.what for goal in found if not goal.reached]
        print(f"\n{goals.markdown(found)}")
    if missed and not given["force"]:
        print(
            f"missed: {'; '.join(missed)}; {output or 'the output'} stays as it was",
            file=sys.stderr,
        )
        return 1
    if output is not None:
        publish(made.folder, output)
        print(f"{output}: replaced")
    return 1 if missed else 0


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    raise SystemExit(main())
