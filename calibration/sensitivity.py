"""Which layers 8 bits hurt, judged on the predicted embedding, and the fewest to keep in float."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..export.errors import ExportError
from ..runtime.model import Model
from .calibrator import Calibrator
from .engines import open_graphs
from .insert import LayerPlan, Scheme
from .windows import Windows, open_windows

Floats = npt.NDArray[np.float32]
Progress = Callable[[str, int, int], None]
# The components between the frames and the predicted embedding.
JUDGED = ("x_encoder", "predictor")
# Windows for judging come from another seed than those for calibrating.
_SEED_APART = 1000


@dataclass(frozen=True)
class Measure:
    """Of one quantised candidate. `agreement`: share of windows with float's nearest text."""

    cosine_mean: float
    cosine_min: float
    agreement: float
    ms: float  # encode and predict, median


@dataclass(frozen=True)
class LayerError:
    """1 - mean cosine of the predicted embedding with this layer alone in 8 bits."""

    layer: str
    error: float


@dataclass(frozen=True)
class Trial:
    """One step of the search: which layers stay float, and how the model fares then."""

    kept: tuple[str, ...]
    added: str
    measure: Measure


@dataclass(frozen=True)
class Budget:
    """What the search has to reach (`cosine`, `agreement`) or must not exceed (`ms`)."""

    cosine: float | None = None
    agreement: float | None = None
    ms: float | None = None

    def reached(self, measure: Measure) -> bool:
        """Whether quality is good enough."""
        return (self.cosine is None or measure.cosine_mean >= self.cosine) and (
            self.agreement is None or measure.agreement >= self.agreement
        )


class Judge:
    """Float embeddings of held-out windows, to measure candidates against."""

    def __init__(self, calibrator: Calibrator, windows: int) -> None:
        self.calibrator = calibrator
        self._windows = self._held_out(windows)
        self.shown = [window for window, _ in self._windows]
        graphs = calibrator.float_graphs()
        with open_graphs(calibrator.folder, graphs, threads=calibrator.settings.threads) as model:
            self.queries = [model.compile_query(text) for text in calibrator.queries]
            self.tokens = [model.encode_window(window) for window in self.shown]
            self.expected = [model.predict(tokens, self.queries) for tokens in self.tokens]
            self.bank = self._bank(model)
        self.decisions = [int((self.bank @ rows[0]).argmax()) for rows in self.expected]

    def _held_out(self, count: int) -> Windows:
        s = self.calibrator.settings
        c = self.calibrator
        return open_windows(s.data, c.about, count, s.seed + _SEED_APART, c.world)

    def _bank(self, model: Model) -> Floats:
        """Texts to choose among: what the windows show, or what float says of them."""
        told = [text for _, text in self._windows]
        if model.has("y_decoder"):
            told += [model.decode(rows[0]).text for rows in self.expected]
        most = model.description.text_max_tokens
        usable = [
            text
            for text in dict.fromkeys(told)
            if text.strip() and len(model.tokenize(text, "y_encoder")) <= most
        ]
        if not usable:  # nothing to name: windows are told apart by their own embeddings
            return np.stack([rows[0] for rows in self.expected])
        return model.embed_text(usable)

    def measure(self, graphs: Mapping[str, ir.Model]) -> Measure:
        """Runs the held-out windows through graphs; components left out stay float."""
        c = self.calibrator
        # Where the X-Encoder is float, its visual tokens are known already.
        encodes = "x_encoder" in graphs
        all_graphs = {name: g for name, g in c.float_graphs().items() if name in JUDGED}
        all_graphs |= {name: g for name, g in graphs.items() if name in JUDGED}
        if not encodes:
            del all_graphs["x_encoder"]
        cosines, same, times = [], [], []
        with open_graphs(c.folder, all_graphs, threads=c.settings.threads) as model:
            for window, tokens, rows, decision in zip(
                self.shown, self.tokens, self.expected, self.decisions, strict=True
            ):
                started = time.perf_counter()
                found = model.predict(
                    model.encode_window(window) if encodes else tokens, self.queries
                )
                times.append(time.perf_counter() - started)
                cosines.append((found * rows).sum(1))
                same.append(int((self.bank @ found[0]).argmax()) == decision)
        every = np.concatenate(cosines)
        return Measure(
            float(every.mean()),
            float(every.min()),
            float(np.mean(same)),
            float(np.median(times) * 1e3),
        )

    def of_schemes(self, schemes: Mapping[str, Scheme]) -> Measure:
        """All in 8 bits but what `schemes` says."""
        c = self.calibrator
        return self.measure(c.graphs(c.plan(schemes), list(JUDGED)))


def sensitivities(judge: Judge, progress: Progress | None = None) -> list[LayerError]:
    """Each layer of X-Encoder and Predictor alone in 8 bits, in the order of the graphs."""
    c = judge.calibrator
    plan = c.plan()
    layers = [layer for layer in c.layers() if layer.component in JUDGED]
    floats = {name: LayerPlan("float") for name in plan}
    errors = []
    for i, layer in enumerate(layers):
        graphs = c.graphs({**floats, layer.name: plan[layer.name]}, [layer.component])
        errors.append(LayerError(layer.name, 1.0 - judge.measure(graphs).cosine_mean))
        if progress is not None:
            progress("sensitivity", i + 1, len(layers))
    return errors


def search(
    judge: Judge,
    errors: Sequence[LayerError],
    budget: Budget,
    progress: Progress | None = None,
    kept_as: Scheme = "float",
) -> tuple[dict[str, Scheme], list[Trial]]:
    """The fewest layers in float under a budget, and every step on the way.

    Layers go to float from the most sensitive on, until quality is reached; then each is tried in
    8 bits again, from the least sensitive on. Under a budget of milliseconds alone as many go to
    float as the time allows. `kept_as` "weights": their weights stay in 8 bits, their inputs alone
    go to float. ExportError where even float layers don't reach the quality.
    """
    order = [e.layer for e in sorted(errors, key=lambda e: -e.error)]
    kept: list[str] = []
    trials: list[Trial] = []

    def attempt(layers: Sequence[str], step: str) -> Measure:
        found = judge.of_schemes(dict.fromkeys(layers, kept_as))
        trials.append(Trial(tuple(layers), step, found))
        if progress is not None:
            progress("search", len(trials), 2 * len(order))
        return found

    measure = attempt(kept, "all in 8 bits")
    by_time = budget.ms is not None
    quality = budget.cosine is not None or budget.agreement is not None
    if not quality:
        for name in order:
            if attempt([*kept, name], f"+ {name}").ms <= (budget.ms or 0.0):
                kept.append(name)
        return dict.fromkeys(kept, kept_as), trials
    for name in order:
        if budget.reached(measure):
            break
        kept.append(name)
        measure = attempt(kept, f"+ {name}")
    if not budget.reached(measure):
        raise ExportError(
            f"with all {len(kept)} layers in float, cosine {measure.cosine_mean:.5f} and agreement "
            f"{measure.agreement:.3f} are below the budget",
            "ask for less",
        )
    for name in list(reversed(kept))[1:]:
        fewer = [other for other in kept if other != name]
        found = attempt(fewer, f"- {name}")
        if budget.reached(found):
            kept, measure = fewer, found
    if by_time and measure.ms > (budget.ms or 0.0):
        raise ExportError(
            f"the quality asked for takes {measure.ms:.2f} ms, more than {budget.ms:.2f} ms",
            "ask for less, or allow more time",
        )
    return dict.fromkeys(kept, kept_as), trials
