"""The ASGI application: the page's files, its WebSocket, thumbnails, and pictures to viewers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from vljepa_edge.assistant.assistant import Assistant
from vljepa_edge.assistant.server import wire
from vljepa_edge.assistant.server.connection import Connection
from vljepa_edge.assistant.server.guard import Access, Guard
from vljepa_edge.assistant.server.hub import Hub
from vljepa_edge.assistant.server.requests import Requests

PAGE = Path(__file__).resolve().parent / "page"
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PICTURES_PER_S = 8.0
_PICTURE_SIDE = 640


def make_app(assistant: Assistant, access: Access) -> Starlette:
    """The application that shows one assistant. The assistant is started and closed by others."""
    hub = Hub()
    # Read once: what is served is this list, whatever path a request names.
    files = {
        file.name: (file.read_bytes(), _KINDS[file.suffix])
        for file in PAGE.iterdir()
        if file.suffix in _KINDS
    }
    requests: list[Requests] = []

    async def page(request: Request) -> Response:
        name = request.path_params.get("name") or "index.html"
        if name not in files:
            return PlainTextResponse("there is no such page\n", 404)
        body, kind = files[name]
        return Response(body, media_type=kind)

    async def thumbnail(request: Request) -> Response:
        row = request.path_params["row"]
        jpeg = None
        if assistant.memory is not None and row < 2**63:
            jpeg = await asyncio.to_thread(assistant.memory.thumbnail, row)
        if jpeg is None:
            return PlainTextResponse("no picture was kept of that\n", 404)
        return Response(jpeg, media_type="image/jpeg")

    async def live(socket: WebSocket) -> None:
        await socket.accept()
        await Connection(socket, hub, requests[0]).serve()

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        requests.append(Requests(assistant))
        hub.attach(asyncio.get_running_loop())
        unsubscribe = assistant.subscribe(
            lambda told: _publish(hub, wire.told_to_page(told, assistant))
        )
        showing = asyncio.create_task(_show(hub, assistant))
        try:
            yield
        finally:
            unsubscribe()
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)

    app = Starlette(
        routes=[
            Route("/", page),
            Route("/thumbnail/{row:int}", thumbnail),
            WebSocketRoute("/live", live),
            Route("/{name}", page),
        ],
        middleware=[Middleware(Guard, access=access)],
        lifespan=lifespan,
    )
    app.state.hub = hub
    return app


def _publish(hub: Hub, message: dict[str, object] | None) -> None:
    if message is not None:
        hub.publish(message)


async def _show(hub: Hub, assistant: Assistant) -> None:
    """Codes the newest picture once for all viewers, a few times a second, while one looks."""
    shown = None
    while True:
        await asyncio.sleep(1 / _PICTURES_PER_S)
        tap = assistant.watcher.tap
        newest = tap.newest
        if newest is None or newest is shown or not hub.looked_at:
            continue
        shown = newest
        picture = await asyncio.to_thread(tap.newest_jpeg, _PICTURE_SIDE, 70)
        if picture is not None:
            hub.show(picture, wire.seconds(newest.timestamp_ns))
