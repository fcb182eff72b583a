"""Full precision, plain exports and other projects in turns with a bundle."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Cli
from vljepa_edge.bench.peers import measure
from vljepa_edge.bench.report import rows
from vljepa_edge.bench.results import Results, Run
from vljepa_edge.runtime.model import load


def test_peers_compute_the_same_as_the_bundle(
    tiny_bundle: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_COMPILE_DISABLE", "1")  # no compiler in this test
    runs, missing, finished = measure.measure_peers(
        load(tiny_bundle, threads=1), tiny_checkpoint, bundle=str(tiny_bundle),
        name="the bundle", threads=1, rounds=3,
    )  # fmt: skip
    assert finished
    by_name = {run.subject: run for run in runs}
    assert next(iter(by_name)) == "PyTorch FP32 eager" and list(by_name)[-1] == "the bundle"
    assert {"plain export, ONNX Runtime FP32", "torch.compile FP32"} <= by_name.keys()
    told = by_name.keys() | {note.partition(":")[0] for note in missing}
    assert any(name.startswith("saccadic") for name in told)
    for name, run in by_name.items():
        for kept, values in run.samples.items():  # three turns
            assert len(values) == (3 if kept.startswith("first_") else 3 * (measure.IN_A_ROW - 1))
        assert len(run.warmup["encode_ms"]) == measure.WARMUP_ROUNDS
        if "streaming" in name:
            assert "cosine" not in run.counters
            continue
        cosine = run.counters["cosine"]
        assert cosine is not None and cosine > (0.99 if "BF16" in name else 0.9999), name
        if run.headline == "encode_ms":
            continue
        for whole, *parts in zip(
            run.samples["window_ms"],
            run.samples["encode_ms"],
            run.samples["predict_ms"],
            strict=True,
        ):
            assert whole == pytest.approx(sum(parts), abs=0.01)
    table = rows.peer_rows(Results("", [], {}, runs=runs))
    assert table[0][5] == "1.00× as fast" and len(table) == len(runs)


def test_an_encoder_alone_is_held_against_the_first_ones_encoder() -> None:
    first = Run("peers", "a", {}, "window_ms", {"encode_ms": [4.0], "window_ms": [10.0]})
    alone = Run("peers", "b", {}, "encode_ms", {"encode_ms": [2.0]}, counters={"cosine": 1.0})
    row = rows.peer_rows(Results("", [], {}, runs=[first, alone]))[1]
    assert row[2:7] == ["2.00", "–", "–", "2.00× as fast (encoder)", "1.00000 (tokens)"]
    larger = Run("peers", "a", {}, "window_ms", {"encode_ms": [40.0], "window_ms": [100.0]})
    its_peer = Run("peers", "c", {}, "window_ms", {"encode_ms": [10.0], "window_ms": [20.0]})
    table = rows.peer_rows(Results("", [], {}, runs=[first, alone, larger, its_peer]))
    assert [row[5].split("×")[0] for row in table] == ["1.00", "2.00", "1.00", "5.00"]


def test_another_checkpoint_is_refused(
    cli: Cli, tiny_bundle: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    from vljepa_edge.model import checkpoint

    opened = checkpoint.load(tiny_checkpoint)
    opened.model.logit_scale.data += 1
    checkpoint.save(tmp_path / "other", opened.model, opened.tokenizer, {})
    refused = cli("bench", tiny_bundle, "--peers", tmp_path / "other")
    assert refused.returncode == 2 and "made of another checkpoint" in refused.stderr
    absent = cli("bench", tiny_bundle, "--peers", tmp_path / "none")
    assert absent.returncode == 2 and "none" in absent.stderr
    unnamed = cli("bench", tiny_bundle, "--peers", "random")
    assert unnamed.returncode == 2 and "bundles of a preset" in unnamed.stderr


ANSWERING = """
import json, sys
long = len(sys.argv) > 2
print(json.dumps({"subjects": [{"name": "x", "predicts": True}], "missing": [], "cpu_s": 0}))
sys.stdout.flush()
for number, line in enumerate(sys.stdin):
    if number == int(sys.argv[1]): sys.exit("out of luck")
    windows = [{"encode_ms": 1.0, "predict_ms": 2.0}] * json.loads(line)["windows"]
    if long: windows = [{"encode_ms": 1000.0, "predict_ms": 2.0} for _ in windows]
    print(json.dumps({"windows": windows, "cpu_s": 0}), flush=True)
"""


@pytest.fixture
def turning() -> Iterator[list[measure.Row]]:
    """Two processes that answer like peers; the first dies after its fourth turn."""
    table = []
    for turns in ("4", "1000"):
        group = measure.Group.__new__(measure.Group)
        group.start([sys.executable, "-c", ANSWERING, turns], turns)
        group.opened()
        table.append(measure.Row(group, 0, True, Run("peers", turns, {}, "window_ms")))
    yield table
    for row in table:
        row.group.close()


def test_a_peer_that_dies_is_told_and_the_others_go_on(turning: list[measure.Row]) -> None:
    missing: list[str] = []
    assert measure.alternate(turning, 6, missing)
    assert missing == ["4: its process ended with 1: out of luck"]
    # Of four turns two were warm-up, and of each other's six windows the first is kept apart.
    assert turning[0].run.samples["window_ms"] == [3.0] * 2 * 5
    assert turning[0].run.samples["first_window_ms"] == [3.0] * 2
    assert "interrupted" in str(turning[0].run.validity)
    assert turning[1].run.samples["window_ms"] == [3.0] * 6 * 5
    assert turning[1].run.warmup["encode_ms"] == [1.0] * 2


def test_interrupted_turns_are_kept(turning: list[measure.Row]) -> None:
    def progress(done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    assert not measure.alternate(turning, 6, [], progress)
    for row in turning:
        assert row.run.samples["window_ms"] == [3.0] * 5
        assert "interrupted" in str(row.run.validity)


def test_a_turn_of_long_windows_is_one() -> None:
    group = measure.Group.__new__(measure.Group)
    group.start([sys.executable, "-c", ANSWERING, "1000", "long"], "long")
    group.opened()
    row = measure.Row(group, 0, True, Run("peers", "long", {}, "window_ms"))
    assert measure.alternate([row], 4, [])
    group.close()
    assert row.run.samples["window_ms"] == [1002.0] * 4
    assert row.run.settings["windows_in_a_row"] == 1 and "first_window_ms" not in row.run.samples
