"""CIDEr against pycocoevalcap, and the selective decoding curve's parts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from vljepa_edge.bench.selective import Annotated, Decode, quality, truth, uniform, ward
from vljepa_edge.calibration.cider import cider, plain
from vljepa_edge.calibration.recording import Recording

from vljepa_edge import world


def captions(count: int, seed: int = 0) -> tuple[list[str], list[list[str]]]:
    """Canonical captions of scenes, and other ones (or the same) as candidates."""
    texts = []
    for number in range(-(-count // 4)):
        stream = world.make_stream(seed + number, 20.0)
        texts += [plain(row["caption"]) for row in stream.timeline()]
    texts = texts[:count]
    rng = np.random.default_rng(seed)
    candidates = [
        texts[rng.integers(len(texts))] if i % 3 else text for i, text in enumerate(texts)
    ]
    references = [[text, texts[rng.integers(len(texts))]] for text in texts]
    return candidates, references


def test_cider_equals_pycocoevalcap() -> None:
    upstream = pytest.importorskip("pycocoevalcap.cider.cider")
    candidates, references = captions(40)
    candidates[3], candidates[4] = "", "apple apple apple falls falls a a a a a"
    _, expected = upstream.Cider().compute_score(
        dict(enumerate(references)), {i: [text] for i, text in enumerate(candidates)}
    )
    assert cider(candidates, references) == pytest.approx(list(expected), abs=1e-9)
    assert max(expected) > 1


def test_cider_of_known_captions() -> None:
    """The figures are pycocoevalcap 1.2's, so that this holds where it is not installed."""
    candidates = ["a red apple falls", "a blue car turns left", "the dog jumps"]
    references = [["a red apple falls down"], ["a blue car turns right"], ["two cats sleep"]]
    assert cider(candidates, references) == pytest.approx(EXPECTED, abs=1e-6)
    assert cider(["a b c d"], [["a b c d"]]) == [0.0]  # one document: every n-gram is common
    with pytest.raises(ValueError, match="reference"):
        cider(["a"], [[]])


EXPECTED = [8.038560621376565, 6.687249028455701, 0.0]


def annotated(changes: list[int], count: int = 40) -> Annotated:
    """A stream of windows, one a second, that change at the given windows."""
    rows = np.zeros((count, 8), np.float32)
    kinds = np.searchsorted(changes, np.arange(count), side="right")
    rows[np.arange(count), kinds] = 1
    ends = (np.arange(count) * 1_000_000_000).astype(np.int64)
    recording = Recording(rows, ends, np.array(changes, np.int64) * 1_000_000_000)
    bounds = [0, *changes, count]
    middles = [(a + b - 1) / 2 for a, b in pairwise(bounds)]
    names = [f"thing number {'abcdefgh'[i]} moves quickly" for i in range(len(middles))]
    return Annotated(recording, ends / 1e9, names, middles)


def text_of(row: np.ndarray) -> str:  # type: ignore[type-arg]
    return f"thing number {'abcdefgh'[int(np.argmax(row))]} moves quickly"


def test_ward_finds_changes_that_uniform_misses() -> None:
    stream = annotated([4, 9, 30, 36])
    rate = 5 / stream.recording.duration_s
    scores = {}
    for name, method in (("uniform", uniform), ("ward", ward)):
        decodes = method(stream, rate)
        assert len(decodes) == 5
        scores[name] = quality([stream], [decodes], "exact", text_of)
    assert scores["ward"] > scores["uniform"]
    perfect = cider(stream.captions, [[text] for text in stream.captions])
    assert scores["ward"] == pytest.approx(float(np.mean(perfect)))


def test_the_true_shifts_tell_all_where_there_are_decodes_enough() -> None:
    """Each annotation has a decode of its own only where there are as many decodes."""
    stream = annotated([4, 9, 30, 36])
    perfect = float(np.mean(cider(stream.captions, [[text] for text in stream.captions])))
    for count in (5, 7):
        decodes = truth(stream, count / stream.recording.duration_s)
        assert [one.at_s for one in decodes] == [1, 6, 19, 32, 37]
        assert quality([stream], [decodes], "exact", text_of) == pytest.approx(perfect)
        assert quality([stream], [decodes], "averaged", text_of) == pytest.approx(perfect)
    few = truth(stream, 3 / stream.recording.duration_s)
    assert [one.at_s for one in few] == [1, 19, 37]
    assert quality([stream], [few], "exact", text_of) < 0.9 * perfect


def test_each_annotation_takes_the_decode_nearest_in_time() -> None:
    stream = annotated([20])
    rows = stream.recording.embeddings
    early = Decode(8.0, rows[8], rows[8])
    late = Decode(31.0, rows[31], rows[31])
    right = quality([stream], [[early, late]], "exact", text_of)
    wrong = quality([stream], [[Decode(31.0, rows[8], rows[8]), Decode(8.0, rows[31], rows[31])]],
                    "exact", text_of)  # fmt: skip
    assert right > wrong
