"""One streaming pass over windows: what each linear layer's input looks like, in bounded memory.

Windows go through the C core with float graphs as its engines, so that every component sees exactly
what it sees on a device: the Y-Decoder its own steps, the Y-Encoder whole texts.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..export.errors import ExportError
from ..runtime.model import Model
from .engines import open_graphs
from .histogram import MagnitudeHistogram
from .linear import AttentionProduct, LinearLayer
from .windows import Windows

Floats = npt.NDArray[np.float32]
# Windows done, windows in all.
Progress = Callable[[int, int], None]
# Rows that are kept of each layer's input, for searches that need values.
SAMPLE_ROWS = 256
_ROWS_A_RUN = 8
_SAVE_EVERY = 16


@dataclass
class InputStatistics:
    """Of one layer's input [..., C]: magnitudes, and per channel the largest and the sum.

    Of attention's inputs, which have no fixed channels, magnitudes alone (C = 0 here).
    """

    histogram: MagnitudeHistogram
    channel_amax: Floats
    channel_sum: npt.NDArray[np.float64]
    rows: int = 0
    samples: list[Floats] = field(default_factory=list)
    # Of each run the row with the largest value: what saturates first on windows not seen here.
    extremes: list[Floats] = field(default_factory=list)

    @classmethod
    def empty(cls, channels: int) -> InputStatistics:
        """Nothing seen yet."""
        zeros = np.zeros(channels, np.float32)
        return cls(MagnitudeHistogram(), zeros, np.zeros(channels))

    def add(self, values: Floats) -> None:
        """Takes what one run gave, [..., C]."""
        flat = values.reshape(-1, values.shape[-1])
        self.histogram.add(flat)
        if not len(self.channel_amax):
            return
        np.maximum(self.channel_amax, np.abs(flat).max(0), out=self.channel_amax)
        self.channel_sum += flat.sum(0, dtype=np.float64)
        room = SAMPLE_ROWS - sum(map(len, self.samples))
        if room > 0:
            # An odd step, so that rows don't always come from the same columns of patches.
            step = max(1, len(flat) // _ROWS_A_RUN) | 1
            offset = self.rows % step
            self.samples.append(flat[offset::step][: min(room, _ROWS_A_RUN)].copy())
        if len(self.extremes) < SAMPLE_ROWS:
            self.extremes.append(flat[np.abs(flat).max(1).argmax()][None].copy())
        self.rows += len(flat)

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Per channel, float64 [C]."""
        return self.channel_sum / max(1, self.rows)

    @property
    def sample(self) -> Floats:
        """Rows of the input, float32 [n, C]."""
        if not self.samples:
            return np.zeros((0, len(self.channel_amax)), np.float32)
        return np.concatenate(self.samples)

    def halves(self) -> tuple[Floats, Floats]:
        """Rows of the earlier and of the later runs, the largest of each run among them."""
        rows, largest = self.sample, np.concatenate([self.sample[:0], *self.extremes])
        at, cut = len(rows) // 2, len(largest) // 2
        return (
            np.concatenate((rows[:at], largest[:cut])),
            np.concatenate((rows[at:], largest[cut:])),
        )


class Observations:
    """Statistics by layer name, and how many windows they are of."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self.windows = 0
        self.layers: dict[str, InputStatistics] = {}

    def add(self, layer: str, values: Floats, channels: int) -> None:
        """One run's input of a layer with so many channels."""
        if layer not in self.layers:
            self.layers[layer] = InputStatistics.empty(channels)
        try:
            self.layers[layer].add(values)
        except ValueError as error:
            raise ExportError(f"{layer}: in its input, {error}", "check the model") from error

    def save(self, path: Path) -> None:
        """Writes a file that `load` goes on from; the old one is replaced whole."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        facts: dict[str, Any] = {"fingerprint": self.fingerprint, "windows": self.windows}
        facts["layers"] = {}
        for name, of in self.layers.items():
            facts["layers"][name] = [of.rows, of.histogram.upper, of.histogram.amax]
            arrays[f"{name}:counts"] = of.histogram.counts
            arrays[f"{name}:amax"] = of.channel_amax
            arrays[f"{name}:sum"] = of.channel_sum
            arrays[f"{name}:sample"] = of.sample
            arrays[f"{name}:extremes"] = np.concatenate([of.sample[:0], *of.extremes])
        arrays["facts"] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
        content = io.BytesIO()
        np.savez(content, **arrays)  # type: ignore[arg-type]
        partial = path.with_name(f"{path.name}.partial")
        partial.write_bytes(content.getvalue())
        partial.replace(path)

    @classmethod
    def load(cls, path: Path, fingerprint: str) -> Observations:
        """What `save` wrote for the same bundle, windows and options; else a fresh start."""
        fresh = cls(fingerprint)
        try:
            with np.load(path, allow_pickle=False) as stored:
                facts = json.loads(stored["facts"].tobytes())
                if facts["fingerprint"] != fingerprint:
                    return fresh
                saved = cls(fingerprint)
                saved.windows = facts["windows"]
                for name, (rows, upper, amax) in facts["layers"].items():
                    histogram = MagnitudeHistogram()
                    histogram.counts = stored[f"{name}:counts"]
                    histogram.upper, histogram.amax = upper, amax
                    saved.layers[name] = InputStatistics(
                        histogram,
                        stored[f"{name}:amax"],
                        stored[f"{name}:sum"],
                        rows,
                        [stored[f"{name}:sample"]],
                        list(stored[f"{name}:extremes"][:, None]),
                    )
                return saved
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return fresh


def observe(
    folder: Path,
    graphs: Mapping[str, ir.Model],
    layers: Iterable[LinearLayer],
    products: Iterable[AttentionProduct],
    windows: Windows,
    queries: Sequence[str],
    *,
    state: Path | None = None,
    fingerprint: str = "",
    most: int | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> Observations:
    """Runs windows (at most `most`) and gathers statistics of each layer's and product's inputs.

    Each window is asked all `queries`; answers are decoded, and all texts go through the
    Y-Encoder. With `state`, progress is kept in that file and taken up again.
    """
    names: dict[tuple[str, str], list[str]] = {}
    watched: dict[str, list[str]] = {name: [] for name in graphs}
    for layer in layers:
        value = layer.activation.name
        assert value is not None
        names.setdefault((layer.component, value), []).append(layer.name)
        watched[layer.component].append(value)
    ranges: dict[str, list[str]] = {name: [] for name in graphs}
    for product in products:
        ranges[product.component] += [key for key in product.keys if key is not None]
    for component, keys in ranges.items():
        watched[component] += [key.removeprefix(f"{component}/") for key in keys]
    found = Observations(fingerprint)
    if state is not None:
        found = Observations.load(state, fingerprint)
    blank = 0

    def watch(component: str, values: Mapping[str, npt.NDArray[Any]]) -> None:
        for value, array in values.items():
            for layer in names.get((component, value), ()):
                found.add(layer, array, array.shape[-1])
            if f"{component}/{value}" in ranges[component]:
                found.add(f"{component}/{value}", array, 0)

    total = windows.count if most is None else min(most, windows.count)
    with open_graphs(folder, graphs, threads=threads, watched=watched, watch=watch) as model:
        for i, (window, text) in enumerate(windows):
            if i >= total:
                break
            if i < found.windows:
                continue
            blank += bool(window.min() == window.max())
            run_window(model, window, text, queries)
            found.windows = i + 1
            if state is not None and found.windows % _SAVE_EVERY == 0:
                found.save(state)
            if progress is not None:
                progress(found.windows, total)
    if not found.windows:
        raise ExportError(f"{windows.name}: gave no window to calibrate on", "give longer clips")
    if blank == found.windows:
        raise ExportError(
            f"{windows.name}: all {blank} windows are of one constant colour, which has no range",
            "give clips that show something",
        )
    return found


def run_window(
    model: Model, window: npt.NDArray[np.uint8], text: str, queries: Sequence[str]
) -> None:
    """Encodes, predicts, decodes and embeds, as a device would."""
    tokens = model.encode_window(window)
    compiled = [model.compile_query(query) for query in queries]
    predicted = model.predict(tokens, compiled)
    told = [text, *queries]  # queries are texts too, where the windows come without any
    if model.has("y_decoder"):
        told += [model.decode(row).text for row in predicted[:2]]
    for words in dict.fromkeys(told):
        if words.strip() and len(model.tokenize(words, "y_encoder")) <= (
            model.description.text_max_tokens
        ):
            model.embed_text([words])
