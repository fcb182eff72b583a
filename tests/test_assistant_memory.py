"""The memory: searches, forgets by its rule, survives kills and full disks, exports, erases."""

from __future__ import annotations

import json
import random
import re
import sqlite3
import stat
import subprocess
import sys
import time
from datetime import date, timezone
from pathlib import Path

import numpy as np
import pytest
from assistant_page import DEMO
from conftest import Cli
from hypothesis import given, settings
from hypothesis import strategies as st
from vljepa_edge.assistant import Assistant, Memory, MemoryFileError, erase
from vljepa_edge.assistant.diary import day_span, write_diary
from vljepa_edge.assistant.memory import BundleId, SegmentRow
from vljepa_edge.assistant.recorder import Recorder
from vljepa_edge.assistant.vectors import VectorTable, dequantise, quantise
from vljepa_edge.runtime.events import EmbeddingEvent, ShiftEvent, TextEvent
from vljepa_edge.runtime.options import GateOptions, StreamOptions

WIDTH = 64
BUNDLE = BundleId("ab" * 32, "test", WIDTH)
SECOND = 10**9


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    rows = rng.standard_normal((*shape, WIDTH)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def row(at_s: float, mean: np.ndarray, text: str = "a thing", **more: object) -> SegmentRow:
    begin = int(at_s * SECOND)
    return SegmentRow("cam", "What?", begin, begin + 2 * SECOND, text, 4, mean, **more)


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_int8_keeps_direction(seed: int, length: float) -> None:
    vector = unit(np.random.default_rng(seed), 1)[0]
    stored, scale = quantise(vector * np.float32(length))
    back = dequantise(stored, scale)
    assert np.abs(back - vector).max() <= scale
    assert float(back @ vector) / np.linalg.norm(back) > 0.999


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 9000),
    k=st.integers(1, 20),
    forgotten=st.floats(0, 1),
)
def test_search_is_exact(seed: int, count: int, k: int, forgotten: float) -> None:
    """Against a plain sort over all rows, with rows forgotten, overwritten and out of the span."""
    rng = np.random.default_rng(seed)
    rows = unit(rng, count)
    table = VectorTable(WIDTH, capacity=4)
    by_one = int(rng.integers(count + 1))  # the rest at once
    for i, vector in enumerate(rows[:by_one]):
        table.put(i + 1, *quantise(vector), i * 10, i * 10 + 5)
    vectors, scales = zip(*map(quantise, rows), strict=True)
    rest = range(by_one, count)
    table.extend(
        [i + 1 for i in rest], vectors[by_one:], scales[by_one:],
        [i * 10 for i in rest], [i * 10 + 5 for i in rest],
    )  # fmt: skip
    assert len(table) == table.last_id == count
    changed = int(rng.integers(count))
    rows[changed] = unit(rng, 1)[0]
    table.put(changed + 1, *quantise(rows[changed]), changed * 10, changed * 10 + 5)
    first = int(forgotten * count)
    table.forget_before(first + 1)
    query = unit(rng, 1)[0]
    since = int(rng.integers(10 * count))
    cosines = np.array([dequantise(*quantise(vector)) @ query for vector in rows])
    kept = [i for i in range(first, count) if i * 10 + 5 >= since]
    wanted = sorted(kept, key=lambda i: (-cosines[i], i))[:k]
    found = table.nearest(query, k, since_ns=since)
    assert np.allclose([score for _, score in found], cosines[wanted], atol=1e-4)
    close = np.diff(cosines[wanted]) if len(wanted) > 1 else np.array([-1.0])
    if len(close) and np.abs(close).min() > 2e-4:
        assert [row_id - 1 for row_id, _ in found[:-1]] == wanted[:-1]


def test_rows_are_found_across_processes_and_bundles(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    means = unit(rng, 40)
    other = BundleId("cd" * 32, "other", WIDTH)
    with Memory(tmp_path / "m") as memory:
        memory.write([row(i, means[i], f"thing {i}") for i in range(20)], BUNDLE)
        assert memory.search(means[7], BUNDLE, k=1)[0].text == "thing 7"
        memory.write([row(i, means[i], f"thing {i}") for i in range(20, 39)], BUNDLE)
        memory.write([row(99, means[39], "of another space")], other)
        assert memory.search(means[30], BUNDLE, k=1)[0].text == "thing 30"
        with Memory(tmp_path / "m", read_only=True) as reader:  # while it is being written
            found = reader.search(means[3], BUNDLE, k=50)
            assert found[0].text == "thing 3" and len(found) == 39
        found = memory.search(means[5], BUNDLE, 50, since_ns=10 * SECOND, until_ns=12 * SECOND)
        # Segments last two seconds, and touching the stretch is enough.
        assert {one.text for one in found} == {f"thing {i}" for i in range(8, 13)}
    with Memory(tmp_path / "m", read_only=True) as memory:
        assert memory.search(means[39], other, k=1)[0].text == "of another space"
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o600


def test_a_segment_may_grow(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    first, second = unit(rng, 2)
    with Memory(tmp_path / "m") as memory:
        growing = row(0, first, "")
        memory.write([growing], BUNDLE)
        assert memory.search(first, BUNDLE, 1)[0].score > 0.99
        growing.mean, growing.text, growing.end_ns = second, "named later", 9 * SECOND
        memory.write([growing], BUNDLE)
        (found,) = memory.search(second, BUNDLE, 5)
        assert found.score > 0.99 and found.text == "named later" and found.end_ns == 9 * SECOND


def test_forgetting_keeps_to_the_budget_and_to_its_rule(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    budget = 1 << 20
    with Memory(tmp_path / "m", budget_bytes=budget) as memory:
        picture = bytes(4000)
        total = 12000
        for begin in range(0, total, 100):
            batch = [
                row(i, unit(rng, 1)[0], f"thing {i}", thumbnail=picture)
                for i in range(begin, begin + 100)
            ]
            memory.write(batch, BUNDLE)
            size = sum(f.stat().st_size for f in tmp_path.iterdir())
            assert size < 1.25 * budget + (4 << 20)  # and SQLite's log
        summary = memory.summary()
        assert summary.used_bytes <= budget
        kept = [int(one.text.split()[1]) for one in memory.segments()]
        # What is left is the newest, without gaps; pictures went first.
        assert kept == list(range(kept[0], total)) and 2000 < len(kept) < total
        assert summary.thumbnails < len(kept)
        found = memory.search(unit(rng, 1)[0], BUNDLE, 1000)
        assert len(found) == 1000 and min(one.row_id for one in found) > kept[0]


KILLED = """
import sys, time
import numpy as np
from vljepa_edge.assistant.memory import BundleId, Memory
from vljepa_edge.assistant.recorder import Recorder
from vljepa_edge.runtime.events import EmbeddingEvent, ShiftEvent
bundle = BundleId("ab" * 32, "test", 64)
recorder = Recorder(Memory(sys.argv[1]), bundle, "cam")
rng = np.random.default_rng()
window = 0
while True:
    if window % 7 == 0:
        recorder.take(ShiftEvent(0, window, 0, 0, 0, "What?", "ward", 1.0, 1.0), 0)
    vector = rng.standard_normal(64).astype(np.float32)
    vector /= np.linalg.norm(vector)
    now = time.time_ns()
    recorder.take(EmbeddingEvent(0, window, now, now, 0, "What?", 0.0, 1.0, vector), 0)
    print(now, flush=True)
    window += 1
    time.sleep(0.02)
"""


def test_killed_while_writing(tmp_path: Path) -> None:
    """Twenty times: the memory opens, searches, and misses at most the last second."""
    path = tmp_path / "m"
    rng = np.random.default_rng(4)
    before = 0
    for round_number in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()  # it runs
        time.sleep(1.1 + random.random() * 0.5)
        process.kill()
        last = int((process.stdout.read().splitlines() or ["0"])[-1])
        process.wait()
        with Memory(path) as memory:
            count = memory.summary().segments
            newest = max(one.end_ns for one in memory.segments())
            assert memory.search(unit(rng, 1)[0], BUNDLE, 3)
        assert count > before, round_number
        # Written every half second, and what is written then has been there for a window.
        assert (last - newest) / SECOND < 1.0, round_number
        check = sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone()
        assert check == ("ok",)
        before = count


FULL = """
import resource, sys, time
import numpy as np
from vljepa_edge.assistant.memory import BundleId, Memory
from vljepa_edge.assistant.recorder import Recorder
from vljepa_edge.runtime.events import EmbeddingEvent, ShiftEvent
memory = Memory(sys.argv[1])
told = []
recorder = Recorder(memory, BundleId("ab" * 32, "test", 64), "cam", on_change=told.append)
vector = np.ones(64, np.float32) / 8

def see(first, last):
    for window in range(first, last):
        recorder.take(ShiftEvent(0, window, 0, 0, 0, "What?", "ward", 1.0, 1.0), 0)
        event = EmbeddingEvent(0, window, window, window, 0, "What?", 0.0, 1.0, vector)
        recorder.take(event, 0)

see(0, 100)
assert recorder.flush() and not recorder.problem
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
# No file may grow any more: what a full disk does to the log that SQLite writes first.
resource.setrlimit(resource.RLIMIT_FSIZE, (40000, hard))
began = time.monotonic()
for part in range(20):
    see(100 + 200 * part, 300 + 200 * part)
    recorder.flush()
assert time.monotonic() - began < 20
assert "nothing is being remembered" in recorder.problem, told
assert recorder.lost > 0
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
assert recorder.flush() and recorder.problem == "" and told[-1] == ""
recorder.close()
print(memory.summary().segments)
memory.close()
"""


def test_full_disk_is_told_and_got_over(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "m")], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    with Memory(tmp_path / "m", read_only=True) as memory:
        newest = max(one.end_ns for one in memory.segments())
    assert int(result.stdout) > 1000 and newest == 4098  # one window waits


def test_recorder_cuts_segments_where_the_gate_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    means = unit(rng, 3)
    epoch = 1_000 * SECOND
    with Memory(tmp_path / "m") as memory:
        recorder = Recorder(memory, BUNDLE, "cam", flush_s=0.05)
        for window in range(30):
            at = window * SECOND // 4
            span = (window, window, at, at + SECOND)
            recorder.take(EmbeddingEvent(*span, 0, "What?", 0.0, 1.0, means[window // 10]), epoch)
            if window % 10 == 0:  # the core tells a window's prediction first
                recorder.take(ShiftEvent(*span, 0, "What?", "ward", 1.0, 1.0), epoch)
                told = TextEvent(*span, 0, "What?", "onset", f"from {window}", 0.5, 1.0, 1.0)
                recorder.take(told, epoch)
        recorder.close()
        rows = list(memory.segments())
        # The last prediction waits for the event that places it.
        assert [one.windows for one in rows] == [10, 10, 9]
        assert [one.start_ns - epoch for one in rows] == [0, 10 * SECOND // 4, 20 * SECOND // 4]
        assert [one.text for one in rows] == ["from 0", "from 10", "from 20"]
        for i, mean in enumerate(means):
            best = memory.search(mean, BUNDLE, 1)[0]
            assert best.row_id == rows[i].row_id and best.score > 0.999


def test_diaries(tmp_path: Path) -> None:
    begin, end = day_span(date(2026, 11, 22), timezone.utc)
    rng = np.random.default_rng(6)
    with Memory(tmp_path / "m") as memory:
        texts = ["a red apple falls", "", "a *bold* <b>car</b> | [x](y)", "the next\n day"]
        for text, at_s in zip(texts, (60.5, 70, 3661.5, 86400), strict=True):
            memory.write([row(begin / SECOND + at_s, unit(rng, 1)[0], text)], BUNDLE)
        rows = list(memory.segments(begin, end))
    assert [one.text for one in rows] == texts[:3]
    srt = write_diary(rows, "srt", timezone.utc)
    assert srt.startswith("1\n00:01:00,500 --> 00:01:02,500\na red apple falls\n\n2\n01:01:01,500")
    told = json.loads(write_diary(rows, "json", timezone.utc))["segments"]
    assert told[0]["start"] == "2026-11-22T00:01:00.500000+00:00" and len(told) == 3
    markdown = write_diary(rows, "md", timezone.utc)
    assert markdown.startswith(
        "# 2026-11-22\n\n## 00:00\n\n- 00:01:00–00:01:02 a red apple falls\n"
    )
    assert "<b>" not in re.sub(r"\\.", "", markdown) and "## 01:00" in markdown


def test_one_writer_and_only_our_files(tmp_path: Path) -> None:
    with Memory(tmp_path / "m"), pytest.raises(MemoryFileError, match="another assistant"):
        Memory(tmp_path / "m")
    sqlite3.connect(tmp_path / "other").execute("CREATE TABLE t (x)").connection.close()
    (tmp_path / "text").write_text("no database\n" * 100)
    for name in ("other", "text"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(MemoryFileError, match=name):
            Memory(tmp_path / name)
        with pytest.raises(MemoryFileError, match=name):
            erase(tmp_path / name)
        assert (tmp_path / name).read_bytes() == before
    with pytest.raises(MemoryFileError, match="no folder"):
        Memory(tmp_path / "missing" / "m")


def test_memory_verbs(tmp_path: Path, cli: Cli) -> None:
    path = tmp_path / "m"
    now = time.time()
    with Memory(path) as memory:
        memory.write([row(now, unit(np.random.default_rng(7), 1)[0], "a red apple")], BUNDLE)
    shown = cli("memory", "show", path)
    assert shown.returncode == 0 and "1 segments, 0 pictures" in shown.stdout
    exported = cli("memory", "export", path, "--format", "srt")
    assert exported.returncode == 0 and "a red apple" in exported.stdout
    kept = cli("memory", "erase", path)  # nobody there to say yes
    assert kept.returncode == 1 and path.exists()
    erased = cli("memory", "erase", path, "--yes")
    assert erased.returncode == 0 and not list(tmp_path.iterdir())
    for verb in (["show"], ["search", "x"], ["export"], ["erase", "--yes"]):
        missing = cli("memory", verb[0], path, *verb[1:])
        assert missing.returncode == 2 and "no such memory" in missing.stderr, verb


def test_every_caption_is_remembered(nano_bundle: Path, tmp_path: Path) -> None:
    """Also where the gate cuts some windows before the shift at which it was sure."""
    options = StreamOptions(gate=GateOptions(smoothing=2, confirm=2))
    with Assistant(nano_bundle, DEMO, tmp_path / "m", options=options) as assistant:
        captions = [caption.text for caption in assistant.captions(final=True)]
    with Memory(tmp_path / "m", read_only=True) as memory:
        remembered = [one.text for one in memory.segments()]
    assert len(captions) > 8
    assert remembered == captions
