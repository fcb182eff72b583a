"""The whole report of a machine: `python -m vljepa_edge.bench.everything [BUNDLE ...] -o FOLDER`.

All scenarios of every bundle, twice; the peers, the host model and the decode curve of the first
bundle; `single` and the peers of a large one. Each is a `vljepa bench` command of its own, whose
results stay in the folder, so that the same command goes on where it was interrupted. At the end
FOLDER has report.json (first runs and all else), report.md and report.html; report.md also tells
the commands and how far the two runs of each scenario differ.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .compare import compare
from .report import html, markdown
from .report.rows import number
from .results import Results, ResultsError, read_results

# Windows of the large bundle; those with a text count apart, and 20 without are wanted.
LARGE_SAMPLES = "30"
SHORT = ("single", "paced", "multi", "burst", "cold")


@dataclass(frozen=True)
class Step:
    """One `vljepa bench` command and the file of its results."""

    name: str
    arguments: tuple[str, ...]

    def path(self, folder: Path) -> Path:
        """Where its results go."""
        return folder / f"{self.name}.json"

    @property
    def command(self) -> str:
        """For people."""
        return shlex.join(["vljepa", "bench", *self.arguments])

    def done(self, folder: Path) -> bool:
        """Whether its results are there, whole, and of the same command."""
        try:
            found = read_results(self.path(folder))
        except (OSError, ResultsError):
            return False
        return not found.interrupted and tuple(found.command[1:-2]) == self.arguments


def plan(given: argparse.Namespace) -> list[Step]:
    """What is measured, in order; what people wait for most comes first."""
    bundles: list[str] = given.bundles
    # Without a bundle the command names none, and the packaged one is measured.
    first, common = tuple(bundles[:1]), ("--threads", given.threads)
    lengths = () if given.seconds is None else ("--seconds", f"{given.seconds:g}")
    warmup = () if given.warmup is None else ("--warmup", f"{given.warmup:g}")
    backends = ("--backend", given.backend)
    fastest = ("--backend", given.backend.split(",")[0])  # peers take turns with one
    steps = []
    for repeat in ("1", "2"):
        scenarios = ("--scenario", ",".join(SHORT))
        steps.append(
            Step(
                f"scenarios-{repeat}", (*bundles, *scenarios, *backends, *common, *lengths, *warmup)
            )
        )
        if given.soak:
            soak = ("--scenario", "soak", "--seconds", f"{given.soak:g}")
            steps.append(Step(f"soak-{repeat}", (*first, *soak, *fastest, *common, *warmup)))
    rounds = ("--rounds", str(given.rounds))
    if given.peers:
        steps.append(Step("peers", (*first, "--peers", given.peers, *rounds, *fastest, *common)))
    if not given.without_host_model:
        steps.append(Step("host", (*first, "--host-model", *common)))
    if not given.without_curve:
        curve = ("--curve-streams", str(given.curve_streams))
        steps.append(Step("curve", (*first, "--decode-curve", *curve, *fastest, *common)))
    if given.large:
        for repeat in ("1", "2"):
            single = ("--scenario", "single", "--samples", LARGE_SAMPLES, "--seconds", "3600")
            steps.append(
                Step(f"large-{repeat}", (given.large, *single, *backends, *common, *warmup))
            )
        if given.large_peers:
            turns = str(given.large_rounds or given.rounds)
            peers = ("--peers", given.large_peers, "--rounds", turns, *fastest)
            steps.append(Step("large-peers", (given.large, *peers, *common)))
    return steps


def run_step(step: Step, folder: Path) -> str:
    """Measures; the reason where nothing came of it, "" otherwise."""
    path = step.path(folder)
    command = [
        sys.executable, "-m", "vljepa_edge.cli", "bench", *step.arguments, "-o", str(path),
    ]  # fmt: skip
    told = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if told.returncode == 0:
        return ""
    lines = told.stderr.strip().splitlines()
    return lines[-1].removeprefix("vljepa: ") if lines else f"exit code {told.returncode}"


def merged(steps: Sequence[Step], folder: Path, failed: Sequence[str]) -> tuple[Results, Results]:
    """Everything in one, and the repeats in another."""
    everything: Results | None = None
    repeats: Results | None = None
    for step in steps:
        try:
            found = read_results(step.path(folder))
        except (OSError, ResultsError):
            continue
        if step.name.endswith("-2"):
            repeats = _added(repeats, found)
        else:
            everything = _added(everything, found)
    if everything is None:
        raise SystemExit(
            f"{folder}: nothing was measured: {'; '.join(failed) or 'no step is done'}"
        )
    everything.notes += failed
    everything.command = ["bench.everything"]
    empty = Results(everything.created_utc, [], everything.machine)
    return everything, repeats or empty


def _added(whole: Results | None, part: Results) -> Results:
    if whole is None:
        return part
    whole.runs += part.runs
    whole.bundles += [one for one in part.bundles if one not in whole.bundles]
    whole.notes += part.notes
    whole.host_model = whole.host_model or part.host_model
    whole.decode_curve = whole.decode_curve or part.decode_curve
    whole.interrupted |= part.interrupted
    return whole


def repeat_table(first: Results, second: Results) -> str:
    """How far each scenario's median moved from the first run to the second."""
    body = [
        [c.subject, c.scenario, c.statistic, number(c.a_ms), number(c.b_ms), f"{c.relative:+.1%}"]
        for c in compare(first, second).changes
    ]
    header = ["what", "scenario", "statistic", "first ms", "second ms", "difference"]
    return markdown.table(header, body)


def report(steps: Sequence[Step], folder: Path, failed: Sequence[str]) -> None:
    """report.json, report.md and report.html."""
    everything, repeats = merged(steps, folder, failed)
    everything.write(folder / "report.json")
    (folder / "report.html").write_text(html.render(everything), encoding="utf-8")
    parts = [
        "# Benchmark of one machine",
        f"Measured {everything.created_utc}. Commands:",
        "\n".join(["```sh", *(step.command for step in steps), "```"]),
        markdown.render(everything).strip(),
    ]
    if repeats.runs:
        parts += ["## Two runs of the same", repeat_table(everything, repeats)]
    (folder / "report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m vljepa_edge.bench.everything", description=__doc__
    )
    parser.add_argument("bundles", nargs="*", metavar="BUNDLE", help="default: the packaged one")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--threads", default="0", help="as of vljepa bench; 0: all")
    parser.add_argument("--backend", default="ort", help="as of vljepa bench: ort,openvino")
    parser.add_argument("--seconds", type=float, help="of each scenario; default: its own")
    parser.add_argument("--warmup", type=float, help="seconds set apart; default: 1")
    parser.add_argument("--soak", type=float, default=300.0, help="seconds; 0: none")
    parser.add_argument("--rounds", type=int, default=30, help="turns of each peer")
    parser.add_argument("--peers", metavar="CHECKPOINT", help="what the first bundle was made of")
    parser.add_argument("--without-host-model", action="store_true")
    parser.add_argument("--without-curve", action="store_true")
    parser.add_argument("--curve-streams", type=int, default=3, help="of a minute")
    parser.add_argument("--large", metavar="BUNDLE", help="single alone, for paper scale")
    parser.add_argument("--large-rounds", type=int, help="turns of its peers; default: --rounds")
    parser.add_argument("--large-peers", metavar="CHECKPOINT|random", help="of the large one")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """1 where a step failed or was interrupted; the report has all that was measured."""
    given = parse(arguments)
    folder: Path = given.output
    folder.mkdir(parents=True, exist_ok=True)
    steps = plan(given)
    failed: list[str] = []
    interrupted = False
    try:
        for place, step in enumerate(steps, 1):
            say = f"[{place}/{len(steps)}] {step.command}"
            if step.done(folder):
                print(f"{say}: done before", file=sys.stderr)
                continue
            print(say, file=sys.stderr, flush=True)
            began = time.monotonic()
            reason = run_step(step, folder)
            if reason:
                failed.append(f"{step.name}: {reason}")
            told = f" ({reason})" if reason else ""
            print(f"    {time.monotonic() - began:.0f} s{told}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        interrupted = True
        failed.append("interrupted: the same command goes on from there")
    report(steps, folder, failed)
    print(folder / "report.md")
    return 1 if failed or interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
