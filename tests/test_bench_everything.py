"""The whole report of a machine: its plan, going on where it stopped, and what it writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_bench_report import results_of
from vljepa_edge.bench import everything
from vljepa_edge.bench.everything import Step, main, merged, parse, plan, repeat_table, report
from vljepa_edge.bench.results import Results, Run, read_results


def test_the_plan_measures_everything_twice() -> None:
    given = parse(
        ["a", "b", "-o", "out", "--peers", "ck", "--large", "big", "--large-peers", "random"]
    )
    steps = {step.name: step for step in plan(given)}
    assert [name for name in steps if name.startswith("scenarios")] == [
        "scenarios-1",
        "scenarios-2",
    ]
    assert {"soak-1", "soak-2", "peers", "host", "curve", "large-1", "large-2"} <= steps.keys()
    assert "large-peers" in steps
    assert steps["scenarios-1"].arguments[:2] == ("a", "b")
    assert steps["scenarios-1"].arguments == steps["scenarios-2"].arguments
    assert steps["peers"].arguments[0] == "a" and "ck" in steps["peers"].arguments
    assert steps["large-1"].arguments[0] == "big"
    few = plan(parse(["-o", "out", "--soak", "0", "--without-curve", "--without-host-model"]))
    assert [step.name for step in few] == ["scenarios-1", "scenarios-2"]
    assert few[0].command.startswith("vljepa bench --scenario single,paced,multi,burst,cold")


def step_done(folder: Path, name: str, median_ms: float, *arguments: str) -> Step:
    step = Step(name, arguments)
    results = results_of(median_ms, seed=len(name))
    results.command = ["bench", *arguments, "-o", str(step.path(folder))]
    results.write(step.path(folder))
    return step


def test_a_step_is_done_once_its_own_results_are_whole(tmp_path: Path) -> None:
    step = step_done(tmp_path, "scenarios-1", 10.0, "a", "--threads", "2")
    assert step.done(tmp_path)
    assert not Step("scenarios-1", ("a", "--threads", "1")).done(tmp_path)
    assert not Step("scenarios-2", ("a", "--threads", "2")).done(tmp_path)
    results = read_results(step.path(tmp_path))
    results.interrupted = True
    results.write(step.path(tmp_path))
    assert not step.done(tmp_path)


def test_the_report_has_both_runs_and_what_is_missing(tmp_path: Path) -> None:
    steps = [
        step_done(tmp_path, "scenarios-1", 10.0, "a"),
        step_done(tmp_path, "scenarios-2", 10.5, "a"),
        Step("peers", ("a", "--peers", "none")),
    ]
    everything_, repeats = merged(steps, tmp_path, ["peers: no checkpoint"])
    assert len(everything_.runs) == len(repeats.runs) == 1
    row = repeat_table(everything_, repeats).splitlines()[-1]
    assert "+5." in row or "+4." in row
    report(steps, tmp_path, ["peers: no checkpoint"])
    text = (tmp_path / "report.md").read_text()
    for wanted in ("vljepa bench a\n", "## Two runs of the same", "Not measured: peers: no check"):
        assert wanted in text
    assert "Two runs" not in (tmp_path / "report.html").read_text()
    assert read_results(tmp_path / "report.json").notes == ["peers: no checkpoint"]


def test_nothing_measured_is_said(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="nothing was measured: peers: broken"):
        merged([Step("peers", ())], tmp_path, ["peers: broken"])


def test_a_machine_is_measured_and_not_again(
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [
        str(tiny_bundle), "-o", str(tmp_path / "report"), "--seconds", "1.2", "--warmup", "0.2",
        "--soak", "1.5", "--threads", "1", "--curve-streams", "1", "--without-curve",
        "--without-host-model",
    ]  # fmt: skip
    assert main(arguments) == 0
    found: Results = read_results(tmp_path / "report" / "report.json")
    assert {run.scenario for run in found.runs} == {
        "single", "paced", "multi", "burst", "cold", "soak"
    }  # fmt: skip
    assert all(isinstance(run, Run) and run.conditions for run in found.runs)

    def again(*_: object) -> str:
        raise AssertionError("measured again")

    monkeypatch.setattr(everything, "run_step", again)
    capsys.readouterr()
    assert main(arguments) == 0
    assert capsys.readouterr().err.count("done before") == 4
