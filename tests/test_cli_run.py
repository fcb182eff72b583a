"""The main job through the real command line: a video goes in, events come out."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import pytest
from conftest import Cli

STRIDE, FRAMES, SAMPLE_NS = 2, 4, 125_000_000  # of the tiny bundle


def events(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def check_order(found: list[dict[str, Any]]) -> None:
    """Sequences count up, windows never go back, a text follows its shift, the end is last."""
    told = [event for event in found if event["type"] != "notice"]
    assert [event["sequence"] for event in told] == list(range(len(told)))
    assert told[-1]["type"] == "end"
    windows = [event["window"] for event in told[:-1]]
    assert windows == sorted(windows)
    shifted: set[tuple[int, int]] = set()
    for event in told:
        if event["type"] == "shift":
            shifted.add((event["query_index"], event["window"]))
        if event["type"] == "text" and event["reason"] == "onset":
            assert (event["query_index"], event["window"]) in shifted
        assert event["start_ns"] <= event["end_ns"]


def test_json_events(cli: Cli, tiny_bundle: Path, clip: Path) -> None:
    result = cli("run", clip, "-b", tiny_bundle, "--json", "--embeddings")
    assert result.returncode == 0, result.stderr
    found = events(result.stdout)
    check_order(found)
    embeddings = [event for event in found if event["type"] == "embedding"]
    # 10 s at 16 frames a second, sampled at 8: 80 samples, windows of 4, one every 2.
    assert len(embeddings) == (80 - FRAMES) // STRIDE + 1
    for i, event in enumerate(embeddings):
        assert event["window"] == i
        assert event["start_ns"] == i * STRIDE * SAMPLE_NS
        assert event["end_ns"] == event["start_ns"] + (FRAMES - 1) * SAMPLE_NS
        assert len(event["embedding"]) == 32
        assert sum(x * x for x in event["embedding"]) == pytest.approx(1, abs=1e-4)
    first = found[1]
    assert (first["type"], first["reason"], first["window"]) == ("shift", "first", 0)
    assert any(event["type"] == "text" for event in found)
    assert "windows" in result.stderr and "p99" in result.stderr  # the summary is not on stdout


def test_replays_are_byte_identical(cli: Cli, tiny_bundle: Path, clip: Path) -> None:
    runs = [
        cli("run", clip, "-b", tiny_bundle, "--json", "--embeddings", "--decode-when", "both")
        for _ in range(2)
    ]
    assert runs[0].stdout == runs[1].stdout
    assert len(runs[0].stdout) > 10_000


def test_captions_beside_the_truth(cli: Cli, tiny_bundle: Path, clip: Path, tmp_path: Path) -> None:
    timeline = clip.with_suffix(".timeline.json")
    truth = {a["caption"] for a in json.loads(timeline.read_text())["annotations"]}
    outputs = {name: tmp_path / name for name in ("plot.png", "trace.json", "stats.json")}
    result = cli(
        *("run", clip, "-b", tiny_bundle, "--timeline", timeline, "--text", "phrases"),
        *("--plot", outputs["plot.png"], "--trace", outputs["trace.json"]),
        *("--stats", outputs["stats.json"]),
    )
    assert result.returncode == 0, result.stderr
    stats = json.loads(outputs["stats.json"].read_text())
    captions = [line for line in result.stdout.splitlines() if line.endswith(tuple(truth))]
    assert len(captions) == stats["decodes"] > 0
    assert f"{stats['windows']} windows" in result.stdout
    assert "decodes saved: " in result.stdout
    for stage in ("frame", "encode", "predict", "gate", "window", "overhead"):
        assert stats["stages"][stage]["count"] > 0
        assert f"\n{stage} " in result.stdout
    picture = cv2.imread(str(outputs["plot.png"]))
    assert picture is not None and picture.shape[1] == 1800 and len(set(picture[200, :, 0])) > 2
    names = {
        event["name"] for event in json.loads(outputs["trace.json"].read_text())["traceEvents"]
    }
    assert {"encode", "predict"} <= names


def test_several_queries(cli: Cli, tiny_bundle: Path, clip: Path) -> None:
    queries = ["What is happening?", "a query that is not in the bundle"]
    arguments = [part for query in queries for part in ("-q", query)]
    result = cli("run", clip, "-b", tiny_bundle, "--json", "--embeddings", *arguments)
    assert result.returncode == 0, result.stderr
    found = events(result.stdout)
    check_order(found)
    by_query: dict[str, list[Any]] = {query: [] for query in queries}
    for event in found:
        if event["type"] == "embedding":
            by_query[event["query"]].append(event["embedding"])
    alone = cli("run", clip, "-b", tiny_bundle, "--json", "--embeddings")
    single = [e["embedding"] for e in events(alone.stdout) if e["type"] == "embedding"]
    # A query's embeddings do not depend on the queries beside it.
    assert len(single) == len(by_query[queries[0]]) == len(by_query[queries[1]])
    for ours, theirs in zip(by_query[queries[0]], single, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert by_query[queries[1]] != by_query[queries[0]]


def test_folder_gives_the_same_as_its_video(
    cli: Cli, tiny_bundle: Path, clip: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    capture = cv2.VideoCapture(str(clip))
    lines = []
    while True:
        taken, pixels = capture.read()
        if not taken:
            break
        name = f"picture{len(lines)}.png"  # 2 before 10: no zeros in front
        cv2.imwrite(str(folder / name), pixels)
        lines.append(f"{round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)} {name}")
    (folder / "timestamps.txt").write_text("# nanoseconds, file\n" + "\n".join(lines) + "\n")
    options = ("-b", tiny_bundle, "--json", "--embeddings")
    video, pictures = cli("run", clip, *options), cli("run", folder, *options)
    assert pictures.returncode == 0, pictures.stderr
    assert pictures.stdout == video.stdout


def test_options_change_the_stream(cli: Cli, tiny_bundle: Path, clip: Path) -> None:
    base = ("run", clip, "-b", tiny_bundle, "--json")
    wide = events(cli(*base, "--embeddings", "--stride", "4", "--fps", "4").stdout)
    starts = [event["start_ns"] for event in wide if event["type"] == "embedding"]
    assert starts[1] - starts[0] == 1_000_000_000
    short = events(cli(*base, "--max-frames", "40").stdout)
    assert short[-1]["end_ns"] < 40 / 16 * 1e9
    silent = events(cli(*base, "--text", "none").stdout)
    assert not any(event["type"] == "text" for event in silent)
    closed = events(cli(*base, "--decode-when", "close").stdout)
    assert {e["reason"] for e in closed if e["type"] == "text"} == {"close", "end"}


def test_realtime_is_paced(cli: Cli, tiny_bundle: Path, clip: Path) -> None:
    started = time.monotonic()
    result = cli("run", clip, "-b", tiny_bundle, "--json", "--realtime", "--max-frames", "48")
    assert result.returncode == 0, result.stderr
    assert time.monotonic() - started > 47 / 16
    found = events(result.stdout)
    check_order(found)
    assert all(event["latency_ns"] >= 0 for event in found if event["type"] in ("shift", "text"))
    assert "dropped: " in result.stderr


def test_ctrl_c_ends_politely(tiny_bundle: Path, clip: Path) -> None:
    program = Path(sys.executable).parent / "vljepa"
    process = subprocess.Popen(
        [program, "run", clip, "-b", tiny_bundle, "--json", "--realtime"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline()  # the stream runs
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=30)
    found = events(first + rest)
    assert found[-1]["type"] == "end" and found[-1]["end_ns"] < 9e9
    assert "windows" in errors and "Traceback" not in errors


def test_real_camera_clip(cli: Cli, tiny_bundle: Path, camera_clip: Path) -> None:
    """Windows, timestamps and order on a real camera's clip; nothing is claimed of captions."""
    result = cli("run", camera_clip, "-b", tiny_bundle, "--json", "--embeddings")
    assert result.returncode == 0, result.stderr
    found = events(result.stdout)
    check_order(found)
    capture = cv2.VideoCapture(str(camera_clip))
    times = []
    while capture.grab():
        times.append(round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6))
    embeddings = [event for event in found if event["type"] == "embedding"]
    samples = sorted({at for e in embeddings for at in (e["start_ns"], e["end_ns"])})
    assert set(samples) <= set(times)  # windows lie on real frames
    duration_s = times[-1] / 1e9
    assert len(embeddings) == pytest.approx((duration_s * 8 - FRAMES) / STRIDE + 1, abs=1.5)
    starts = [event["start_ns"] for event in embeddings]
    assert all(0 < later - earlier < 400_000_000 for earlier, later in pairwise(starts))


def test_nano_knows_its_objects(cli: Cli, nano_bundle: Path) -> None:
    """The packaged bundle on clips that training never saw, through the core: far above chance."""
    result = cli("eval", nano_bundle, "--clips", "120", "--seed", "9", "--json")
    assert result.returncode == 0, result.stderr
    (quality,) = json.loads(result.stdout)
    # docs/nano-card.md tells what 400 clips gave; 120 clips scatter by 4 points.
    assert quality["caption_of_100"] > 0.73
    assert quality["object_top1"] > 0.55
    assert quality["motion_top1"] > 0.85
    assert quality["decoded_object_and_motion"] > 0.45
