"""The online gate against a plain float64 gate that keeps all history, and its promises."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import native
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native import Floats, Gate
from numpy.typing import NDArray

SECOND = 1_000_000_000


def unit(rows: NDArray[np.float64]) -> Floats:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def noisy(centres: NDArray[np.float64], sigma: float, seed: int) -> Floats:
    """Unit rows around unit centres; sigma is the whole noise vector's length."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=centres.shape) * sigma / math.sqrt(centres.shape[1])
    return unit(centres + noise)


def subjects(lengths: list[int], width: int, seed: int) -> NDArray[np.float64]:
    """Rows [sum(lengths), width]: one random direction per stretch."""
    random = np.random.default_rng(seed)
    directions = unit(random.normal(size=(len(lengths), width))).astype(np.float64)
    return np.repeat(directions, lengths, axis=0)


def shifts(decisions: list[native.Decision]) -> list[int]:
    return [i for i, decision in enumerate(decisions) if decision.shift]


@dataclass
class PlainGate:
    """gate.h in the fewest words, with every prediction of the open segment kept."""

    smoothing: int = 1
    confirm: int = 1
    ward_threshold: float = -1.0
    variance_threshold: float = -1.0
    hysteresis: float = -1.0
    min_interval_ns: int = -1
    max_interval_ns: int = -1
    members: list[NDArray[np.float64]] = field(default_factory=list)
    closed: list[NDArray[np.float64]] = field(default_factory=list)
    armed: bool = True
    above: int = 0
    last_shift_ns: int = 0
    nearest_edge: float = 1.0

    def cost(self, at: int) -> float:
        """Ward cost of the boundary before member `at`."""
        left, right = np.array(self.members[:at]), np.array(self.members[at:])
        if len(left) == 0 or len(right) == 0:
            return 0.0
        n, m = len(left), len(right)
        return float(n * m / (n + m) * ((left.mean(0) - right.mean(0)) ** 2).sum())

    def push(self, row: Floats, now: int) -> tuple[str, float, float]:
        """Reason, Ward cost, variance; nearest_edge tells what rounding may turn."""
        first = not self.members
        self.members.append(row.astype(np.float64))
        if first:
            self.last_shift_ns = now
            return "first", 0.0, 0.0
        recent = min(self.smoothing, len(self.members))
        settled = len(self.members) - recent
        ward = self.cost(settled)
        last = np.array(self.members[-max(self.smoothing, 2) :])
        variance = float(((last - last.mean(0)) ** 2).sum(1).mean()) if len(last) > 1 else 0.0
        ward_on, variance_on = self.ward_threshold > 0, self.variance_threshold > 0
        ward_ratio = ward / self.ward_threshold if ward_on else -1.0
        variance_ratio = variance / self.variance_threshold if variance_on else -1.0
        ratio = max(ward_ratio, variance_ratio)
        window = max(self.smoothing, 2)
        spread = variance * window / (window - 1)
        rests = len(self.members) >= window and spread < self.hysteresis * self.ward_threshold
        ward_calm = not ward_on or rests or (settled > 0 and ward_ratio < self.hysteresis)
        variance_calm = variance_ratio < self.hysteresis and len(self.members) > 1
        if ward_calm and (not variance_on or variance_calm):
            self.armed = True
        pairs = [(ward_ratio, variance_ratio)] + [
            (found, edge)
            for found in (ward_ratio, variance_ratio, spread / abs(self.ward_threshold))
            for edge in (1.0, self.hysteresis)
        ]
        self.nearest_edge = min(abs(found / edge - 1) for found, edge in pairs if edge > 0)
        self.above = self.above + 1 if self.armed and ratio > 1 else 0
        elapsed = now - self.last_shift_ns
        reason = "none"
        if self.above >= self.confirm and elapsed >= self.min_interval_ns:
            reason = "variance" if variance_ratio > ward_ratio else "ward"
            self.armed = self.hysteresis < 0
        elif 0 < self.max_interval_ns <= elapsed:
            reason = "heartbeat"
        if reason != "none":
            reach = self.smoothing + self.confirm - 1
            cuts = range(max(len(self.members) - reach, 1), len(self.members))
            cut = max(cuts, key=self.cost)
            if reason == "heartbeat" and settled > 0:
                cut = settled
            self.closed, self.members = self.members[:cut], self.members[cut:]
            self.above, self.last_shift_ns = 0, now
        return reason, ward, variance


options_strategy = st.fixed_dictionaries(
    {
        "smoothing": st.integers(1, 6),
        "confirm": st.integers(1, 3),
        "ward_threshold": st.sampled_from([-1.0, 0.1, 0.4, 1.0]),
        "variance_threshold": st.sampled_from([-1.0, 0.05, 0.2]),
        "hysteresis": st.sampled_from([-1.0, 0.3, 1.0]),
        "min_interval_ns": st.sampled_from([-1, 3 * SECOND]),
        "max_interval_ns": st.sampled_from([-1, 3 * SECOND, 11 * SECOND]),
    }
)


@settings(max_examples=120, deadline=None)
@given(
    options=options_strategy,
    width=st.integers(1, 70),
    lengths=st.lists(st.integers(1, 15), min_size=1, max_size=6),
    sigma=st.sampled_from([0.0, 0.1, 0.5]),
    seed=st.integers(0, 2**31),
    isa=st.sampled_from(native.supported_isas()),
)
def test_equals_a_gate_that_keeps_everything(
    options: dict[str, float], width: int, lengths: list[int], sigma: float, seed: int, isa: str
) -> None:
    rows = noisy(subjects(lengths, width, seed), sigma, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLJ_ISA", isa)
        gate = Gate(width, **options)
    plain = PlainGate(**options)
    for i, row in enumerate(rows):
        found = gate.push(row, i * SECOND)
        reason, ward, variance = plain.push(row, i * SECOND)
        if plain.nearest_edge < 1e-5:
            return  # from here on rounding decides
        assert found.ward == pytest.approx(ward, rel=1e-5, abs=1e-9)
        assert found.variance == pytest.approx(variance, rel=1e-5, abs=1e-9)
        assert found.reason == reason
        assert found.shift == (reason != "none")
        recent = np.array(plain.members[-options["smoothing"] :]).mean(0)
        assert gate.value("segment_end_ns") == i * SECOND
        if gate.value("segment_count") != len(plain.members):
            return  # two cuts cost the same (a stretch of identical predictions)
        assert gate.value("closed_count") == len(plain.closed)
        if found.shift and plain.closed:
            assert gate.value("closed_end_ns") == (i - len(plain.members)) * SECOND
        assert gate.value("segment_start_ns") == (i + 1 - len(plain.members)) * SECOND
        if np.linalg.norm(recent) > 1e-3:
            np.testing.assert_allclose(gate.mean("recent"), unit(recent), atol=1e-5)
        whole = np.array(plain.members).mean(0)
        if np.linalg.norm(whole) > 1e-3:
            np.testing.assert_allclose(gate.mean("segment"), unit(whole), atol=1e-5)
        if plain.closed and np.linalg.norm(np.array(plain.closed).mean(0)) > 1e-3:
            closed = np.array(plain.closed).mean(0)
            np.testing.assert_allclose(gate.mean("closed"), unit(closed), atol=1e-5)


def test_first_prediction_is_a_shift() -> None:
    decisions = Gate(16, ward_threshold=0.5).run(noisy(subjects([20], 16, 0), 0.1, 0))
    assert shifts(decisions) == [0]
    assert decisions[0].reason == "first"


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(12, 60), min_size=2, max_size=8),
    smoothing=st.integers(1, 6),
    seed=st.integers(0, 10_000),
)
def test_every_change_of_subject_is_one_shift(
    lengths: list[int], smoothing: int, seed: int
) -> None:
    """No change is missed or told twice, it is told within m windows, and segments are pure."""
    rows = noisy(subjects(lengths, 256, seed), 0.25, seed)
    gate = Gate(256, smoothing=smoothing, ward_threshold=0.5, hysteresis=0.7)
    expected = [0, *np.cumsum(lengths)[:-1].tolist()]
    found = []
    for i, row in enumerate(rows):
        if gate.push(row, i * SECOND).shift:
            found.append(i)
            assert gate.value("segment_start_ns") == expected[len(found) - 1] * SECOND
            if len(found) > 1:
                assert gate.value("closed_count") == lengths[len(found) - 2]
                assert gate.value("closed_start_ns") == expected[len(found) - 2] * SECOND
                assert gate.value("closed_end_ns") == (expected[len(found) - 1] - 1) * SECOND
    assert len(found) == len(expected)
    assert all(0 <= f - e < smoothing for f, e in zip(found, expected, strict=True))


@settings(max_examples=25, deadline=None)
@given(sigma=st.floats(0.0, 0.5), smoothing=st.integers(1, 8), seed=st.integers(0, 10_000))
def test_noise_alone_never_fires(sigma: float, smoothing: int, seed: int) -> None:
    """The Ward cost of pure noise is about sigma^2, whatever m and however long the segment."""
    rows = noisy(subjects([400], 256, seed), sigma, seed)
    decisions = Gate(256, smoothing=smoothing, ward_threshold=2 * sigma**2 + 1e-6).run(rows)
    assert shifts(decisions) == [0]


@pytest.mark.parametrize("degrees_per_window", [0.2, 0.5, 1.0])
def test_slow_drift_is_seen(degrees_per_window: float) -> None:
    """Neighbours differ by next to nothing; a gate that compares with the previous one sleeps."""
    angles = np.radians(degrees_per_window * np.arange(round(360 / degrees_per_window)))
    rows = np.zeros((len(angles), 8), np.float32)
    rows[:, 0], rows[:, 1] = np.cos(angles), np.sin(angles)
    step = float(((rows[1:] - rows[:-1]) ** 2).sum(1).max())
    assert step < 0.0005
    found = shifts(Gate(8, smoothing=2, ward_threshold=0.3).run(rows))
    assert 4 <= len(found) <= 12
    assert np.ptp(np.diff(found)) <= 2  # steady drift, steady shifts
    sleepy = Gate(8, smoothing=1, variance_threshold=0.3 / 4).run(rows)
    assert shifts(sleepy) == [0]


def test_refractory() -> None:
    rows = noisy(subjects([4] * 40, 64, 1), 0.0, 1)
    gate = Gate(64, ward_threshold=0.3, min_interval_ns=10 * SECOND)
    found = shifts(gate.run(rows))
    assert len(found) > 10
    assert min(np.diff(found)) >= 10
    assert len(shifts(Gate(64, ward_threshold=0.3).run(rows))) == 40


def test_heartbeat() -> None:
    decisions = Gate(16, smoothing=3, ward_threshold=0.5, max_interval_ns=30 * SECOND).run(
        noisy(subjects([200], 16, 2), 0.05, 2)
    )
    assert shifts(decisions) == [0, 30, 60, 90, 120, 150, 180]
    assert {decisions[i].reason for i in shifts(decisions)[1:]} == {"heartbeat"}


def test_confirm_ignores_what_is_too_short() -> None:
    centres = subjects([30, 30], 64, 3)
    centres[[10, 11]] = centres[40]  # two stray predictions
    rows = noisy(centres, 0.05, 3)
    hasty = shifts(Gate(64, ward_threshold=0.5).run(rows))
    assert hasty == [0, 10, 12, 30]
    confirmed = Gate(64, confirm=3, ward_threshold=0.5)
    assert shifts(confirmed.run(rows)) == [0, 32]
    # Told later, yet cut at the right place: nothing of the new content is in the old segment.
    assert confirmed.value("segment_start_ns") == 30 * SECOND
    assert confirmed.value("closed_count") == 30
    assert confirmed.value("segment_count") == 30


def test_hysteresis_waits_for_rest() -> None:
    """While the picture keeps changing fast, a gate with hysteresis tells one shift, and one more
    for what it comes to rest at."""
    random = np.random.default_rng(44)
    still, moving = subjects([20], 64, 4), random.normal(size=(30, 64))
    rows = unit(np.concatenate([still, moving, np.repeat(moving[-1:], 20, axis=0)]))
    plain = shifts(Gate(64, smoothing=2, ward_threshold=0.4).run(rows))
    calm = shifts(Gate(64, smoothing=2, ward_threshold=0.4, hysteresis=0.5).run(rows))
    assert len(plain) > 10
    assert calm == [0, 20, 50]


def test_variance_fires_on_local_change() -> None:
    rows = noisy(subjects([20, 20], 64, 5), 0.05, 5)
    decisions = Gate(64, smoothing=4, variance_threshold=0.2).run(rows)
    assert shifts(decisions) == [0, 20]
    assert decisions[20].reason == "variance"
    assert decisions[20].score == decisions[20].variance > decisions[20].threshold


@pytest.mark.parametrize("target_hz", [0.02, 0.1, 0.35])
@pytest.mark.parametrize("start", [0.2, 1.0])
def test_rate_controller_reaches_its_target(target_hz: float, start: float) -> None:
    """A random walk on the sphere, 2 windows a second; the calibrated threshold is off by far."""
    random = np.random.default_rng(6)
    walk = np.empty((20_000, 32), np.float32)
    current = unit(random.normal(size=32))
    for i in range(len(walk)):
        walk[i] = current = unit(current + random.normal(size=32) * 0.03)
    gate = Gate(32, smoothing=3, ward_threshold=start, target_rate_hz=target_hz)
    found = np.array(shifts(gate.run(walk, SECOND // 2)))
    settled = found[found >= 4_000]
    rate = len(settled) / (16_000 * 0.5)
    assert rate == pytest.approx(target_hz, rel=0.1)


def test_rate_controller_stays_near_its_calibration() -> None:
    """Hours of a still picture don't leave a hair trigger behind."""
    gate = Gate(8, ward_threshold=0.4, target_rate_hz=0.1)
    gate.run(np.tile(np.float32([1, 0, 0, 0, 0, 0, 0, 0]), (20_000, 1)))
    assert gate.value("ward_threshold") == pytest.approx(0.4 / 16, rel=1e-5)


def test_running_sums_stay_exact() -> None:
    """After 100,000 predictions in one segment the sums equal what float64 finds from scratch."""
    random = np.random.default_rng(7)
    rows = unit(random.normal(size=(100_000, 48)) + 0.3)
    gate = Gate(48, smoothing=5)
    last = gate.run(rows)[-1]
    exact = rows.astype(np.float64)
    settled, recent = exact[:-5].mean(0), exact[-5:].mean(0)
    n = len(rows) - 5
    ward = n * 5 / (n + 5) * ((settled - recent) ** 2).sum()
    assert last.ward == pytest.approx(ward, rel=3e-7)  # float32 holds the result
    assert last.variance == pytest.approx(((exact[-5:] - recent) ** 2).sum(1).mean(), rel=3e-7)
    np.testing.assert_allclose(gate.mean("segment"), unit(exact.mean(0)), rtol=0, atol=6e-8)
    np.testing.assert_allclose(gate.mean("recent"), unit(recent), rtol=0, atol=6e-8)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"smoothing": 17}, "gate.smoothing is 17"),
        ({"hysteresis": 1.5}, "gate.hysteresis is 1.5"),
        ({"hysteresis": math.nan}, "gate.hysteresis is nan"),
        ({"ward_threshold": math.inf}, "gate.ward_threshold is not"),
        ({"target_rate_hz": 0.1}, "which it steers, is off"),
        ({"min_interval_ns": 5, "max_interval_ns": 4}, "above max_interval_ns"),
    ],
)
def test_bad_options(options: dict[str, float], words: str) -> None:
    with pytest.raises(native.NativeError, match=words):
        Gate(4, **options)


def test_bad_predictions_leave_the_gate_as_it_was() -> None:
    gate = Gate(2, ward_threshold=0.5)
    gate.push(np.float32([1, 0]), 5)
    for row, time_ns, status in (
        ([math.nan, 0], 6, "VLJ_E_ARGUMENT"),
        ([math.inf, 0], 6, "VLJ_E_ARGUMENT"),
        ([1, 0], 5, "VLJ_E_TIMESTAMP"),
        ([1, 0], -9, "VLJ_E_TIMESTAMP"),
    ):
        with pytest.raises(native.NativeError) as caught:
            gate.push(np.float32(row), time_ns)
        assert caught.value.status == status
    assert gate.value("segment_count") == 1
    assert not gate.push(np.float32([1, 0]), 6).shift
    np.testing.assert_array_equal(gate.mean("segment"), [1, 0])
