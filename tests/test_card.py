"""The model card: its figures come from files, its goals meet the suite's own rows."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import tiny_training
import torch
from vljepa_edge.bench.card import GOALS, batch_sizes, card, goal_of, main
from vljepa_edge.bench.tasks.judge import open_judged
from vljepa_edge.bench.tasks.suite import run
from vljepa_edge.model import checkpoint
from vljepa_edge.model.data import corpus
from vljepa_edge.model.tokenizer import train_tokenizer
from vljepa_edge.model.vl_jepa import VLJEPA

LOG = """stage,step,loss,learning_rate,samples_per_s
text,1,2.5,1e-3,100.0
text,2,2.0,1e-3,300.0
query,3,1.25,1e-3,40.0
"""


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint with the card that a release has."""
    torch.manual_seed(8)
    folder = tmp_path_factory.mktemp("released")
    tokenizer = train_tokenizer(corpus(tiny_training.tiny_world(), 1, 50), 400)
    recipe = dataclasses.asdict(tiny_training.tiny_recipe())
    told = {"world": 2, "recipe": recipe, "note": "Made for a test.", "licence": "Apache-2.0"}
    checkpoint.save(folder / "tiny", VLJEPA(tiny_training.tiny_config()), tokenizer, told)
    (folder / "log.csv").write_text(LOG)
    return folder / "tiny"


@pytest.fixture(scope="module")
def quality(released: Path) -> dict[str, Any]:
    """The whole suite of the tiny model."""
    return run(open_judged(released), clips=2, seed=3).to_json()


def test_goals_are_of_rows_that_the_suite_has(quality: dict[str, Any]) -> None:
    reached = [row for row in quality["scores"] if goal_of(row) is not None]
    for task, begin, end, figure in GOALS:
        rows = [
            row
            for row in reached
            if row["task"] == task and row["name"].startswith(begin) and row["name"].endswith(end)
        ]
        assert rows and all(goal_of(row) == figure for row in rows), (task, begin)
    assert len(reached) == len(GOALS) + 3  # two kinds each of counting, attributes and relations


def test_the_card_tells_what_the_files_hold(
    released: Path, quality: dict[str, Any], tmp_path: Path
) -> None:
    path, log = tmp_path / "quality.json", released.parent / "log.csv"
    for row in quality["scores"]:
        if row["name"].startswith("R@1 of"):
            row.update(value=0.7, low=0.6, high=0.8)
    path.write_text(json.dumps(quality))
    (tmp_path / "limits.md").write_text("## What limits it\n\nIts size.\n")
    arguments = [str(released), "--quality", str(path), "--log", str(log)]
    arguments += ["--limits", str(tmp_path / "limits.md"), "-o", str(tmp_path / "card.md")]
    assert main(arguments) == 0
    text = (tmp_path / "card.md").read_text()
    assert "300 objects, 34 motions" in text and "Made for a test." in text
    assert (
        "| text | the Y-Encoder on phrasings, no video | 2 | 0 k pairs of texts | 2.000 | 300 |"
        in (text)
    )
    assert "| retrieval | R@1 of 2 | 70.0% | 60.0% to 80.0% | 50.0% | 65.0%: met |" in text
    assert text.count(": missed") >= 3 and "Its size." in text
    assert f"written by `python -m vljepa_edge.bench.card {released}" in text
    # Beside full precision, whose R@1 lies two points higher and whose other shares are the same.
    full = json.loads(path.read_text())
    for row in full["scores"]:
        if row["name"].startswith("R@1 of"):
            row["value"] = 0.72
    (tmp_path / "full.json").write_text(json.dumps(full))
    assert main([*arguments, "--reference", str(tmp_path / "full.json")]) == 0
    text = (tmp_path / "card.md").read_text()
    assert "| R@1 of 2 | 70.0% | 72.0% | 60.0% to 80.0% |" in text
    assert "the furthest (retrieval, R@1 of 2) is 2.0 points away" in text
    path.write_text("[]")
    with pytest.raises(ValueError, match="not what `vljepa eval MODEL --suite all --json`"):
        card(released, path, log)


def test_batches_are_the_recipes() -> None:
    sizes = batch_sizes(dataclasses.asdict(tiny_training.tiny_recipe()))
    assert sizes == {"text": 8, "encoder-image": 6, "image": 6, "query": 5, "decoder": 4 + 2 * 3}
