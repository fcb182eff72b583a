"""Ablations: their plan, real tiny runs that resume, and tables that tell what can be told."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import tiny_training
import torch
from vljepa_edge.bench.ablations.__main__ import main
from vljepa_edge.bench.ablations.judging import candidates, mean_of
from vljepa_edge.bench.ablations.picture import to_svg
from vljepa_edge.bench.ablations.plan import ABLATIONS, Base, Expectation
from vljepa_edge.bench.ablations.running import Result, Setting, digest
from vljepa_edge.bench.ablations.table import compare, to_markdown
from vljepa_edge.bench.tasks.score import missing, score
from vljepa_edge.export.errors import ExportError
from vljepa_edge.export.export_bundle import export_bundle
from vljepa_edge.model import checkpoint
from vljepa_edge.model.data import corpus
from vljepa_edge.model.recipe import nano_recipe
from vljepa_edge.model.tokenizer import train_tokenizer
from vljepa_edge.model.train import train, train_text_side
from vljepa_edge.model.vl_jepa import VLJEPA


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint whose X-Encoder the runs take over."""
    torch.manual_seed(6)
    folder = tmp_path_factory.mktemp("given")
    tokenizer = train_tokenizer(corpus(tiny_training.tiny_world(), 1, 50), 400)
    checkpoint.save(folder, VLJEPA(tiny_training.tiny_config()), tokenizer, {"world": 2})
    return folder


def test_the_plan_changes_one_thing_at_a_time(given: Path) -> None:
    base = Base(tiny_training.tiny_config(), nano_recipe())
    setting = Setting(given, 2, clips=4)
    for name, make in ABLATIONS.items():
        ablation = make(base)
        labels = [variant.label for variant in ablation.variants]
        assert ablation.name == name and len(set(labels)) == len(labels) >= 2
        for pair in ablation.expectations:
            assert {pair.better, pair.worse} <= set(labels)
            assert pair.metric in ablation.variants[0].metrics
        digests = {digest(variant, setting) for variant in ablation.variants}
        assert len(digests) == len(labels), name
    # The base is trained once for all tables that show it.
    same = {
        digest(variant, setting)
        for name, label in (
            ("pretraining", "all stages"),
            ("multiplier", "x0.05"),
            ("labels", "with label texts"),
            ("attention", "bidirectional"),
        )
        for variant in ABLATIONS[name](base).variants
        if variant.label == label
    }
    assert len(same) == 1
    # Losses are compared without the label texts, which go with InfoNCE alone.
    (plain,) = [v for v in ABLATIONS["loss"](base).variants if v.label == "infonce"]
    assert {stage.labels for stage in plain.recipe.stages} == {0.0}


def test_causal_is_causal_and_stays_here(given: Path, tmp_path: Path) -> None:
    (variant,) = [
        v
        for v in ABLATIONS["attention"](Base(tiny_training.tiny_config(), nano_recipe())).variants
        if v.label == "causal"
    ]
    torch.manual_seed(7)
    model = VLJEPA(variant.config).eval()
    visual = torch.randn(1, 4, 48)
    mask = torch.tensor([[1.0, 1.0, 0.0]])
    with torch.no_grad():
        one, _ = model.predictor.hidden(visual, torch.randn(1, 3, 32), mask)
        two, _ = model.predictor.hidden(visual, torch.randn(1, 3, 32), mask)
    assert torch.equal(one[:, :4], two[:, :4]) and not torch.equal(one[:, 4:], two[:, 4:])
    checkpoint.save(tmp_path / "causal", model, checkpoint.load(given).tokenizer, {})
    assert checkpoint.load(tmp_path / "causal").model.config.predictor.causal
    with pytest.raises(ExportError, match="its Predictor is causal"):
        export_bundle(tmp_path / "causal", tmp_path / "bundle")


def test_runs_are_real_and_resume(
    given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["-o", str(tmp_path), "--x-encoder-from", str(given), "--scale", "0.001"]
    asked += ["--batch", "3", "--clips", "2", "--workers", "0", "--sentences", "50"]
    assert main(["attention", *asked]) == 0
    assert main(["objective", *asked]) == 0
    told = capsys.readouterr()
    assert "tokens: query" in told.err
    runs = sorted((tmp_path / "runs").iterdir())
    assert len(runs) == 6
    for home in runs:
        assert {file.name for file in home.iterdir()} == {"log.csv", "result.json"}
        assert (home / "log.csv").read_text().count("query,") >= 1
    # One text stage with label texts and one without: runs that share it begin with the same.
    assert len(list((tmp_path / "texts").iterdir())) == 2
    stored = json.loads((tmp_path / "ablations.json").read_text())
    assert stored["about"]["world"] == 2
    assert set(stored["ablations"]) == {"attention", "objective"}  # nothing asked for is lost
    (embedding, labelled, tokens, deeper) = stored["ablations"]["objective"]
    assert embedding["clips"] == labelled["clips"] == tokens["clips"] > 0
    assert deeper["trained"] > tokens["trained"]
    assert ElementTree.parse(tmp_path / "ablations.svg").getroot().get("aria-label")
    assert {"of 100", "CIDEr", "captions"} == set(tokens["scores"])
    assert all(0 <= tokens["scores"][m]["value"] <= 10 for m in tokens["scores"])
    # Again: everything is there, nothing is trained.
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").rglob("*")}
    assert main(["attention", *asked]) == 0
    told = capsys.readouterr()
    assert told.err == "" and "| bidirectional | causal | VQA |" in told.out
    assert before == {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").rglob("*")}


def test_processes_share_a_folder(given: Path, tmp_path: Path) -> None:
    """Two at once train each variant once, and both print the whole table."""
    asked = [sys.executable, "-m", "vljepa_edge.bench.ablations", "attention", "-o", str(tmp_path)]
    asked += ["--x-encoder-from", str(given), "--scale", "0.001", "--batch", "3"]
    asked += ["--clips", "2", "--workers", "0", "--sentences", "50"]
    started = [
        subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ended = [process.communicate(timeout=240) for process in started]
    assert [process.returncode for process in started] == [0, 0], ended
    told = "".join(err for _, err in ended)
    for label in ("bidirectional", "causal"):
        assert told.count(f"{label}: judging") == 1, told
    assert told.count(": text 1 of") == 1, told
    assert all("| – |" not in out and "| causal | 0" in out for out, _ in ended), ended


def test_a_text_side_given_is_the_one_that_would_be_trained(tmp_path: Path) -> None:
    """Of the same recipe and seed: the tokenizer to the byte, the Y-Encoder to the bit."""
    recipe = tiny_training.tiny_recipe()
    still = tuple(replace(stage, y_encoder_lr=0.0) for stage in recipe.stages)
    recipe = replace(recipe, encoder=(), stages=still)
    config, of_world = tiny_training.tiny_config(), tiny_training.tiny_world()
    train_text_side(tmp_path / "text", config, recipe, of_world, corpus_sentences=50)
    for name, given in (("whole", None), ("taken", tmp_path / "text")):
        train(
            tmp_path / name,
            config,
            recipe,
            world_config=of_world,
            workers=0,
            corpus_sentences=50,
            text_from=given,
        )
    one, other = (checkpoint.load(tmp_path / name) for name in ("whole", "taken"))
    assert one.tokenizer.to_str() == other.tokenizer.to_str()
    for name, value in one.model.y_encoder.state_dict().items():
        assert torch.equal(value, other.model.y_encoder.state_dict()[name]), name
    assert "text," in (tmp_path / "whole" / "log.csv").read_text()
    assert "text," not in (tmp_path / "taken" / "log.csv").read_text()


def result(label: str, right: int, of: int) -> Result:
    row = score("t", "both", [True] * right + [False] * (of - right))
    return Result(label, {"both": row}, 10, 10, 60.0)


def test_tables_tell_only_what_can_be_told() -> None:
    pair = Expectation("a", "b", "both")
    far = {"a": result("a", 180, 200), "b": result("b", 100, 200)}
    assert compare(pair, far) == "as the paper (+40.0 points)"
    assert compare(Expectation("b", "a", "both"), far) == "the other way (-40.0 points)"
    near = {"a": result("a", 101, 200), "b": result("b", 100, 200)}
    assert compare(pair, near).startswith("too close to tell")
    assert compare(pair, {"a": result("a", 1, 2)}) == "not run"
    ablation = ABLATIONS["attention"](Base(tiny_training.tiny_config(), nano_recipe()))
    assert "| causal | – |" in to_markdown(ablation, {})


def test_the_picture_shows_each_figure_where_it_is() -> None:
    ablation = ABLATIONS["attention"](Base(tiny_training.tiny_config(), nano_recipe()))
    row = score("t", "<both>", [True, False])
    scores = dict.fromkeys(ablation.variants[0].metrics, row)
    drawn = ElementTree.fromstring(
        to_svg([ablation], {"attention": {"causal": Result("causal", scores, 1, 1, 1.0)}})
    )
    name = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in drawn.iter(f"{name}text")]
    assert {"attention", "bidirectional", "causal", "VQA"} <= set(texts)
    dots = [float(dot.get("cx", "")) for dot in drawn.iter(f"{name}circle")]
    assert texts.count("50.0 %") == len(dots) == len(scores)  # the other variant has none
    ends = [float(t.get("x", "")) for t in drawn.iter(f"{name}text") if t.text in ("0", "100 %")]
    middles = [(a + b) / 2 for a, b in zip(ends[::2], ends[1::2], strict=True)]
    assert dots == pytest.approx(middles, abs=0.1)


def test_means_and_candidates() -> None:
    rows = [score("vqa", "a", [True, False]), score("vqa", "b", [True] * 4), missing("v", "c", "")]
    assert mean_of(rows).value == pytest.approx(0.75) and mean_of(rows).count == 6
    config = tiny_training.tiny_world()
    from vljepa_edge import world

    scene = world.sample_clip(2, 0, config, split="test").scene
    texts = candidates(scene, config, 0)
    assert len(set(texts)) == 100
    assert texts[0] == world.motion_object_caption(scene.object, scene.motion)
    assert texts[1:] != candidates(scene, config, 1)[1:]
