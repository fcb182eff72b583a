"""How well an assistant remembers: `python -m vljepa_edge.bench.remembering`.

On sprite-world streams, whose events are known: R@1 and R@5 of searching each described event in
the memory of its own stream. Prints JSON. With `--keep FOLDER` an interrupted run goes on, and
`vljepa_edge.bench.alerts` needs not watch the same streams again.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from vljepa_edge.bench.progress import on_stderr
from vljepa_edge.bench.watching import watched_streams
from vljepa_edge.runtime.model import load


def main() -> int:
    """Print JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m vljepa_edge.bench.remembering", description=__doc__
    )
    add_stream_options(parser)
    arguments = parser.parse_args()
    model = load(arguments.bundle)
    version = arguments.world or model.world
    watched = list(
        watched_streams(
            model, arguments.streams, arguments.seconds, version, arguments.keep,
            on_stderr("streams"),
        )
    )  # fmt: skip
    ranks = np.array([rank for stream in watched for rank in stream.ranks])
    told = {
        "bundle": f"{model.description.name} {model.description.precision}",
        "bundle_sha256": model.description.bundle_sha256,
        "world": version,
        "streams": arguments.streams,
        "seconds": arguments.seconds,
        "events": len(ranks),
        "recall_at_1": round(float((ranks == 0).mean()), 4),
        "recall_at_5": round(float((ranks >= 0).mean()), 4),
        "by_stream": [
            {
                "seed": stream.seed,
                "events": len(stream.ranks),
                "recall_at_1": round(float(np.mean(np.array(stream.ranks) == 0)), 4),
                "recall_at_5": round(float(np.mean(np.array(stream.ranks) >= 0)), 4),
            }
            for stream in watched
        ],
    }
    json.dump(told, sys.stdout, indent=1)
    print()
    return 0


def add_stream_options(parser: argparse.ArgumentParser) -> None:
    """What says which streams are watched, by which bundle."""
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=600.0, help="of each stream")
    parser.add_argument("--bundle", help="default: the packaged one")
    parser.add_argument("--world", type=int, help="its version; default: the bundle's own")
    parser.add_argument("--keep", type=Path, help="a folder for what was watched")


if __name__ == "__main__":
    sys.exit(main())
