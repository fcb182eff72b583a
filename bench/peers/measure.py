"""Times all peers and the bundle in turns: A B C, A B C, ..., each group in its own process.

A machine whose speed wanders then wanders for all of them, and whoever doesn't run sleeps. A turn
is several windows in a row, as `single` runs them: the first one, for which threads wake up and
caches fill, is kept apart, unless windows are so long that a turn is one of them. The first subject
is PyTorch FP32 eager, which a table's ratios are against.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from ...export.origin import Origin, own_checkpoint, random_weights
from ...model.config import PRESETS, paper
from ...runtime.bundle import Bundle
from ...runtime.model import Model
from .. import conditions
from ..results import Run
from ..statistics import MIN_SAMPLES, judge
from .subjects import Given

WARMUP_ROUNDS = 2
REST_S = 0.02  # for the last subject's thread pool to stop spinning
IN_A_ROW = 6  # windows of a turn, the first of which is kept apart
LONG_MS = 500.0  # from here on a turn is one window: waking up is no part of it that one would see
RANDOM = "random"  # in place of a checkpoint: the weights that `export --random-weights` makes
# Group -> what it is called until it has opened, and its memory in multiples of the FP32 weights
# while it opens (measured at the paper's sizes, rounded up).
GROUPS = {
    "torch": ("PyTorch", 1.6),
    "ort": ("plain export, ONNX Runtime FP32", 2.2),
    "openvino_f32": ("plain export, OpenVINO FP32", 2.2),
    "openvino_bf16": ("plain export, OpenVINO BF16", 1.8),
    "saccadic": ("saccadic", 1.6),
}
# For `bench/speed.py` alone.
MORE_GROUPS = {
    "torch_forms": ("PyTorch", 2.2),
    "graphs": ("the bundle's graphs, ONNX Runtime", 0.6),
    "without_own_ops": ("the bundle without own operators", 0.6),
}
Progress = Callable[[int, int], None]


class PeerError(RuntimeError):
    """A group's process failed; the message is its own."""


@dataclass
class Row:
    """A subject in its group's process, and what was measured of it."""

    group: Group
    index: int
    predicts: bool
    run: Run


class Group:
    """A process that holds some subjects and does what it is asked, one thing at a time."""

    def __init__(self, folder: Path, name: str) -> None:
        module = "vljepa_edge.bench.peers.worker"
        self.start([sys.executable, "-m", module, str(folder), name], name)

    def start(self, command: Sequence[str], name: str) -> None:
        """Starts the process."""
        self.name = name
        self.cpu_s = 0.0
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115
        # Of its own session: Ctrl-C reaches this process alone, which keeps what it has.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            text=True, start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> Group:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def opened(self) -> dict[str, Any]:
        """Its subjects and what is missing. PeerError where it could not open."""
        return self._answer()

    def ask(self, **asked: int) -> dict[str, Any]:
        """One request, one answer. PeerError where it failed or the process died."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it has ended; the answer tells how
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            memory = ", as the system does when memory runs out" if code == -9 else ""
            raise PeerError(f"its process ended with {code}{memory}{self._last_words()}")
        told: dict[str, Any] = json.loads(line)
        self.cpu_s = told["cpu_s"]
        if "error" in told:
            raise PeerError(told["error"])
        return told

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return f": {lines[-1][:150]}" if lines else ""

    def close(self) -> None:
        """Ends the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()


def open_origin(checkpoint: str, model: Model) -> Origin:
    """A checkpoint folder of ours, or "random[:SEED]": the preset of the bundle's name.

    CheckpointError for another folder, ValueError where no preset has the bundle's name.
    """
    if checkpoint != RANDOM and not checkpoint.startswith(RANDOM + ":"):
        return own_checkpoint(Path(checkpoint))
    about, seed = model.description, checkpoint.partition(":")[2]
    if about.name not in PRESETS:
        names = ", ".join(PRESETS)
        raise ValueError(f"--peers random is for bundles of a preset ({names}), not {about.name!r}")
    config = paper(about.frames) if about.name == "paper" else PRESETS[about.name]()
    return random_weights(config, int(seed or 0))


def _check_same(origin: Origin, checkpoint: str, bundle: str) -> None:
    """ValueError where the bundle tells that it was made of other weights."""
    with Bundle(bundle) as opened:
        made_of = opened.manifest().get("provenance", {})
    wanted, found = made_of.get("checkpoint_sha256"), origin.sha256()
    if origin.kind == "random":
        wanted, found = made_of.get("checkpoint"), origin.provenance().checkpoint
    if wanted and wanted != found:
        raise ValueError(
            f"--peers {checkpoint}: {bundle} was made of another checkpoint ({wanted[:40]}, this "
            f"one is {found[:40]}); full precision has to be of the same weights"
        )


def measure_peers(
    model: Model, checkpoint: Path | str, *, bundle: str, name: str, backend: str = "ort",
    threads: int = 0, rounds: int = 30, groups: Sequence[str] = tuple(GROUPS),
    progress: Progress | None = None, query: npt.NDArray[np.float32] | None = None,
) -> tuple[list[Run], list[str], bool]:  # fmt: skip
    """Runs of all peers and the bundle, what is missing and why, and False where interrupted.

    `model`: the open bundle, for its query and sizes; it is closed before anything is timed, since
    the bundle's turn comes in a process as well. `query` [L, W] is taken in place of its first.
    ValueError where the checkpoint isn't the one that
    the bundle was made of. Needs the extra "export".
    """
    about = model.description
    origin = open_origin(str(checkpoint), model)
    _check_same(origin, str(checkpoint), bundle)
    rng = np.random.default_rng(0)
    shape = (about.frames, 3, about.height, about.width)
    window = rng.integers(0, 255, shape, dtype=np.uint8)
    if query is None:
        query = np.array(model.queries[0].embeddings, np.float32)
    model.close()
    with tempfile.TemporaryDirectory(prefix="vljepa-peers-") as folder:
        given = Given(
            Path(folder), origin, window, query, threads, bundle, name, backend, about.stride
        )
        given.write()
        opened: list[Group] = []
        try:
            rows, missing = _open(given, groups, opened)
            return [row.run for row in rows], missing, alternate(rows, rounds, missing, progress)
        finally:
            for group in opened:
                group.close()


def _open(given: Given, names: Sequence[str], opened: list[Group]) -> tuple[list[Row], list[str]]:
    """All groups that can be had, the bundle last; their cosines to full precision."""
    missing: list[str] = []
    if set(names) - set(MORE_GROUPS) - {"torch"}:
        with Group(given.folder, "plain_export") as exporting:
            try:
                exporting.opened()
            except PeerError as error:
                missing.append(f"plain export: {error}")
    exported = not missing
    weights = _weight_bytes(given)
    rows: list[Row] = []
    wanted = [(name, *{**GROUPS, **MORE_GROUPS}[name]) for name in names]
    for name, title, share in [*wanted, ("bundle", given.bundle_name, 0.0)]:
        if not exported and name.startswith(("ort", "openvino")):
            continue
        free = _free_bytes()
        if free is not None and free < share * weights:
            missing.append(
                f"{title}: not enough memory, about {share * weights / 1e9:.1f} GB are needed and "
                f"{free / 1e9:.1f} GB free"
            )
            continue
        group = Group(given.folder, name)
        opened.append(group)
        try:
            told = group.opened()
        except PeerError as error:
            missing.append(f"{title}: {error}")
            continue
        missing += [f"{one}: {reason}" for one, reason in told["missing"]]
        for index, subject in enumerate(told["subjects"]):
            settings = {"threads": given.threads, "backend": given.backend}
            headline = "window_ms" if subject["predicts"] else "encode_ms"
            run = Run("peers", subject["name"], settings, headline)
            rows.append(Row(group, index, subject["predicts"], run))
    _cosines(rows, given.folder)
    return rows, missing


def _cosines(rows: list[Row], folder: Path) -> None:
    """Of the predicted embedding to the first subject's; of an encoder alone, of visual tokens."""
    reference: npt.NDArray[np.float64] | None = None
    for row in rows:
        try:
            file = row.group.ask(embedding=row.index)["file"]
        except PeerError:
            continue  # told when it is timed
        if file is None:
            continue
        found = np.load(file).ravel().astype(np.float64)
        if row.predicts:
            reference = found if reference is None else reference
            other = reference
        else:
            with np.load(folder / "tokens.npz") as arrays:
                other = arrays["tokens"].ravel().astype(np.float64)
        norms = float(np.linalg.norm(found) * np.linalg.norm(other))
        row.run.counters["cosine"] = float(found @ other) / norms


def alternate(
    rows: list[Row], rounds: int, missing: list[str], progress: Progress | None = None
) -> bool:
    """Times all in turns. One that fails drops out and is told; False: interrupted by Ctrl-C."""
    busy, cpu_s = conditions.BusyClock.now(), _cpu_s(rows)
    running, finished = list(rows), True
    try:
        for number in range(-WARMUP_ROUNDS, rounds):
            if progress is not None:
                progress(max(0, number), rounds)
            windows = _windows_of_a_turn(rows) if number >= 0 else 1
            for row in list(running):
                time.sleep(REST_S)
                try:
                    told = row.group.ask(run=row.index, windows=windows)
                except PeerError as error:
                    missing.append(f"{row.run.subject}: {error}")
                    running.remove(row)
                    continue
                _keep(row.run, told["windows"], warmup=number < 0)
    except KeyboardInterrupt:
        finished = False
    background = busy.background_cores(children_s=_cpu_s(rows) - cpu_s)
    for row in rows:
        row.run.settings |= {"rounds": rounds, "windows_in_a_row": _windows_of_a_turn(rows)}
        row.run.counters["background_cores"] = background
        row.run.validity = judge(
            row.run.samples.get(row.run.headline, []),
            needed=min(rounds, MIN_SAMPLES),
            background_cores=background,
            interrupted=not finished or row not in running,
        )
    return finished


def _windows_of_a_turn(rows: list[Row]) -> int:
    """By the last warm-up of the slowest."""
    slowest = max(
        (row.run.warmup[row.run.headline][-1] for row in rows if row.run.warmup), default=0.0
    )
    return IN_A_ROW if slowest < LONG_MS else 1


def _keep(run: Run, windows: list[dict[str, Any]], *, warmup: bool) -> None:
    for number, told in enumerate(windows):
        if warmup:
            kept, begin = run.warmup, ""
        else:
            kept, begin = run.samples, "first_" if number == 0 and len(windows) > 1 else ""
        kept.setdefault(f"{begin}encode_ms", []).append(told["encode_ms"])
        if told["predict_ms"] is not None:
            whole = told["encode_ms"] + told["predict_ms"]
            kept.setdefault(f"{begin}predict_ms", []).append(told["predict_ms"])
            kept.setdefault(f"{begin}window_ms", []).append(whole)


def _cpu_s(rows: list[Row]) -> float:
    return sum(group.cpu_s for group in {id(row.group): row.group for row in rows}.values())


def _weight_bytes(given: Given) -> float:
    """Of X-Encoder and Predictor in FP32, without the embedding table."""
    from ..devices.operators import components

    parts = components(given.config, len(given.query))[:2]
    return 4.0 * sum(part.weights for part in parts)


def _free_bytes() -> int | None:
    """What the system could still give; None where it doesn't say."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s*(\d+) kB", text, re.M)
    return int(found[1]) * 1024 if found else None
