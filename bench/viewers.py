"""Do viewers slow the stream? `python -m vljepa_edge.bench.viewers --viewers 50 --seconds 60`.

Times the same paced stream without anybody looking and with so many WebSocket clients in a process
of their own, the first of which reads nothing; alternates the two and prints p99 of a window, the
ratio of the medians over the rounds, and the server's memory.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import socket
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from vljepa_edge.assistant import Assistant
from vljepa_edge.assistant.server.serve import ServerThread


def look(port: int, viewers: int, seconds: float) -> None:
    """Opens viewers that read what comes, one that reads nothing, until the time is over."""
    from threading import Thread

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

    with ExitStack() as stack:
        address = f"ws://127.0.0.1:{port}/live"
        threads = [
            Thread(
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


def measure(clip: Path, viewers: int, seconds: float) -> dict[str, float]:
    """p50 and p99 of a window in ms, and the process's peak memory in MB."""
    with (
        Assistant(None, clip, paced=True, loop=True) as assistant,
        ServerThread(assistant) as server,
    ):
        assistant.start()
        time.sleep(2)
        looking = None
        if viewers:
            # A fresh interpreter: it shares nothing with this one but the processors.
            looking = multiprocessing.get_context("spawn").Process(
                target=look, args=(server.access.port, viewers, seconds)
            )
            looking.start()
        time.sleep(seconds)
        meters = assistant.watcher.meters.last
        assert meters is not None
        if looking is not None:
            looking.join()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "p50_ms": meters.window_p50_ms,
        "p99_ms": meters.window_p99_ms,
        "windows": meters.windows,
        "windows_dropped": meters.windows_dropped,
        "peak_mb": round(peak_mb, 1),
    }


def main() -> int:
    """Alternate the two, print JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m vljepa_edge.bench.viewers", description=__doc__
    )
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clip", type=Path, default=Path("examples/clips/demo.mp4"))
    arguments = parser.parse_args()
    alone, watched = [], []
    for _ in range(arguments.rounds):
        alone.append(measure(arguments.clip, 0, arguments.seconds))
        watched.append(measure(arguments.clip, arguments.viewers, arguments.seconds))
    ratio = statistics.median(m["p99_ms"] for m in watched) / statistics.median(
        m["p99_ms"] for m in alone
    )
    told = {"viewers": arguments.viewers, "seconds": arguments.seconds, "alone": alone}
    json.dump({**told, "watched": watched, "p99_ratio": round(ratio, 3)}, sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
