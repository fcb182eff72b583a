"""`Assistant` without a page: captions, questions, alerts, recall, settings, lost cameras."""

from __future__ import annotations

import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from assistant_page import Flicker
from hypothesis import given, settings
from hypothesis import strategies as st
from rtsp_camera import RtspCamera
from vljepa_edge.assistant import Assistant, AssistantError, Firing
from vljepa_edge.assistant.alerts import Alert, AlertBook, Phrases, smoothed
from vljepa_edge.assistant.places import BrowserSource, NetworkSource, without_password
from vljepa_edge.assistant.tap import Tap
from vljepa_edge.assistant.threshold import calibrate
from vljepa_edge.assistant.told import Caption, Watching
from vljepa_edge.runtime.errors import ArgumentError, SourceError
from vljepa_edge.runtime.events import EmbeddingEvent, TextEvent
from vljepa_edge.runtime.model import Model, load
from vljepa_edge.runtime.options import StreamOptions


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Model:
    return load(tiny_bundle, threads=1)


def wait_for(condition: object, timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it didn't come"
        time.sleep(0.02)


def test_captions_are_the_streams_own(model: Model, clip: Path) -> None:
    """The same texts and times as `Model.stream` gives: no second way to run a model."""
    events = model.stream(clip, options=StreamOptions(decode_when="both"))
    wanted = [(e.start_ns, e.end_ns, e.text) for e in events if isinstance(e, TextEvent)]
    assistant = Assistant(model, clip, options=StreamOptions(decode_when="both"))
    with assistant:
        told = [(c.start_ns, c.end_ns, c.text) for c in assistant.captions()]
    assert told == wanted and len(told) >= 2
    with Assistant(model, clip, options=StreamOptions(decode_when="both")) as assistant:
        final = list(assistant.captions(final=True))
    assert all(c.final for c in final) and 0 < len(final) < len(told)


def test_a_question_is_about_the_last_window(model: Model, clip: Path) -> None:
    with Assistant(model, clip) as assistant:
        assert assistant.wait(60)
        frames = assistant.watcher.tap.pictures()
        assert len(frames) == model.description.frames
        choices = ["a red apple falls", "nothing moves", "one"]
        answer = assistant.ask("What moves?", choices)
        assert list(answer.matches) == model.answer(frames, "What moves?", choices, "bgr")
        assert answer.text == answer.matches[0].text
        decoded = assistant.ask("What moves?")
        assert decoded.matches == tuple(model.answer(frames, "What moves?", None, "bgr"))
        with pytest.raises(AssistantError, match="empty"):
            assistant.ask("What moves?", [])
        with pytest.raises(ArgumentError, match="tokens"):
            assistant.ask("what " * 500)
    unseen = Assistant(model, clip)
    with pytest.raises(AssistantError, match="nothing was seen"):
        unseen.ask("What moves?")
    unseen.close()


def test_alert_and_recall_find_what_was_seen(model: Model, clip: Path, tmp_path: Path) -> None:
    """Threshold between the nearest window and the rest: it fires there, and only then."""
    stream = model.stream(clip, options=StreamOptions(emit_embeddings=True))
    seen = [e for e in stream if isinstance(e, EmbeddingEvent)]
    text = "a blue car turns left"
    cosines = np.stack([e.embedding for e in seen]) @ model.embed_text([text])[0]
    means = (cosines + np.concatenate([cosines[:1], cosines[:-1]])) / 2
    threshold = float(np.sort(means)[-3])
    first = int(np.flatnonzero(means >= threshold)[0])
    fired: list[Firing] = []
    with Assistant(model, clip, tmp_path / "m") as assistant:
        assistant.when(text, fired.append, threshold=threshold, cool_down_s=60)
        assistant.when(text, fired.append, threshold=float(means.max()) + 0.01)
        assert assistant.wait(60)
    assert [f.at_ns for f in fired] == [seen[first].end_ns]
    assert fired[0].score == pytest.approx(means[first], abs=1e-4)
    with Assistant(model, clip, tmp_path / "m2") as assistant:
        assert assistant.wait(60)
        wait_for(lambda: assistant.memory is not None and assistant.recall(text))
        found = assistant.recall(text, k=3)
        assert found[0].score == max(f.score for f in found)
        with pytest.raises(AssistantError, match="k is 0"):
            assistant.recall(text, k=0)


def test_changed_settings_miss_no_window(model: Model) -> None:
    """A query added and a gate moved in mid-stream: windows go on a stride apart."""
    told: list[EmbeddingEvent] = []
    assistant = Assistant(model, lambda: Flicker(30), options=StreamOptions(fps=5, stride=2))

    def take(event: object) -> None:
        if isinstance(event, EmbeddingEvent):
            told.append(event)
            if len(told) == 20:
                assistant.add_query("a new query")
            if len(told) == 60:
                assistant.set_gate_threshold(0.01)
            if len(told) == 90:
                assistant.remove_query("a new query")

    assistant.subscribe(take)
    with assistant:
        assert assistant.wait(60)
    first = [e for e in told if e.query_index == 0]
    ends = np.diff([e.end_ns for e in first])
    assert (ends > 0).all() and ends.max() <= 2 * 2 * 10**8, ends
    second = [e for e in told if e.query_index == 1]
    assert second and {e.query for e in second} == {"a new query"}
    assert first[0].threshold != first[-1].threshold
    assert assistant.gate.ward_threshold == pytest.approx(0.01)


def test_moved_gate_changes_the_decode_rate(model: Model) -> None:
    """A threshold that no score reaches, then half of the highest score."""
    scores: list[float] = []
    counts = []
    for threshold in (1e3, None):
        assistant = Assistant(model, lambda: Flicker(20), options=StreamOptions(fps=5))
        assistant.subscribe(lambda t: isinstance(t, EmbeddingEvent) and scores.append(t.score))
        assistant.set_gate_threshold(threshold or max(scores) / 2)
        with assistant:
            counts.append(len([*assistant.captions(final=True)]))
    assert counts[1] > counts[0] == 1


def test_a_lost_camera_comes_back(model: Model, tmp_path: Path) -> None:
    opened = 0

    def camera() -> Flicker:
        nonlocal opened
        opened += 1
        if opened == 3:
            raise SourceError("flicker: not there yet")
        return Flicker(lost_after=25)

    states: list[Watching] = []
    options = StreamOptions(fps=5, stride=1)
    with Assistant(model, camera, tmp_path / "m", options=options, retry_s=0.1) as assistant:
        assistant.subscribe(lambda told: isinstance(told, Watching) and states.append(told))
        assistant.start()
        wait_for(lambda: opened >= 4 and assistant.watcher.state.state == "watching")
    names = [state.state for state in states]
    assert names[:3] == ["watching", "lost", "watching"]
    assert any("cable" in s.text for s in states) and any("not there yet" in s.text for s in states)
    assert names[-1] == "ended"


def test_a_network_camera_is_lost_and_comes_back(model: Model) -> None:
    """Over real RTSP: its pictures are what is watched, and it may be switched off and on."""
    pictures = [np.full((96, 128, 3), shade, np.uint8) for shade in (40, 90, 140, 190, 240)]
    states: list[Watching] = []
    camera = RtspCamera(pictures, fps=20)
    assistant = Assistant(model, camera.url, options=StreamOptions(fps=10, stride=1), retry_s=0.1)
    assistant.subscribe(lambda told: isinstance(told, Watching) and states.append(told))
    with assistant:
        assistant.start()
        wait_for(lambda: assistant.watcher.tap.pictures())
        assert camera.methods[:4] == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]
        for seen in assistant.watcher.tap.pictures():
            assert seen.shape == (96, 128, 3)
            assert min(abs(float(seen.mean()) - float(one.mean())) for one in pictures) < 2
        camera.close()
        wait_for(lambda: [state.state for state in states[-1:]] == ["lost"])
        with closing(RtspCamera(pictures, fps=20, port=camera.port)) as again:
            wait_for(lambda: assistant.watcher.state.state == "watching")
            assert "PLAY" in again.methods
    assert [state.state for state in states][:3] == ["watching", "lost", "watching"]


def test_an_assistant_closes_the_model_that_it_opened(
    model: Model, tiny_bundle: Path, clip: Path
) -> None:
    with Assistant(tiny_bundle, clip) as assistant:
        assert assistant.wait(60)
        own = assistant.model
    with pytest.raises(ArgumentError, match="closed"):
        own.embed_text(["a red car"])
    with Assistant(model, clip) as assistant:
        assert assistant.wait(60)
    assert len(model.embed_text(["a red car"])) == 1  # a given one stays open


def test_a_source_that_is_not_there(model: Model, tmp_path: Path) -> None:
    for place in (tmp_path / "none.mp4", 97, "rtsp://127.0.0.1:1/x"):
        with pytest.raises(SourceError):
            Assistant(model, place)
    assert without_password("rtsp://me:secret@cam.local:554/a?key=1") == "rtsp://cam.local:554/a"


def test_a_damaged_file_ends_with_its_error(model: Model, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    import cv2

    for i in range(20):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((64, 64, 3), 10 * i, np.uint8))
    (folder / "20.png").write_bytes(b"not a picture")
    with (
        Assistant(model, folder) as assistant,
        pytest.raises(SourceError, match=r"20\.png: not a picture"),
    ):
        list(assistant.captions())


def test_network_camera(tmp_path: Path) -> None:
    """A video over HTTP, as OpenCV reads network cameras."""
    import functools
    import http.server
    import threading

    import cv2

    writer = cv2.VideoWriter(
        str(tmp_path / "live.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64)
    )
    for shade in range(30):
        writer.write(np.full((64, 96, 3), 8 * shade, np.uint8))
    writer.release()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = NetworkSource(f"http://127.0.0.1:{server.server_port}/live.avi")
        frames = iter(source)
        taken = [next(frames) for _ in range(20)]
        with pytest.raises(SourceError, match="gave no more frames after 30"):
            list(frames)
        server.shutdown()
    assert source.live and taken[0].pixels.shape == (64, 96, 3)
    assert all(a.timestamp_ns < b.timestamp_ns for a, b in pairwise(taken))


def test_browser_pictures_are_bounded() -> None:
    import cv2

    source = BrowserSource()
    for shade in range(10):
        _, jpeg = cv2.imencode(".png", np.full((48, 64, 3), shade, np.uint8))
        source.put(jpeg.tobytes())
    shades = [source.take(0.01), source.take(0.01), source.take(0.01)]
    assert [None if f is None else int(f.pixels[0, 0, 0]) for f in shades] == [8, 9, None]
    for wrong in (b"", b"no picture", bytes(2 << 20)):
        with pytest.raises(ValueError):
            source.put(wrong)
    big = cv2.imencode(".png", np.zeros((10, 3000, 3), np.uint8))[1].tobytes()
    with pytest.raises(ValueError, match="3000x10"):
        source.put(big)
    source.put(cv2.imencode(".png", np.zeros((64, 48, 3), np.uint8))[1].tobytes())
    with pytest.raises(SourceError, match="size changed"):
        source.take(0.01)


def test_tap_goes_on_where_it_was_left() -> None:
    tap = Tap(Flicker(4), frames=4, stride=1, fps=10, paced=False)
    first = iter(tap)
    taken = [next(first).timestamp_ns for _ in range(10)]
    tap.pause()
    assert next(first, None) is None
    tap.resume()
    again = [frame.timestamp_ns for frame in tap]
    assert again[:3] == taken[-3:] and again[3:] == [i * 10**8 for i in range(10, 40)]


def test_slow_callbacks_and_listeners_disturb_nobody(model: Model, clip: Path) -> None:
    def fail(told: object) -> None:
        raise RuntimeError("a listener's own fault")

    captions: list[Caption] = []
    with Assistant(model, clip) as assistant:
        assistant.subscribe(fail)
        assistant.when("a red apple falls", fail, threshold=-1)
        captions += assistant.captions()
    assert captions


@settings(max_examples=50, deadline=None)
@given(
    scores=st.lists(st.floats(-1, 1), min_size=1, max_size=200),
    threshold=st.floats(-1, 1),
    hysteresis=st.floats(0, 0.5),
    cool_down=st.integers(0, 20),
)
def test_alert_rules(
    scores: list[float], threshold: float, hysteresis: float, cool_down: int
) -> None:
    alert = Alert(
        1, "x", np.zeros(1, np.float32), None, threshold, True, 1.0, hysteresis, cool_down
    )
    fired = []
    for i, score in enumerate(scores):
        if alert.push(score, i * 10**9) is not None:
            fired.append(i)
    means = [(a + b) / 2 for a, b in zip(scores, scores[:1] + scores[:-1], strict=True)]
    assert all(means[i] >= threshold for i in fired)
    for before, after in pairwise(fired):
        assert after - before >= cool_down
        assert min(means[before:after]) < threshold - hysteresis
    if max(means) >= threshold:
        assert fired[0] == next(i for i, mean in enumerate(means) if mean >= threshold)
    assert alert.fired == len(fired)


def test_an_alert_among_phrases_scores_as_a_softmax_does() -> None:
    rng = np.random.default_rng(4)
    vectors = rng.standard_normal((6, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = ["a red car falls", "a pear falls", "a car falls", "a big red car falls", "a dog"]
    among = Phrases(texts, vectors[1:])
    alert = Alert(1, "a red car falls", vectors[0], among=among)
    seen = vectors[0] + 0.3 * vectors[2]
    logits = vectors @ seen / 0.07
    # The same text, one that says less and one that says more count neither way.
    kept = np.exp([*logits[[0, 2, 5]], 0.25 / 0.07])  # and nothing of all this
    assert alert.likeness(seen) == pytest.approx(float(kept[0] / kept.sum()), rel=1e-5)
    assert alert.likeness(vectors[2]) < 0.01 < 0.99 < alert.likeness(vectors[0])
    # A crowd of phrases weighs no more than 128 of them, and the nearest one in full.
    many = Alert(1, "a red car falls", vectors[0], among=Phrases(["y"] * 1280, np.repeat(
        vectors[5:], 1280, 0)))  # fmt: skip
    own, other, nothing = np.exp([*logits[[0, 5]], 0.25 / 0.07])
    crowded = own / (own + 128 * other + nothing)
    assert many.likeness(seen) == pytest.approx(float(crowded), rel=1e-5)
    few = Phrases(
        ["y"] + ["z"] * 1999, np.concatenate([vectors[2:3], np.tile(-vectors[2], (1999, 1))])
    )
    nearest = Alert(1, "a red car falls", vectors[0], among=few)
    assert nearest.likeness(vectors[0] + vectors[2]) <= 0.5
    nothing_else = Alert(1, "x", vectors[0], among=Phrases(["x"], vectors[:1]))
    assert nothing_else.likeness(vectors[0]) > 0.99
    assert nothing_else.likeness(-vectors[0]) < 0.01


def test_an_alert_among_phrases_needs_no_calibration() -> None:
    vectors = np.eye(4, dtype=np.float32)
    among = Phrases(["one", "two"], vectors[1:3])
    book = AlertBook(4)
    options: dict[str, Any] = {"per_hour": 1, "hysteresis": None, "cool_down_s": 0.5}
    alert = book.add("x", vectors[0], None, threshold=None, among=among, **options)
    strict = book.add("x", vectors[0], None, threshold=0.99, among=among, **options)
    assert alert.threshold == 0.5 and not alert.fixed
    seen = [1, 0, 0, 0, 2, 2, 0, 0, 3, 3]
    fired = [len(book.push(vectors[i], n * 250_000_000)) for n, i in enumerate(seen)]
    assert fired == [0, 0, 2, 0, 0, 0, 0, 2, 0, 0]  # on the second window of each event
    assert alert.fired == strict.fired == 2
    book.set_threshold(alert.number, 0.9)
    assert alert.threshold == 0.9 and alert.fixed
    book.set_threshold(alert.number, None)
    assert alert.threshold == 0.5 and not alert.fixed
    for _ in range(200):
        book.push(vectors[1], 10**12)
    assert alert.threshold == 0.5  # no calibration moves it
    with pytest.raises(AssistantError, match="give one"):
        book.add("x", vectors[0], None, threshold=None, among=among, negatives=vectors, **options)


@pytest.mark.parametrize("per_hour", [1.0, 20.0])
def test_calibration_meets_its_rate(per_hour: float) -> None:
    """Told from ten minutes, held against a hundred hours of the same."""
    rng = np.random.default_rng(8)

    def cosines(count: int) -> np.ndarray:
        # Slowly wandering, as windows that overlap do.
        noise = rng.standard_normal(count + 8)
        smooth = np.convolve(noise, np.ones(8) / np.sqrt(8), "valid")[:count]
        return np.tanh(0.3 + 0.1 * smooth)

    rates = []
    for _ in range(3):
        told = calibrate(smoothed(cosines(2400)), np.arange(2400) / 4, per_hour=per_hour)
        assert told is not None and told.threshold < 1
        hours = 8
        alert = Alert(1, "x", np.zeros(1, np.float32), None, told.threshold, cool_down_s=10)
        stream = cosines(hours * 3600 * 4)
        fired = sum(alert.push(float(c), i * 250_000_000) is not None for i, c in enumerate(stream))
        rates.append(fired / hours)
    assert per_hour / 6 < np.median(rates) < per_hour * 4, rates


def test_calibration_needs_enough_stream() -> None:
    assert calibrate(np.zeros(40), np.arange(40) / 4) is None
    assert calibrate(np.zeros(400), np.arange(400) / 4) is not None
    book = AlertBook(4)
    vector = np.eye(4, dtype=np.float32)
    alert = book.add(
        "x", vector[0], None, threshold=None, per_hour=1, hysteresis=0.02, cool_down_s=10
    )
    rng = np.random.default_rng(9)
    for i in range(400):
        assert not book.push(vector[1] * rng.random(), i * 250_000_000) or i > 80
    assert alert.threshold is not None and not alert.fixed
    fired = [book.push(vector[0], (400 + i) * 250_000_000) for i in range(3)]
    assert [len(f) for f in fired] == [0, 1, 0] or [len(f) for f in fired] == [1, 0, 0]
