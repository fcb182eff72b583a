"""Streams: contiguous timelines, frames that follow them, and video files that open again."""

import dataclasses
import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vljepa_edge.world import (
    WorldConfig,
    canonical_caption,
    frame_times,
    frames,
    is_held_out_pair,
    make_stream,
    render,
    sample_stream_clip,
    write_mp4,
)
from vljepa_edge.world.__main__ import main


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), duration=st.floats(2.0, 90.0))
def test_timeline_is_contiguous(seed: int, duration: float) -> None:
    stream = make_stream(seed, duration)
    timeline = stream.timeline()
    assert timeline[0]["t_start_s"] == 0 and timeline[-1]["t_end_s"] == duration
    for before, after in itertools.pairwise(timeline):
        assert before["t_end_s"] == after["t_start_s"]
    for segment, row in zip(stream.segments, timeline, strict=True):
        assert 1.99 <= segment.end_s - segment.start_s <= 5.01
        assert row["caption"] == canonical_caption(segment.scene)
        assert not is_held_out_pair(segment.scene.object, segment.scene.motion)
    assert make_stream(seed, duration) == stream


def test_changes_are_what_they_say() -> None:
    changes = set()
    for seed in range(20):
        segments = make_stream(seed, 60.0).segments
        for before, after in itertools.pairwise(segments):
            changes.add(after.change)
            kept, now = before.scene, after.scene
            same_object, same_motion = now.object == kept.object, now.motion == kept.motion
            if after.change == "motion":
                assert same_object and not same_motion and now.background == kept.background
                assert now.camera_s > kept.camera_s
            elif after.change == "object":
                assert same_motion and not same_object and now.centres == kept.centres
            else:
                assert now.background != kept.background
    assert changes == {"cut", "object", "motion"}


def test_frames_follow_the_timeline() -> None:
    stream = make_stream(4, 12.0, WorldConfig(size=64))
    shown = list(frames(stream))
    times = frame_times(stream)
    assert len(shown) == len(times) == 96
    for segment in stream.segments:
        inside = [i for i, t in enumerate(times) if segment.start_s <= t < segment.end_s]
        expected = render(segment.scene, times[inside] - segment.start_s, 64)
        assert all((shown[i] == expected[k]).all() for k, i in enumerate(inside))
    # At another rate and size the same scenes are shown.
    wide = list(frames(stream, fps=4, size=(48, 80)))
    assert len(wide) == 48 and wide[0].shape == (48, 80, 3)


def test_same_object_goes_on_from_where_it_was() -> None:
    """A motion change without a visible jump of background, brightness or, mostly, place."""
    jumps = []
    for seed in range(40):
        segments = make_stream(seed, 40.0, WorldConfig(p_noise=0)).segments
        for before, after in itertools.pairwise(segments):
            hidden = {"blink", "fade in", "fade out", "grow", "shrink", "flip", "pulse"}
            if after.change == "motion" and not {before.scene.motion, after.scene.motion} & hidden:
                last = render(before.scene, np.array([before.end_s - before.start_s]), 64)
                first = render(after.scene, np.zeros(1), 64)
                jumps.append(np.abs(last.astype(int) - first.astype(int)).mean())
    assert len(jumps) > 20
    assert np.median(jumps) < 6


def test_stream_clip_is_told_by_its_majority() -> None:
    """Some frames of each window belong to another scene, most to the told one."""
    quiet = WorldConfig(p_noise=0, p_gain=0, p_camera_shake=0)
    strangers = []
    for index in range(60):
        clip = sample_stream_clip(2, index, quiet)
        # A long still look at the told scene, at any time, gives its background.
        scene = dataclasses.replace(clip.scene, distractors=(), other=None)
        plain = render(dataclasses.replace(scene, centres=()), np.zeros(1), quiet.size)[0]
        differs = np.abs(clip.frames.astype(int) - plain).max(-1) > 24
        strangers.append(int((differs.mean((1, 2)) > 0.6).sum()))
    assert max(strangers) <= 3
    assert np.mean(np.array(strangers) > 0) > 0.3  # the rest keeps its background over the change


def test_mp4_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    assert main(["stream", "--seconds", "6", "--fps", "12", "--size", "96", "-o", str(path)]) == 0
    written = json.loads((tmp_path / "out.timeline.json").read_text())
    stream = make_stream(1, 6.0, WorldConfig(size=96))
    assert written["annotations"] == stream.timeline() and written["duration_s"] == 6

    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(12)
    decoded = []
    while True:
        ok, frame = capture.read()
        if not ok:
            break
        decoded.append(frame[:, :, ::-1])
    expected = list(frames(stream, fps=12))
    assert len(decoded) == len(expected) == 72
    errors = [np.abs(a.astype(int) - b).mean() for a, b in zip(decoded, expected, strict=True)]
    assert float(np.mean(errors)) < 8


def test_bad_output_is_an_error_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "no" / "folder.mp4"
    assert main(["stream", "--seconds", "3", "-o", str(missing)]) == 2
    assert str(missing) in capsys.readouterr().err
    with pytest.raises(ValueError, match="at least"):
        make_stream(0, 0.5)
    with pytest.raises(ValueError, match="expected"):
        write_mp4(tmp_path / "x.mp4", [np.zeros((8, 8, 3), np.uint8)], 8, (16, 16))


def test_contact_sheet(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    assert main(["sheet", "--clips", "4", "--size", "64", "-o", str(path)]) == 0
    sheet = cv2.imread(str(path))
    assert sheet is not None and sheet.shape == (2 * (64 + 18 + 4), 2 * (8 * 64 + 8), 3)
