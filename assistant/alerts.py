"""Standing alerts: a text embedded once, that fires when the stream comes near what it means."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from vljepa_edge.assistant.errors import AssistantError
from vljepa_edge.assistant.threshold import SHORTEST_S, calibrate
from vljepa_edge.assistant.vectors import Floats

MOST_ALERTS = 64
_HISTORY_S = 3600.0
_HISTORY_ROWS = 1 << 14  # 68 minutes at 4 windows a second
_RECALIBRATE_S = 10.0
_HYSTERESIS = 0.02  # of a cosine
_HYSTERESIS_AMONG = 0.2  # of a probability
_LIKELIER_THAN_NOT = 0.5
# InfoNCE trains a softmax over texts at about this temperature (CLIP's initial one, and ours).
_TEMPERATURE = 0.07
# The softmax is trained over about so many texts. More phrases make none of them likelier, so more
# weigh no more than these together; but the nearest one always weighs in full.
_CROWD = 128
# What none of the texts tells about is as likely as a text of this cosine: a text that has nothing
# to do with a window passes it in one of ten (nano).
_NOTHING = 0.25
_SAME_MEANING = 0.95  # a phrase this near to the alert's text tells nothing against it


@dataclass(frozen=True)
class Firing:
    """An alert that fired: at `at_ns` of the stream, `score` reached `threshold`."""

    alert: int
    text: str
    at_ns: int
    score: float
    threshold: float


class Weighed(NamedTuple):
    """A window against phrases: exp(cosine / temperature - highest) of each, float64 [n]."""

    exps: npt.NDArray[np.float64]
    highest: float


class Phrases:
    """Texts of what else may be seen, float32 [n, E], for alerts that are told apart from them."""

    def __init__(self, texts: Sequence[str], embeddings: Floats) -> None:
        self.texts = tuple(texts)
        self.embeddings = embeddings

    def weigh(self, embedding: Floats) -> Weighed:
        """What each weighs for one predicted embedding [E]."""
        logits = (self.embeddings @ embedding).astype(np.float64) / _TEMPERATURE
        highest = float(logits.max(initial=0.0))
        return Weighed(np.exp(logits - highest), highest)


@dataclass
class Alert:
    """What `when` gives. `threshold` is None until enough of the stream was seen to tell one.

    It fires when the score, smoothed over two windows, reaches the threshold, then not again before
    the score fell under threshold - hysteresis and `cool_down_s` have passed. The score is a
    cosine, or with `among` the probability that the alert's text is what is seen, not one of those;
    phrases that say the same, or less ("something red"), or more, tell nothing against it.
    """

    number: int
    text: str
    embedding: Floats  # float32 [E], unit length
    callback: Callable[[Firing], object] | None = None
    threshold: float | None = None
    fixed: bool = False  # the caller's own threshold: never moved by calibration
    per_hour: float = 1.0
    hysteresis: float = 0.02
    cool_down_s: float = 10.0
    among: Phrases | None = None
    score: float = 0.0
    fired: int = 0
    _armed: bool = True
    _quiet_until_ns: int | None = field(default=None)
    _last: float | None = field(default=None)
    _same: npt.NDArray[np.intp] | None = field(default=None)  # phrases that count neither way

    def __post_init__(self) -> None:
        if self.among is not None:
            own = _words(self.text)
            told = [own <= _words(text) or _words(text) <= own for text in self.among.texts]
            near = self.among.embeddings @ self.embedding >= _SAME_MEANING
            self._same = np.flatnonzero(near | np.array(told, bool))

    def likeness(self, embedding: Floats, weighed: Weighed | None = None) -> float:
        """The unsmoothed score of one window: a cosine, or a probability among phrases.

        `weighed`: what `among` weighs, where it is known already.
        """
        cosine = float(self.embedding @ embedding)
        if self.among is None or self._same is None:
            return cosine
        exps, highest = weighed or self.among.weigh(embedding)
        rest = exps.copy()
        rest[self._same] = 0.0
        crowd = float(rest.sum()) * min(1.0, _CROWD / max(1, len(rest) - len(self._same)))
        others = max(crowd, float(rest.max(initial=0.0)))
        own = math.exp(cosine / _TEMPERATURE - highest)
        return own / (own + others + math.exp(_NOTHING / _TEMPERATURE - highest))

    def push(self, likeness: float, at_ns: int) -> Firing | None:
        """Takes one window's likeness; a Firing where the alert goes off."""
        self.score = likeness if self._last is None else (likeness + self._last) / 2
        self._last = likeness
        if self.threshold is None:
            return None
        if self.score < self.threshold - self.hysteresis:
            self._armed = True
        quiet = self._quiet_until_ns is not None and at_ns < self._quiet_until_ns
        if not self._armed or quiet or self.score < self.threshold:
            return None
        self._armed = False
        self._quiet_until_ns = at_ns + int(self.cool_down_s * 1e9)
        self.fired += 1
        return Firing(self.number, self.text, at_ns, self.score, self.threshold)

    def reset(self) -> None:
        """For a stream whose times begin anew."""
        self._quiet_until_ns, self._last = None, None


class AlertBook:
    """All alerts of a stream, and the last hour of its embeddings to calibrate them on.

    An alert among phrases fires when its text is likelier than all of them together. Of others the
    threshold is told from the stream's own windows, once `SHORTEST_S` of it were seen, and again
    as more comes. Windows are taken as ordinary ones: an event that already happened in them moves
    the threshold up, towards the better half of its occurrences.
    """

    def __init__(self, width: int) -> None:
        self._lock = threading.Lock()
        self._alerts: dict[int, Alert] = {}
        self._next = 1
        self._rows = np.zeros((_HISTORY_ROWS, width), np.float16)
        self._times = np.zeros(_HISTORY_ROWS, np.float64)
        self._count = 0
        self._clock_s = 0.0  # of the history: goes on where a stream's time begins anew
        self._last_ns: int | None = None
        self._calibrated_s = 0.0

    def __len__(self) -> int:
        return len(self._alerts)

    def all(self) -> list[Alert]:
        """The alerts, oldest first."""
        with self._lock:
            return [*self._alerts.values()]

    def add(
        self,
        text: str,
        embedding: Floats,
        callback: Callable[[Firing], object] | None,
        *,
        threshold: float | None,
        per_hour: float,
        hysteresis: float | None,
        cool_down_s: float,
        negatives: Floats | None = None,
        negatives_hz: float = 4.0,
        among: Phrases | None = None,
    ) -> Alert:
        """A new alert. `negatives` [N, E], predicted `negatives_hz` times a second where the event
        is not seen, calibrate it at once and for good; `among` needs no calibration."""
        if among is not None and negatives is not None:
            raise AssistantError(
                f"the alert {text!r}: negatives calibrate a cosine, and among needs none; give one"
            )
        if hysteresis is None:
            hysteresis = _HYSTERESIS if among is None else _HYSTERESIS_AMONG
        if per_hour <= 0 or hysteresis < 0 or cool_down_s < 0:
            raise AssistantError(
                f"the alert {text!r}: per_hour ({per_hour}) must be above 0, hysteresis "
                f"({hysteresis}) and cool_down_s ({cool_down_s}) not under 0"
            )
        with self._lock:
            if len(self._alerts) >= MOST_ALERTS:
                raise AssistantError(f"there are {MOST_ALERTS} alerts already; remove one first")
            alert = Alert(
                self._next, text, embedding, callback, threshold, threshold is not None,
                per_hour, hysteresis, cool_down_s, among,
            )  # fmt: skip
            if negatives is not None and threshold is None:
                told = calibrate(
                    smoothed(negatives @ embedding),
                    np.arange(len(negatives)) / negatives_hz,
                    per_hour=per_hour,
                    cool_down_s=cool_down_s,
                )
                if told is None:
                    raise AssistantError(
                        f"{len(negatives)} negatives are less than {SHORTEST_S:g} s of stream; "
                        "give more of them"
                    )
                alert.threshold, alert.fixed = told.threshold, True
            self._alerts[alert.number] = alert
            self._next += 1
            self._calibrate(alert)
        return alert

    def remove(self, number: int) -> Alert:
        """Takes an alert away. AssistantError where there is none such."""
        with self._lock:
            if number not in self._alerts:
                raise AssistantError(f"there is no alert {number}")
            return self._alerts.pop(number)

    def set_threshold(self, number: int, threshold: float | None) -> Alert:
        """The caller's own threshold; None gives it back to calibration."""
        with self._lock:
            if number not in self._alerts:
                raise AssistantError(f"there is no alert {number}")
            alert = self._alerts[number]
            alert.threshold, alert.fixed = threshold, threshold is not None
            self._calibrate(alert)
            return alert

    def push(self, embedding: Floats, at_ns: int) -> list[Firing]:
        """Takes one window's predicted embedding float32 [E]; gives the alerts that go off."""
        with self._lock:
            self._remember(embedding, at_ns)
            if self._clock_s - self._calibrated_s >= _RECALIBRATE_S:
                self._calibrated_s = self._clock_s
                self._calibrate(*self._alerts.values())
            firings = []
            weighed: dict[int, Weighed] = {}  # once for all alerts that share their phrases
            for alert in self._alerts.values():
                if alert.among is not None and id(alert.among) not in weighed:
                    weighed[id(alert.among)] = alert.among.weigh(embedding)
                likeness = alert.likeness(embedding, weighed.get(id(alert.among)))
                firing = alert.push(likeness, at_ns)
                if firing is not None:
                    firings.append(firing)
        return firings

    def restart(self) -> None:
        """The stream's times begin anew."""
        with self._lock:
            self._last_ns = None
            for alert in self._alerts.values():
                alert.reset()

    @property
    def observed_s(self) -> float:
        """How much of the stream calibration has to go by."""
        with self._lock:
            times = self._times[: min(self._count, _HISTORY_ROWS)]
            return float(times.max() - times.min()) if len(times) else 0.0

    def _remember(self, embedding: Floats, at_ns: int) -> None:
        step_s = 10.0 if self._last_ns is None else max(0.0, (at_ns - self._last_ns) / 1e9)
        self._last_ns = at_ns
        self._clock_s += step_s
        at = self._count % _HISTORY_ROWS
        self._rows[at], self._times[at] = embedding, self._clock_s
        self._count += 1

    def _calibrate(self, *alerts: Alert) -> None:
        for alert in alerts:
            if alert.among is not None and alert.threshold is None:
                alert.threshold = _LIKELIER_THAN_NOT
        moving = [alert for alert in alerts if not alert.fixed and alert.among is None]
        if not moving:
            return
        count = min(self._count, _HISTORY_ROWS)
        order = np.argsort(self._times[:count], kind="stable")
        order = order[self._times[order] >= self._clock_s - _HISTORY_S]
        texts = np.stack([alert.embedding for alert in moving], axis=1)
        cosines = self._rows[order].astype(np.float32) @ texts
        for alert, column in zip(moving, cosines.T, strict=True):
            told = calibrate(
                smoothed(column),
                self._times[order],
                per_hour=alert.per_hour,
                cool_down_s=alert.cool_down_s,
            )
            alert.threshold = None if told is None else told.threshold


def _words(text: str) -> frozenset[str]:
    return frozenset(text.lower().split()) - {"a", "an", "the"}


def smoothed(cosines: Floats) -> Floats:
    """Each with the one before it, as an alert scores them."""
    before = np.concatenate([cosines[:1], cosines[:-1]])
    mean: Floats = ((cosines + before) / 2).astype(np.float32)
    return mean
