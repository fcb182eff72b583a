"""`Model` on the real core and ONNX Runtime: embeddings, answers, queries, engines of Python."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from vljepa_edge.runtime import errors
from vljepa_edge.runtime.frames import uniform_indices
from vljepa_edge.runtime.golden import read_golden, rerun
from vljepa_edge.runtime.model import Model, load


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Iterator[Model]:
    with load(tiny_bundle) as opened:
        yield opened


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (6, 40, 60, 3), dtype=np.uint8)


def test_description(model: Model) -> None:
    about = model.description
    assert (about.name, about.precision, about.backend) == ("tiny", "fp32", "ort")
    assert (about.frames, about.height, about.width) == (4, 32, 32)
    assert about.visual_tokens == 2 * 2 * 2 and about.embedding_width == 32
    assert [query.text for query in model.queries] == ["What is happening?", "What moves?"]
    assert model.has("y_encoder") and model.default_text_source == "decoder"
    assert "tiny" in repr(model)


def test_golden_vectors_come_out_again(model: Model, tiny_bundle: Path) -> None:
    results = list(rerun(model, read_golden(tiny_bundle)))
    assert len(results) >= 8
    assert all(r.cosine > 0.99999 and r.max_abs < 1e-4 for r in results)


def test_embed_video(model: Model, frames: np.ndarray) -> None:
    embedding = model.embed_video(frames)
    assert embedding.shape == (32,) and embedding.dtype == np.float32
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-5)
    # The channels' order is told, not guessed.
    assert np.array_equal(model.embed_video(frames[..., ::-1], pixel_format="bgr"), embedding)
    # Rows may be padded, as a crop of a larger picture has them.
    wide = np.zeros((6, 40, 80, 3), np.uint8)
    wide[:, :, :60] = frames
    assert np.array_equal(model.embed_video(wide[:, :, :60]), embedding)
    # It is the frames' own embedding, and the query's.
    assert not np.allclose(model.embed_video(frames[:1]), embedding, atol=1e-4)
    assert not np.allclose(model.embed_video(frames, "What moves?"), embedding, atol=1e-4)


def test_one_picture_is_repeated(model: Model, frames: np.ndarray) -> None:
    repeated = np.repeat(frames[:1], 4, axis=0)
    assert np.array_equal(model.embed_video(frames[:1]), model.embed_video(repeated))


def test_embed_video_file_takes_frames_evenly(model: Model, clip: Path) -> None:
    import cv2

    capture = cv2.VideoCapture(str(clip))
    pictures = []
    while True:
        taken, pixels = capture.read()
        if not taken:
            break
        pictures.append(pixels)
    assert np.array_equal(model.embed_video(clip), model.embed_video(pictures, pixel_format="bgr"))


def test_uniform_indices() -> None:
    assert uniform_indices(8, 4) == [1, 3, 5, 7]
    assert uniform_indices(4, 4) == [0, 1, 2, 3]
    assert uniform_indices(1, 3) == [0, 0, 0]


@pytest.mark.parametrize(
    "frames",
    [np.zeros((0, 8, 8, 3), np.uint8), np.zeros((2, 8, 8, 4), np.uint8), np.zeros((2, 8, 8, 3))],
    ids=["none", "four channels", "float"],
)
def test_bad_frames_are_refused(model: Model, frames: np.ndarray) -> None:
    with pytest.raises(errors.ArgumentError):
        model.embed_video(frames)


def test_embed_text_and_classify(model: Model, frames: np.ndarray) -> None:
    labels = ["a red apple falls", "a blue car turns left", "nothing moves"]
    texts = model.embed_text(labels)
    assert texts.shape == (3, 32)
    assert np.linalg.norm(texts, axis=1) == pytest.approx(1, abs=1e-5)
    matches = model.classify(frames, labels)
    cosines = dict(zip(labels, texts @ model.embed_video(frames), strict=True))
    assert [m.text for m in matches] == sorted(labels, key=lambda label: -cosines[label])
    assert [m.score for m in matches] == pytest.approx(sorted(cosines.values(), reverse=True))
    with pytest.raises(errors.ArgumentError, match="list of texts"):
        model.embed_text("one text")  # type: ignore[arg-type]
    with pytest.raises(errors.ArgumentError, match="tokens"):
        model.embed_text(["word " * 200])


def test_answer(model: Model, frames: np.ndarray) -> None:
    candidates = ["one", "two", "three"]
    answers = model.answer(frames, "How many apples are there?", candidates)
    assert sorted(match.text for match in answers) == sorted(candidates)
    (free,) = model.answer(frames, "How many apples are there?")
    decoded = model.decode(model.embed_video(frames, "How many apples are there?"))
    assert free.text == decoded.text and 0 < free.score <= 1
    assert decoded.tokens <= 8


def test_decode_is_the_reference(model: Model, tiny_bundle: Path) -> None:
    golden = read_golden(tiny_bundle)
    decoded = model.decode(golden["chain/predicted_embedding"])
    assert decoded.text == golden["chain/text"].tobytes().decode("utf-8", "replace")
    assert decoded.tokens == len(golden["chain/token_ids"])


def test_nearest_phrases(model: Model) -> None:
    phrase = "a blue car turns left"
    matches = model.nearest_phrases(model.embed_text([phrase])[0], k=3)
    assert matches[0].text == phrase and matches[0].score == pytest.approx(1, abs=1e-4)
    assert [m.score for m in matches] == sorted((m.score for m in matches), reverse=True)


def test_compiled_and_tokenized_queries_are_the_same(model: Model) -> None:
    compiled = model.compile_query("What moves?")
    ids = model.tokenize("What moves?")
    assert len(ids) == len(compiled.embeddings)
    spelled = model.compile_query("what moves?")  # not the bundle's spelling, so it is tokenized
    assert np.allclose(spelled.embeddings, compiled.embeddings)


@pytest.mark.parametrize("text", ["", " ", "word " * 600])
def test_bad_queries(model: Model, text: str) -> None:
    with pytest.raises(errors.ArgumentError) as caught:
        model.compile_query(text)
    assert caught.value.status_name == "VLJ_E_QUERY"


def test_only_some_components(tiny_bundle: Path, frames: np.ndarray) -> None:
    with load(tiny_bundle, components=["x_encoder", "predictor"]) as model:
        assert not model.has("y_decoder") and model.default_text_source == "phrases"
        model.embed_video(frames)
        with pytest.raises(errors.VljepaError, match="y_encoder"):
            model.embed_text(["a text"])
    with pytest.raises(errors.ArgumentError, match="z_encoder"):
        load(tiny_bundle, components=["z_encoder"])


def test_backends(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(errors.VljepaError, match="teapot"):
        load(tiny_bundle, backend="teapot")
    monkeypatch.setenv("VLJEPA_ORT_LIBRARY", str(tmp_path / "libnothing.so"))
    with pytest.raises(errors.BackendError, match="libnothing"):
        load(tiny_bundle)


def test_engine_in_python(tiny_bundle: Path, model: Model, frames: np.ndarray) -> None:
    """Backend "callback": engines of Python that hand on to ONNX Runtime give the same numbers."""
    import onnxruntime

    sessions = {
        name: onnxruntime.InferenceSession(str(tiny_bundle / f"{name}.onnx"))
        for name in ("x_encoder", "predictor", "y_encoder", "y_decoder_prefix", "y_decoder")
    }
    calls = []

    def engine(component: str, inputs: dict, outputs: dict) -> None:
        calls.append(component)
        found = sessions[component].run(list(outputs), dict(inputs))
        for array, value in zip(outputs.values(), found, strict=True):
            array[...] = value

    with load(tiny_bundle, backend="callback", engine=engine) as other:
        assert other.description.backend == "callback"
        assert np.allclose(other.embed_video(frames), model.embed_video(frames), atol=1e-5)
        assert (
            other.decode(model.embed_video(frames)).text
            == model.decode(model.embed_video(frames)).text
        )
    assert {"x_encoder", "predictor", "y_decoder_prefix", "y_decoder"} <= set(calls)


def test_failing_engine_becomes_an_error(tiny_bundle: Path, frames: np.ndarray) -> None:
    def engine(component: str, inputs: dict, outputs: dict) -> None:
        raise RuntimeError(f"{component} is out of order")

    with (
        load(tiny_bundle, backend="callback", engine=engine) as model,
        pytest.raises(errors.BackendError, match="x_encoder is out of order"),
    ):
        model.embed_video(frames)


def test_many_threads(model: Model, frames: np.ndarray) -> None:
    expected = model.embed_video(frames)
    results: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: results.append(model.embed_video(frames))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(np.array_equal(result, expected) for result in results)


def test_errors_have_their_class(tmp_path: Path) -> None:
    with pytest.raises(errors.BundleError) as caught:
        load(tmp_path / "nowhere")
    assert caught.value.status_name == "VLJ_E_BUNDLE_MISSING"
    assert "nowhere" in str(caught.value)
