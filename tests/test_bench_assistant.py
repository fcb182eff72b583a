"""The assistant's benches: alerts counted right and wrong, memories searched, streams kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from vljepa_edge.assistant.alerts import Phrases
from vljepa_edge.bench import alerts, searching, watching
from vljepa_edge.bench.alerts import Tally, count, measure, says, text_of
from vljepa_edge.bench.watching import Watched, watched_streams
from vljepa_edge.runtime.model import load
from vljepa_edge.runtime.search import quantise_rows

CAPTIONS = ("an apple falls", "a dog moves left", "a red apple falls", "a car spins")


def stream_of(captions: list[int], each_s: float = 10.0, seed: int = 0) -> Watched:
    """Each caption for so long, four windows a second; its embedding is its own axis, noisy."""
    rng = np.random.default_rng(seed)
    truth, rows = [], []
    for number, which in enumerate(captions):
        truth.append({
            "t_start_s": number * each_s, "t_end_s": (number + 1) * each_s,
            "caption": CAPTIONS[which], "object": CAPTIONS[which].split()[-2],
        })  # fmt: skip
        rows += [np.eye(8)[which]] * int(4 * each_s)
    noisy = np.array(rows) + 0.05 * rng.standard_normal((len(rows), 8))
    noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
    times = 0.125 + np.arange(len(rows)) / 4
    return Watched(seed, truth, [0] * len(truth), times, noisy.astype(np.float32))


def test_alerts_are_counted_right_wrong_and_neither() -> None:
    stream = stream_of([0, 1, 2, 1])
    tally = Tally()
    # In its event, just after it, twice in the same one, in another's, in one that says more.
    count(stream, "caption", "an apple falls", [2.0, 10.9, 3.0, 15.0, 25.0], 0.0, tally)
    assert (tally.events, tally.noticed, tally.false_alarms) == (1, 1, 1)
    assert tally.hours == pytest.approx(20 / 3600, rel=0.02)
    settled = Tally()
    count(stream, "caption", "a dog moves left", [15.0, 35.0], 12.0, settled)
    assert (settled.events, settled.noticed, settled.false_alarms) == (1, 1, 0)
    assert settled.hours == pytest.approx((40 - 12 - 8 - 10) / 3600, rel=0.02)


def test_a_caption_that_says_more_says_the_alert() -> None:
    assert says("a red apple falls", "an apple falls") and says("an apple falls", "an apple falls")
    assert not says("an apple falls", "a red apple falls")
    assert text_of("object", "apple") == "an apple" and text_of("caption", "x") == "x"


def test_alerts_among_phrases_notice_what_the_stream_shows() -> None:
    streams = [stream_of([0, 1, 3] * 4, seed=1), stream_of([2, 3, 1] * 4, seed=2)]
    vectors = {text: np.eye(8, dtype=np.float32)[i] for i, text in enumerate(CAPTIONS)}
    among = Phrases(CAPTIONS, np.eye(8, dtype=np.float32)[:4])
    tally = measure(streams, "caption", vectors, among, 20.0)
    told = tally.told()
    assert told["alerts"] == 8 and told["recall"] == 1.0 and told["false_alarms"] == 0
    by_stream = measure(streams, "caption", vectors, None, 20.0)
    assert by_stream.thresholds and by_stream.events == tally.events


def test_a_search_finds_the_exact_five(tmp_path: Path) -> None:
    path, width = tmp_path / "m", 32
    searching.fill(path, 20_000, width)
    _, found = searching.search_memory(path, width)
    rows = quantise_rows(np.concatenate(list(searching.rows_of(20_000, width))))
    floats = rows.values.astype(np.float32) * rows.scales[:, None]
    cosines = searching.queries_of(width) @ floats.T
    best = np.sort(cosines, axis=1)[:, -searching.K]
    for ids, row, least in zip(found, cosines, best, strict=True):
        assert len(ids) == searching.K and min(row[i - 1] for i in ids) >= least - 1e-5


def test_a_watched_stream_is_not_watched_again(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with load(tiny_bundle, threads=1) as model:
        (first,) = watched_streams(model, 1, 6.0, 1, tmp_path / "kept")

        def again(*_: object) -> None:
            raise AssertionError("watched again")

        monkeypatch.setattr(watching, "watch", again)
        (second,) = watched_streams(model, 1, 6.0, 1, tmp_path / "kept")
        with pytest.raises(AssertionError):
            list(watched_streams(model, 2, 6.0, 1, tmp_path / "kept"))
    assert first.truth == second.truth and first.ranks == second.ranks
    assert np.array_equal(first.embeddings, second.embeddings)
    assert len(first.ranks) == len(first.truth) and len(first.times_s) == len(first.embeddings)


def test_the_world_s_phrases() -> None:
    assert len(alerts.world_phrases("caption", 1)) == 2400
    assert "an apple" in alerts.world_phrases("object", 1)
