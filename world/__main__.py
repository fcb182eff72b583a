"""Command line of sprite world: `python -m vljepa_edge.world stream|sheet`."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

import cv2

from .clips import sample_clip
from .sampling import SPLITS
from .scene import WorldConfig
from .sheet import contact_sheet
from .streams import frames, make_stream
from .video import write_mp4, write_timeline
from .vocabulary import OBJECTS


def _config(arguments: argparse.Namespace) -> WorldConfig:
    """The version of the world that is asked for, at the size and vocabulary that are."""
    make = WorldConfig.v2 if arguments.world == 2 else WorldConfig
    config = make(size=arguments.size)
    if arguments.objects is not None:
        config = dataclasses.replace(config, objects=OBJECTS[: arguments.objects])
    return config


def _stream(arguments: argparse.Namespace) -> None:
    """Write a stream as MP4 and its timeline beside it."""
    config = _config(arguments)
    stream = make_stream(arguments.seed, arguments.seconds, config, arguments.split)
    side = (arguments.size, arguments.size)
    count = write_mp4(arguments.out, frames(stream, arguments.fps), arguments.fps, side)
    timeline = arguments.out.with_suffix(".timeline.json")
    write_timeline(timeline, stream)
    print(f"{arguments.out}: {count} frames, {len(stream.segments)} segments, {timeline.name}")


def _sheet(arguments: argparse.Namespace) -> None:
    """Write a contact sheet of clips with their captions."""
    config = _config(arguments)
    clips = [
        sample_clip(arguments.seed, i, config, arguments.split) for i in range(arguments.clips)
    ]
    picture = contact_sheet(clips)
    if not cv2.imwrite(str(arguments.out), picture[:, :, ::-1]):
        raise OSError(f"cannot write {arguments.out}")
    print(f"{arguments.out}: {len(clips)} clips")


def main(argv: list[str] | None = None) -> int:
    """Parse, run, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m vljepa_edge.world", description=__doc__)
    verbs = parser.add_subparsers(required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--seed", type=int, default=1)
    common.add_argument("--world", type=int, choices=(1, 2), default=1, help="version")
    common.add_argument("--objects", type=int, help="vocabulary size; 120, in version 2 300")
    common.add_argument("--split", choices=SPLITS, default="test")
    common.add_argument("-o", "--out", type=Path, required=True)

    stream = verbs.add_parser("stream", parents=[common], help="an MP4 with a timeline")
    stream.add_argument("--seconds", type=float, default=75.0)
    stream.add_argument("--fps", type=float, default=16.0)
    stream.add_argument("--size", type=int, default=256, help="side in pixels")
    stream.set_defaults(run=_stream)

    sheet = verbs.add_parser("sheet", parents=[common], help="a picture of clips and captions")
    sheet.add_argument("--clips", type=int, default=40)
    sheet.add_argument("--size", type=int, default=128, help="side in pixels")
    sheet.set_defaults(run=_sheet)

    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
