"""One page's WebSocket: greets it, catches it up, sends what is told, answers what it asks."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect
from vljepa_edge.assistant.places import LARGEST_PICTURE_BYTES, BrowserSource
from vljepa_edge.assistant.server import wire
from vljepa_edge.assistant.server.hub import MOST_VIEWERS, Hub, Viewer
from vljepa_edge.assistant.server.messages import Bucket, RefusedMessage, parse
from vljepa_edge.assistant.server.requests import Requests

# A page sends a few messages a second at most, and pictures at a camera's rate.
_MESSAGES_PER_S, _MESSAGES_AT_ONCE = 10.0, 40.0
_PICTURES_PER_S, _PICTURES_AT_ONCE = 30.0, 30.0
_MOST_REFUSED = 50  # then the page is shut out: it is broken, or up to no good
_STUCK_S = 30.0
_ASKING = 8  # questions of one page that may be open


class Connection:
    """Serves one accepted WebSocket until either side ends it."""

    def __init__(self, socket: WebSocket, hub: Hub, requests: Requests) -> None:
        self.socket = socket
        self.hub = hub
        self.requests = requests
        self.viewer = Viewer()
        self._messages = Bucket(_MESSAGES_PER_S, _MESSAGES_AT_ONCE)
        self._pictures = Bucket(_PICTURES_PER_S, _PICTURES_AT_ONCE)
        self._refused = 0
        self._asking: set[asyncio.Task[None]] = set()
        self._camera = False

    async def serve(self) -> None:
        """From the greeting to the end."""
        if len(self.hub.viewers) >= MOST_VIEWERS:
            await self.socket.close(1013, f"{MOST_VIEWERS} pages are open already")
            return
        self._greet()
        self.hub.viewers.add(self.viewer)
        sending = asyncio.create_task(self._send())
        receiving = asyncio.create_task(self._receive())
        try:
            await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.hub.viewers.discard(self.viewer)
            for task in (sending, receiving, *self._asking):
                task.cancel()
            await asyncio.gather(sending, receiving, *self._asking, return_exceptions=True)
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await self.socket.close()

    def _greet(self) -> None:
        """What holds now, then what was missed: a page that comes back tells what it has."""
        assistant = self.requests.assistant
        self._offer({"type": "hello", "run": self.hub.run})
        self._offer(wire.state(assistant))
        self._offer(wire.settings(assistant))
        meters = assistant.watcher.meters.last
        if meters is not None:
            message = wire.told_to_page(meters, assistant)
            assert message is not None
            self._offer(message)
        asked = self.socket.query_params
        same = asked.get("run") == self.hub.run and asked.get("after", "").isdecimal()
        self._catch_up(int(asked["after"][:15]) if same else 0)

    def _catch_up(self, after: int) -> None:
        for text in self.hub.since(after):
            self.viewer.offer(text)

    def _offer(self, message: dict[str, Any]) -> None:
        self.viewer.offer(json.dumps(message, ensure_ascii=False))

    async def _send(self) -> None:
        """A page that takes nothing for `_STUCK_S` is let go; it may come back."""
        while True:
            what = await self.viewer.next()
            if isinstance(what, str):
                sent = self.socket.send_text(what)
            else:
                sent = self.socket.send_bytes(what)
            await asyncio.wait_for(sent, _STUCK_S)

    async def _receive(self) -> None:
        while True:
            message = await self.socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            try:
                if message.get("bytes") is not None:
                    await self._picture(message["bytes"])
                else:
                    self._message(message.get("text") or "")
            except RefusedMessage as error:
                self._refused += 1
                self._offer({"type": "refused", "id": error.number, "text": str(error)})
                if self._refused >= _MOST_REFUSED:
                    await self.socket.close(1008, "too many messages that are not taken")
                    return

    def _message(self, text: str) -> None:
        if not self._messages.take():
            raise RefusedMessage(f"too many messages; at most {_MESSAGES_PER_S:g} a second")
        message = parse(text)
        kind = message["type"]
        if kind == "catch_up":
            self._catch_up(message["after"])
        elif kind == "pictures":
            self.viewer.wants_pictures = bool(message["on"])
        elif kind == "camera":
            if self.requests.assistant.browser is None:
                raise RefusedMessage("this assistant has a camera of its own", message["id"])
            self._camera = bool(message["on"])
            self._offer({"type": "reply", "to": kind, "id": message["id"]})
        elif len(self._asking) >= _ASKING:
            raise RefusedMessage("too many questions at once", message["id"])
        else:
            task = asyncio.create_task(self._answer(message))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _answer(self, message: dict[str, Any]) -> None:
        try:
            self._offer(await self.requests.answer(message))
        except RefusedMessage as error:
            # Well formed, so it doesn't count as abuse: a question can be too early.
            self._offer({"type": "refused", "id": error.number, "text": str(error)})

    async def _picture(self, picture: bytes) -> None:
        browser: BrowserSource | None = self.requests.assistant.browser
        if browser is None or not self._camera:
            raise RefusedMessage("no picture was asked for")
        if len(picture) > LARGEST_PICTURE_BYTES:
            raise RefusedMessage(f"a picture has at most {LARGEST_PICTURE_BYTES} bytes")
        if not self._pictures.take():
            return  # a camera that is faster than what is looked at: no harm
        try:
            await asyncio.to_thread(browser.put, picture)
        except ValueError as error:
            raise RefusedMessage(str(error)) from error
