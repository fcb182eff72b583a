"""The suite of tasks: every task on tiny models through both engines, and its arithmetic."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from conftest import Cli
from vljepa_edge.bench.tasks.answering import answer, anticipate
from vljepa_edge.bench.tasks.captioning import caption
from vljepa_edge.bench.tasks.classification import classify
from vljepa_edge.bench.tasks.context import MOTION_QUERY, OBJECT_QUERY, Context
from vljepa_edge.bench.tasks.judge import Judged, open_judged
from vljepa_edge.bench.tasks.retrieval import retrieve
from vljepa_edge.bench.tasks.score import interval, score
from vljepa_edge.bench.tasks.selective_decoding import lowest_rate
from vljepa_edge.bench.tasks.state_change import choose
from vljepa_edge.bench.tasks.suite import TASKS, run, to_markdown, world_config
from vljepa_edge.bench.tasks.triplets import compare

from vljepa_edge import world


class Oracle:
    """Knows the texts of the clips that it is shown, by their bytes; embeds texts by their words.

    A text's embedding is the mean of one random direction a word, in a space wide enough that
    words hardly meet; a clip's is that of the text that it was taught for the query.
    """

    def __init__(self) -> None:
        self.taught: dict[tuple[bytes, str], str] = {}

    @staticmethod
    def _word(word: str) -> npt.NDArray[np.float32]:
        seed = int.from_bytes(word.encode()[:8].ljust(8, b"\0"), "little") + len(word)
        return np.random.default_rng(seed).standard_normal(256).astype(np.float32)

    def embed_text(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        rows = np.stack([np.mean([self._word(w) for w in text.split()], axis=0) for text in texts])
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))

    def embed_queries(
        self, frames: npt.NDArray[np.uint8], queries: Sequence[Sequence[str]]
    ) -> list[npt.NDArray[np.float32]]:
        return [
            self.embed_text(
                [self.taught.get((clip.tobytes(), query), "no idea") for query in asked]
            )
            for clip, asked in zip(frames, queries, strict=True)
        ]

    def embed_video(self, frames: npt.NDArray[np.uint8], query: str) -> npt.NDArray[np.float32]:
        return np.concatenate(self.embed_queries(frames, [[query]] * len(frames)))

    def decode(self, embeddings: npt.NDArray[np.float32]) -> list[str]:
        texts = list(self.taught.values())
        return [texts[int(i)] for i in (embeddings @ self.embed_text(texts).T).argmax(1)]


def context(version: int, clips: int = 24) -> tuple[Context, Oracle]:
    oracle = Oracle()
    judged = Judged(oracle, "oracle", "test", "fp32", 32, 4, 4.0, 2)
    return Context(judged, world_config(judged, version), clips, 2), oracle


def by_name(scores: Sequence[object]) -> dict[str, float | None]:
    return {row.name: row.value for row in scores}  # type: ignore[attr-defined]


def teach_captions(context: Context, oracle: Oracle, text: object, splits: Sequence[str]) -> None:
    for split in splits:
        for i in range(4 * context.clips):
            clip = world.sample_clip(context.seed, i, context.config, split=split)
            said = text(clip)  # type: ignore[operator]
            oracle.taught[clip.frames.tobytes(), world.CAPTION_QUERIES[0]] = said


def teach_labels(context: Context, oracle: Oracle, right: bool, splits: Sequence[str]) -> None:
    texts = world.label_texts(context.config)
    for split in splits:
        for i in range(4 * context.clips):
            clip = world.sample_clip(context.seed, i, context.config, split=split)
            labels = world.labels_of(clip.scene, context.config)
            for kind, query in (("object", OBJECT_QUERY), ("motion", MOTION_QUERY)):
                told = texts[kind][(labels[kind] or 0) - (not right)]
                oracle.taught[clip.frames.tobytes(), query] = told


def test_who_knows_all_scores_all() -> None:
    """Right answers give full marks, and wrong ones of the same form none."""
    for version in (1, 2):
        seen, oracle = context(version)
        right = lambda c: world.motion_object_caption(c.scene.object, c.scene.motion)  # noqa: E731
        teach_captions(seen, oracle, right, ("test", "pairs", "style"))
        teach_labels(seen, oracle, True, ("test", "pairs", "style"))
        assert set(by_name(classify(seen)).values()) == {1.0}
        blind, oracle = context(version)
        teach_labels(blind, oracle, False, ("test", "pairs", "style"))
        wrong = lambda c: world.motion_object_caption("tree", "blink")  # noqa: E731
        teach_captions(blind, oracle, wrong, ("test", "pairs", "style"))
        found = by_name(classify(blind))
        assert all(value is not None and value < 0.4 for value in found.values())


def test_retrieval_and_captions_of_who_knows_all() -> None:
    seen, oracle = context(2, clips=30)
    teach_captions(seen, oracle, lambda c: c.caption, ("test",))
    rows = by_name(retrieve(seen))
    assert rows["R@1 of 30"] == rows["R@10 of 30"] == 1.0
    assert rows["held-out words, R@1 of 100"] is None
    written, oracle = context(2, clips=30)
    teach_captions(written, oracle, lambda c: world.canonical_caption(c.scene), ("test",))
    told = by_name(caption(written))
    assert told["right object and motion"] == 1.0 and told["CIDEr, five references"] > 3  # type: ignore[operator]


def test_answers_of_who_knows_all_and_of_who_knows_nothing() -> None:
    from vljepa_edge.bench.tasks import answering

    for version in (1, 2):
        knows, oracle = context(version, clips=6)
        for purpose, (config, asker) in enumerate(answering._variants(knows.config).values()):
            for index in range(60):
                rng = np.random.default_rng((knows.seed, 1000 + purpose, index))
                scene = world.sample_scene(rng, config, split="test")
                asked = asker(scene, rng, config)
                frames = world.render(scene, world.window_times(config), config.size)
                for query, right, candidates, _ in asked:
                    assert right in candidates
                    oracle.taught[frames.tobytes(), query] = right
        rows = by_name(answer(knows))
        assert len(rows) == (10 if version == 1 else 12)
        assert all(value == 1.0 for value in rows.values()), rows
        ignorant, _ = context(version, clips=6)
        assert by_name(answer(ignorant))["presence, average"] == 0.5


def test_anticipation_needs_version_2() -> None:
    (row,) = anticipate(context(1)[0])
    assert row.value is None and "version 1" in row.note
    (row,) = anticipate(context(2)[0])
    assert row.value is not None and row.value < 0.4


@pytest.mark.parametrize("version", [1, 2])
def test_state_changes_have_one_answer(version: int) -> None:
    config = world_config(context(version)[0].judged, version)
    answers = set()
    for index in range(60):
        case = world.sample_state_change(1, index, config)
        answers.add(case.answer)
        assert len(set(case.motions)) == 4 and case.motions[case.answer] == case.scene.motion
        assert case.clips.shape == (4, 4, 32, 32, 3) and (case.before != case.after).any()
        again = world.sample_state_change(1, index, config)
        assert (case.clips == again.clips).all() and case.answer == again.answer
    assert answers == {0, 1, 2, 3}


def test_state_change_is_chosen_by_embedding() -> None:
    """Who names the action of pictures and clips finds each clip; else about one in four."""
    knows, oracle = context(2, clips=12)
    half = knows.config.frames // 2
    for index in range(12):
        case = world.sample_state_change(knows.seed, index, knows.config)
        states = np.stack([case.before] * half + [case.after] * half)
        query = MOTION_QUERY
        oracle.taught[states.tobytes(), query] = case.scene.motion
        for clip, motion in zip(case.clips, case.motions, strict=True):
            oracle.taught[clip.tobytes(), query] = motion
    (row,) = choose(knows)
    assert row.value == 1.0 and row.count == 12


def test_triplets_differ_in_meaning_alone() -> None:
    config = world.WorldConfig.v2()
    for kind in world.TRIPLET_KINDS:
        for index in range(40):
            triplet = world.sample_triplet(1, index, kind, config)
            assert triplet is not None and triplet == world.sample_triplet(1, index, kind, config)
            texts = (triplet.first, triplet.second, triplet.other)
            assert len(set(texts)) == 3
            told = [world.read_caption(text, config.objects, config.motions) for text in texts]
            assert told[0] == told[1]
            if kind == "replace object":
                assert told[2].object != told[0].object and told[2].motion == told[0].motion
            elif kind == "replace motion":
                assert told[2].motion != told[0].motion
            elif kind == "swap object":
                assert told[2].object != told[0].object
            elif kind in ("replace attribute", "swap attribute"):
                assert told[2].motion == told[0].motion and told[2].object == told[0].object
    rows = by_name(compare(context(2)[0]))
    # A bag of words cannot see who is first, and so says nothing of swaps.
    assert rows["replace object"] > rows["swap object"]  # type: ignore[operator]


def test_captions_are_read_back_in_any_phrasing() -> None:
    rng = np.random.default_rng(3)
    for config in (world.WorldConfig(), world.WorldConfig.v2()):
        for _ in range(400):
            scene = world.sample_scene(rng, config, split="train")
            told = world.read_caption(
                world.caption(scene, rng), config.objects, config.motions
            )  # fmt: skip
            assert (told.object, told.motion) == (scene.object, scene.motion)
            if world.is_event_of_two(scene.motion):
                assert scene.other is not None and told.other == scene.other.object
    assert world.read_caption("nothing at all", ("cat",), ("left",)) == world.Told(None, None, None)


def test_intervals_hold_what_they_promise() -> None:
    """About 95 of 100 intervals of a fair coin hold one half."""
    rng = np.random.default_rng(1)
    held = 0
    for i in range(200):
        low, high = interval((rng.random(100) < 0.5).astype(float), seed=i)
        held += low <= 0.5 <= high
    assert 0.88 < held / 200 < 0.99
    row = score("task", "name", [True, False, True, True])
    assert row.value == 0.75 and row.low is not None and row.low < 0.75 < row.high  # type: ignore[operator]
    assert score("task", "name", []).value is None


def test_lowest_rate_is_where_the_curve_crosses() -> None:
    curve = [(0.1, 1.0), (0.3, 2.0), (1.0, 3.0)]
    assert lowest_rate(curve, 1.5) == pytest.approx(0.2)
    assert lowest_rate(curve, 0.5) == 0.1
    assert lowest_rate(curve, 3.5) is None


@pytest.fixture(scope="module")
def speaking(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny model whose tokenizer knows version 2's words, as a checkpoint and as a bundle."""
    import torch
    from vljepa_edge.export.export_bundle import export_bundle
    from vljepa_edge.model import checkpoint
    from vljepa_edge.model.data import corpus
    from vljepa_edge.model.tokenizer import train_tokenizer
    from vljepa_edge.model.vl_jepa import VLJEPA

    tokenizer = train_tokenizer(corpus(world.WorldConfig.v2(), 1, 1500), 1024)
    config = checkpoint.load(tiny_checkpoint).model.config
    words = tokenizer.get_vocab_size()
    parts = {}
    for name in ("predictor", "y_encoder", "y_decoder"):
        part = getattr(config, name)
        stack = dataclasses.replace(part.transformer, vocabulary=words)
        parts[name] = dataclasses.replace(part, transformer=stack)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("speaking")
    model = VLJEPA(dataclasses.replace(config, **parts))
    card = {"made": "random weights for tests", "world": 2}
    checkpoint.save(folder / "checkpoint", model, tokenizer, card)
    export_bundle(folder / "checkpoint", folder / "bundle", query_texts=["what is happening?"])
    return folder / "checkpoint", folder / "bundle"


def test_reference_and_core_agree_on_every_task(speaking: tuple[Path, Path]) -> None:
    """The same model through PyTorch and through the C core: the same figures, but for what lies
    so near that rounding decides."""
    tasks = ("retrieval", "vqa", "state-change", "captions", "triplets", "selective")
    reports = []
    for path in speaking:
        reports.append(run(open_judged(path), version=2, tasks=tasks, clips=4, seed=3))
    assert [r.about["engine"] for r in reports] == ["PyTorch reference", "C core"]
    one, two = ({(s.task, s.name): s for s in report.scores} for report in reports)
    rate = "rate that equals"
    names = {key for key in one if rate not in key[1]}
    assert names == {key for key in two if rate not in key[1]}
    near = 0
    for key in names:
        if one[key].value is None or two[key].value is None:
            assert one[key].value == two[key].value
            continue
        near += abs(one[key].value - two[key].value) < 0.01  # type: ignore[operator]
    assert near >= 0.9 * len(names)


def test_the_command_prints_markdown_and_json(cli: Cli, speaking: tuple[Path, Path]) -> None:
    bundle = speaking[1]
    tasks = ["--task", "triplets", "--task", "state-change"]
    result = cli("eval", bundle, *tasks, "--world", "2", "--clips", "3", "--json")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["about"]["objects"] == 300 and told["about"]["motions"] == 34
    assert {row["task"] for row in told["scores"]} == {"text triplets", "state change"}
    assert set(told["seconds"]) == {"triplets", "state-change"}
    result = cli("eval", bundle, *tasks, "--clips", "3")
    assert result.stdout.startswith("# tiny on sprite world") and "| all |" in result.stdout
    result = cli("eval", bundle, "--task", "dancing")
    assert result.returncode == 2 and "no task 'dancing'" in result.stderr


def test_a_bundle_is_judged_without_torch(speaking: tuple[Path, Path]) -> None:
    code = f"""
import sys
from pathlib import Path
from vljepa_edge.bench.tasks.judge import open_judged
from vljepa_edge.bench.tasks.suite import run
run(open_judged(Path({str(speaking[1])!r})), version=2, tasks=("retrieval", "triplets"), clips=2)
print("torch" in sys.modules)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )  # fmt: skip
    assert result.stdout.strip() == "False"


def test_the_suite_names_every_task_of_the_paper() -> None:
    assert set(TASKS) == {
        "classification", "retrieval", "vqa", "state-change", "anticipation", "captions",
        "triplets", "selective",
    }  # fmt: skip
    with pytest.raises(ValueError, match="no task 'x'"):
        run(context(1)[0].judged, version=1, tasks=("x",))


def test_markdown_shows_a_curve_as_one_table() -> None:
    seen, _ = context(2)
    report = run(seen.judged, version=2, tasks=("triplets",), clips=3)
    row = score("selective decoding", "CIDEr, gate, exact, 0.5 Hz", [1.0, 2.0], unit="cider")
    other = dataclasses.replace(row, name="CIDEr, gate, exact, 1 Hz", value=3.0)
    report.scores += [row, other]
    text = to_markdown(report)
    assert "| CIDEr at | 0.5 Hz | 1 Hz |" in text and "| gate, exact | 1.50 | 3.00 |" in text
