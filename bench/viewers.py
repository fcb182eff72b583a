"""Do viewers slow the stream? `python -m vljepa_edge.bench.viewers --viewers 50 --seconds 60`.

Times the same paced stream without anybody looking and with so many WebSocket clients in a process
of their own, the first of which reads nothing; alternates the two, so that a machine whose speed
wanders wanders for both. A latency is from the arrival of a window's last frame to its embedding.
Prints JSON: p50 and p99 of all rounds together, their ratio, windows dropped, and the server's
memory at each round's begin and end.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from vljepa_edge.assistant import Assistant
from vljepa_edge.assistant.server.serve import ServerThread
from vljepa_edge.bench.conditions import rss_mb
from vljepa_edge.bench.progress import on_stderr
from vljepa_edge.bench.statistics import percentile, samples_needed
from vljepa_edge.runtime.events import EmbeddingEvent

WARMUP_S = 2.0


def look(port: int, viewers: int, seconds: float) -> None:
    """Opens viewers that read what comes, one that reads nothing, until the time is over."""
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    dead = socket.create_connection(("127.0.0.1", port))
    dead.sendall(
        b"GET /live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    end = time.monotonic() + seconds

    def read(connection: object) -> None:
        try:
            while (left := end - time.monotonic()) > 0:
                connection.recv(timeout=left)  # type: ignore[attr-defined]
        except (TimeoutError, ConnectionClosed):
            pass

    # A connection that the server has let go meanwhile cannot be closed politely any more.
    with suppress(ConnectionClosed), ExitStack() as stack:
        address = f"ws://127.0.0.1:{port}/live"
        threads = [
            threading.Thread(
                target=read,
                args=(stack.enter_context(connect(address, compression=None, proxy=None)),),
            )
            for _ in range(viewers - 1)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    dead.close()


def measure(clip: Path, viewers: int, seconds: float) -> dict[str, Any]:
    """Latencies in ms of so many seconds, and the process's memory in MB."""
    latencies: list[float] = []
    counting = threading.Event()

    def take(told: object) -> None:
        if counting.is_set() and isinstance(told, EmbeddingEvent) and told.latency_ns is not None:
            latencies.append(told.latency_ns / 1e6)

    with (
        Assistant(None, clip, paced=True, loop=True) as assistant,
        ServerThread(assistant) as server,
    ):
        assistant.subscribe(take)
        assistant.start()
        time.sleep(WARMUP_S)
        looking = None
        if viewers:
            # A fresh interpreter: it shares nothing with this one but the processors.
            looking = multiprocessing.get_context("spawn").Process(
                target=look, args=(server.access.port, viewers, seconds + WARMUP_S)
            )
            looking.start()
            time.sleep(WARMUP_S)  # for all of them to have come
        begin_mb = rss_mb()
        counting.set()
        time.sleep(seconds)
        counting.clear()
        meters = assistant.watcher.meters.last
        assert meters is not None
        end_mb = rss_mb()
        if looking is not None:
            looking.join()
    return {
        "latencies_ms": latencies,
        "windows_dropped": meters.windows_dropped,
        "begin_mb": begin_mb,
        "end_mb": end_mb,
    }


def told(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All rounds of one kind together."""
    latencies = [value for one in rounds for value in one["latencies_ms"]]
    return {
        "windows": len(latencies),
        "p50_ms": round(percentile(latencies, 50), 2),
        "p99_ms": round(percentile(latencies, 99), 2),
        "windows_dropped": sum(one["windows_dropped"] for one in rounds),
        "memory_mb": [[one["begin_mb"], one["end_mb"]] for one in rounds],
    }


def main() -> int:
    """Alternate the two, print JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m vljepa_edge.bench.viewers", description=__doc__
    )
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clip", type=Path, default=Path("examples/clips/demo.mp4"))
    arguments = parser.parse_args()
    progress = on_stderr("rounds")
    alone, watched = [], []
    for number in range(arguments.rounds):
        progress(number, arguments.rounds)
        alone.append(measure(arguments.clip, 0, arguments.seconds))
        watched.append(measure(arguments.clip, arguments.viewers, arguments.seconds))
    found = {"alone": told(alone), "watched": told(watched)}
    enough = min(one["windows"] for one in found.values()) >= samples_needed(99)
    facts = {
        "viewers": arguments.viewers,
        "seconds": arguments.seconds,
        "rounds": arguments.rounds,
        **found,
        "p99_ratio": round(found["watched"]["p99_ms"] / found["alone"]["p99_ms"], 3),
        "enough_for_p99": enough,
    }
    json.dump(facts, sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
