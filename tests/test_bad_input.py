"""Bad input through the real command line: one line that names it, exit code 2, nothing lost."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import Cli

FRAMES = 32


def picture(i: int, height: int = 48, width: int = 64) -> np.ndarray:
    image = np.full((height, width, 3), 40, np.uint8)
    cv2.circle(image, (4 + 2 * i % width, height // 2), 8, (0, 0, 255), -1)
    return image


def write_video(path: Path, frames: int = FRAMES) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 8, (64, 48))
    for i in range(frames):
        writer.write(picture(i))
    writer.release()
    return path


def write_folder(path: Path, timestamps: list[int] | None = None, odd: int | None = None) -> Path:
    path.mkdir()
    for i in range(FRAMES):
        size = (24, 32) if i == odd else (48, 64)
        cv2.imwrite(str(path / f"{i:03}.png"), picture(i, *size))
    if timestamps is not None:
        lines = [f"{at} {i:03}.png" for i, at in enumerate(timestamps)]
        (path / "timestamps.txt").write_text("\n".join(lines))
    return path


def refused(result: CompletedProcess[str], *words: str) -> str:
    """Asserts the promise of this file; returns the line."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("vljepa: ")]
    assert len(lines) == 1, result.stderr
    for word in words:
        assert word in lines[0], lines[0]
    return lines[0]


def alone(result: CompletedProcess[str], *words: str) -> None:
    """As `refused`, and nothing else was printed."""
    line = refused(result, *words)
    assert result.stderr.strip() == line
    assert result.stdout == ""


def events(result: CompletedProcess[str]) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert found[-1]["type"] == "end"
    return found


# ---- sources ----


def test_missing_file(cli: Cli, tiny_bundle: Path, tmp_path: Path) -> None:
    alone(cli("run", tmp_path / "none.mp4", "-b", tiny_bundle), "none.mp4", "no such file")


def test_unreadable_file(cli: Cli, tiny_bundle: Path, tmp_path: Path) -> None:
    # A link to itself: the one file that not even root can read.
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    alone(cli("run", tmp_path / "loop.mp4", "-b", tiny_bundle), "loop.mp4", "cannot be read")


def test_not_a_video(cli: Cli, tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.mp4").write_text("Dear reader, this is no video.\n" * 200)
    alone(cli("run", tmp_path / "letter.mp4", "-b", tiny_bundle), "letter.mp4", "not a video")


def test_empty_file(cli: Cli, tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    alone(cli("run", tmp_path / "empty.mp4", "-b", tiny_bundle), "empty.mp4", "empty")


def test_zero_frames(cli: Cli, tiny_bundle: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "zero.avi")
    content = video.read_bytes()
    video.write_bytes(content[: content.index(b"movi") + 4])
    refused(cli("run", video, "-b", tiny_bundle), "zero.avi", "no frames")


def test_empty_folder(cli: Cli, tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    alone(cli("run", tmp_path / "pictures", "-b", tiny_bundle), "pictures", "no pictures")


def test_truncated_video(cli: Cli, tiny_bundle: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "cut.avi")
    content = video.read_bytes()
    video.write_bytes(content[: len(content) // 2])
    result = cli("run", video, "-b", tiny_bundle, "--json", "--embeddings")
    refused(result, "cut.avi", "ends early", f"of {FRAMES} frames")
    found = events(result)
    assert found[-2]["type"] == "notice" and "ends early" in found[-2]["text"]
    # What decodes is processed: every window that the frames that are left make.
    frames = int(found[-2]["text"].split("ends early: ")[1].split()[0])
    windows = {event["window"] for event in found if event["type"] == "embedding"}
    assert 8 <= frames < FRAMES and len(windows) == (frames - 4) // 2 + 1


def test_truncated_mp4(cli: Cli, tiny_bundle: Path, clip: Path, tmp_path: Path) -> None:
    content = clip.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) // 2])
    alone(cli("run", tmp_path / "cut.mp4", "-b", tiny_bundle), "cut.mp4", "index is missing")


def test_frame_size_changes(cli: Cli, tiny_bundle: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pictures", odd=20)
    result = cli("run", folder, "-b", tiny_bundle, "--json", "--embeddings")
    refused(result, "pictures", "020.png", "64", "32")
    windows = {e["window"] for e in events(result) if e["type"] == "embedding"}
    assert len(windows) == (20 - 4) // 2 + 1  # nothing of the 20 good pictures is lost


@pytest.mark.parametrize("bad", [-1, 0], ids=["backwards", "repeating"])
def test_timestamps(cli: Cli, tiny_bundle: Path, tmp_path: Path, bad: int) -> None:
    times = [i * 125_000_000 for i in range(FRAMES)]
    times[20] = times[19] + bad
    folder = write_folder(tmp_path / "pictures", times)
    result = cli("run", folder, "-b", tiny_bundle, "--json")
    refused(result, "pictures", f"1 of {FRAMES} frames left out", "020.png")
    found = events(result)
    dropped = [event for event in found if event["type"] == "dropped"]
    assert [(event["reason"], event["count"]) for event in dropped] == [("timestamp", 1)]
    assert found[-1]["end_ns"] == times[-1]  # it went on to the last picture


def test_bad_timestamps_file(cli: Cli, tiny_bundle: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pictures", [0])
    (folder / "timestamps.txt").write_text("0 000.png\nsoon 001.png\n")
    alone(cli("run", folder, "-b", tiny_bundle), "timestamps.txt", "line 2", "soon")


def test_unreadable_picture(cli: Cli, tiny_bundle: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pictures")
    (folder / "010.png").write_bytes(b"no picture")
    result = cli("run", folder, "-b", tiny_bundle, "--json", "--embeddings")
    refused(result, "010.png", "not a picture")
    windows = {e["window"] for e in events(result) if e["type"] == "embedding"}
    assert len(windows) == (10 - 4) // 2 + 1


def test_no_camera(cli: Cli, tiny_bundle: Path) -> None:
    alone(cli("run", "9", "-b", tiny_bundle), "camera 9", "cannot be opened")


def test_camera_goes_away(cli: Cli, tiny_bundle: Path) -> None:
    fake = Path(__file__).parent / "fake_camera"
    result = cli("run", "7", "-b", tiny_bundle, "--json", env={"PYTHONPATH": str(fake)})
    refused(result, "camera 7", "no more frames after 24")
    assert events(result)[-1]["type"] == "end"


# ---- queries ----


@pytest.mark.parametrize("query", ["", "  \t"])
def test_empty_query(cli: Cli, tiny_bundle: Path, clip: Path, query: str) -> None:
    alone(cli("run", clip, "-b", tiny_bundle, "-q", query), "query is empty")


def test_long_query(cli: Cli, tiny_bundle: Path, clip: Path) -> None:
    query = "what " * 700
    alone(cli("run", clip, "-b", tiny_bundle, "-q", query), "tokens", "at most 512")


# ---- bundles ----

FILES = (
    "index.vlj",
    "x_encoder.onnx",
    "predictor.onnx",
    "y_decoder_prefix.onnx",
    "y_decoder.onnx",
)
TOOL_FILES = ("y_encoder.onnx", "tokenizer.json", "golden.npz", "bundle.json")


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize("name", FILES)
def test_flipped_byte(cli: Cli, bundle: Path, clip: Path, name: str) -> None:
    flip(bundle / name, (bundle / name).stat().st_size // 2)
    alone(cli("run", clip, "-b", bundle), str(bundle))


@pytest.mark.parametrize("name", [*FILES, *TOOL_FILES])
def test_flipped_byte_is_seen_by_inspect(cli: Cli, bundle: Path, name: str) -> None:
    flip(bundle / name, (bundle / name).stat().st_size // 3)
    alone(cli("inspect", "--verify", bundle), str(bundle))


@pytest.mark.parametrize("name", FILES)
def test_missing_bundle_file(cli: Cli, bundle: Path, clip: Path, name: str) -> None:
    (bundle / name).unlink()
    alone(cli("run", clip, "-b", bundle), name)


def test_missing_bundle(cli: Cli, clip: Path, tmp_path: Path) -> None:
    alone(cli("run", clip, "-b", tmp_path / "nowhere"), "nowhere")


def test_other_schema_version(cli: Cli, bundle: Path, clip: Path) -> None:
    # Well-formed in all else: the digest over header and table is made anew.
    index = bytearray((bundle / "index.vlj").read_bytes())
    struct.pack_into("<I", index, 8, 2)
    count, entry, table = struct.unpack_from("<IIQ", index, 24)
    digest = hashlib.sha256(index[:40] + index[table : table + count * entry]).digest()
    index[40:72] = digest
    (bundle / "index.vlj").write_bytes(index)
    alone(cli("run", clip, "-b", bundle), "version is 2")


def test_component_of_another_width(
    cli: Cli, bundle: Path, clip: Path, tiny_checkpoint: Path
) -> None:
    import dataclasses

    from vljepa_edge.export.bundle import INDEX, stored_sections
    from vljepa_edge.export.index_writer import write_index
    from vljepa_edge.export.onnx_export import export_component
    from vljepa_edge.export.sections import Kind
    from vljepa_edge.model import checkpoint
    from vljepa_edge.model.vl_jepa import VLJEPA
    from vljepa_edge.runtime.bundle import Bundle

    config = checkpoint.load(tiny_checkpoint).model.config
    with Bundle(bundle) as opened:
        sections = stored_sections(bundle, opened, frozenset(Kind))
    wider = VLJEPA(dataclasses.replace(config, embedding_width=48)).eval()
    export_component("predictor", wider, bundle)
    write_index(bundle / INDEX, sections)  # hashes match: only the width is wrong
    alone(cli("run", clip, "-b", bundle), "predictor", "predicted_embedding", "48", "32")


def test_cut_image(cli: Cli, tiny_bundle: Path, clip: Path, tmp_path: Path) -> None:
    from vljepa_edge.runtime.bundle import Bundle
    from vljepa_edge.runtime.errors import BundleError

    image = tmp_path / "whole.vlj"
    assert cli("pack", tiny_bundle, "-o", image).returncode == 0
    content = image.read_bytes()
    cut = tmp_path / "cut.vlj"
    lengths = [*range(0, 4096, 37), *range(4096, len(content), 9973), len(content) - 1]
    for length in lengths:
        cut.write_bytes(content[:length])
        with pytest.raises(BundleError, match=r"cut\.vlj"):
            Bundle(cut)
    for length in (0, 100, len(content) // 2, len(content) - 1):
        cut.write_bytes(content[:length])
        alone(cli("run", clip, "-b", cut), "cut.vlj")


# ---- the command itself ----


def test_unknown_verb_and_option(cli: Cli, clip: Path) -> None:
    alone(cli("rum", clip), "rum")
    alone(cli("run", clip, "--stride", "0"), "--stride")
    alone(cli("run"), "VIDEO")


def test_bad_timeline(cli: Cli, tiny_bundle: Path, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"annotations": [{"start": 1}]}')
    run = ("run", clip, "-b", tiny_bundle, "--timeline")
    alone(cli(*run, tmp_path / "t.json"), "t.json", "not a timeline")
    alone(cli(*run, tmp_path / "none.json"), "none.json")


def test_output_into_a_missing_folder(
    cli: Cli, tiny_bundle: Path, clip: Path, tmp_path: Path
) -> None:
    plot = tmp_path / "none" / "timeline.png"
    alone(cli("run", clip, "-b", tiny_bundle, "--plot", plot), "no folder")
