"""Runs the server: the address, its token, and who gets the processor first."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn
from vljepa_edge.assistant.assistant import Assistant
from vljepa_edge.assistant.errors import AssistantError
from vljepa_edge.assistant.places import LARGEST_PICTURE_BYTES
from vljepa_edge.assistant.server.app import make_app
from vljepa_edge.assistant.server.guard import Access, new_token

_NICE = 10


def make_server(
    assistant: Assistant,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: str | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
) -> tuple[uvicorn.Server, Access, socket.socket]:
    """A server bound to its address, not yet run. Port 0: any free one.

    Another address than loopback gets a token where none is given. AssistantError where the address
    can't be had.
    """
    bound = _bound(host, port)
    access = Access(host, bound.getsockname()[1], token, certificate is not None)
    if not access.loopback and token is None:
        access = Access(host, access.port, new_token(), access.secure)
    config = uvicorn.Config(
        make_app(assistant, access),
        log_level="warning",
        access_log=False,  # a token may stand in a request's line
        lifespan="on",
        ws_max_size=LARGEST_PICTURE_BYTES + 1024,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        ws_per_message_deflate=False,  # JPEG gets no smaller by it
        h11_max_incomplete_event_size=16384,
        limit_concurrency=256,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=2,
        server_header=False,
        ssl_certfile=None if certificate is None else str(certificate),
        ssl_keyfile=None if key is None else str(key),
    )
    try:
        config.load()  # here, where a bad certificate can be told in a line
    except (ssl.SSLError, OSError) as error:
        bound.close()
        raise AssistantError(
            f"{certificate}, {key}: no certificate with its key ({error}); "
            "docs/assistant.md makes one"
        ) from error
    return uvicorn.Server(config), access, bound


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(128)  # whoever comes before the server runs waits for it
    except OSError as error:
        raise AssistantError(
            f"{host}:{port} cannot be served ({error.strerror}); take another --port or --host"
        ) from error
    return bound


def address_of(access: Access) -> str:
    """What to open in a browser, with the token where there is one."""
    scheme = "https" if access.secure else "http"
    host = f"[{access.host}]" if ":" in access.host else access.host
    if access.host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    token = "" if access.token is None else f"/?token={access.token}"
    return f"{scheme}://{host}:{access.port}{token or '/'}"


def serve(
    server: uvicorn.Server, bound: socket.socket, started: Callable[[], None] | None = None
) -> None:
    """Runs a server on this thread until it is told to stop (Ctrl-C, or `should_exit`)."""
    if started is not None:
        started()  # before this thread steps back: its children take over its priority
    yield_processor()
    server.run(sockets=[bound])


def yield_processor() -> None:
    """Lets the model's threads run before this one: viewers may wait, windows may not.

    On Linux a priority belongs to a thread; elsewhere it would be the whole process's.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


class ServerThread:
    """A server on a thread of its own, for programs and tests that do something else meanwhile."""

    def __init__(self, assistant: Assistant, host: str = "127.0.0.1", port: int = 0) -> None:
        self.server, self.access, bound = make_server(assistant, host, port)
        self._thread = threading.Thread(
            target=serve, args=(self.server, bound), name="vljepa-server", daemon=True
        )

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return address_of(self.access)

    def __enter__(self) -> ServerThread:
        self._thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self.server.should_exit = True
        self._thread.join()
