"""A network camera for tests: RTSP over TCP on this machine, JPEG pictures as RTP (RFC 2435)."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import time
from collections.abc import Sequence

import cv2
import numpy as np

QUALITY = 80  # RFC 2435 gives the tables of libjpeg's quality 1 to 99 by this number
PACKET_BYTES = 1400
SESSION = "12345678"
HOST = "127.0.0.1"


def scan_of(picture: np.ndarray) -> bytes:
    """The entropy-coded part of a picture uint8 [H, W, 3] as baseline JPEG with 4:2:0 colour."""
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    quality = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    coded = cv2.imencode(".jpg", picture, quality + sampling)[1].tobytes()
    start = coded.index(b"\xff\xda")
    return coded[start + 2 + int.from_bytes(coded[start + 2 : start + 4]) : -2]


class RtspCamera:
    """Plays pictures uint8 [H, W, 3], sides a multiple of 16, again and again to whoever asks."""

    def __init__(self, pictures: Sequence[np.ndarray], fps: float, port: int = 0) -> None:
        self.height, self.width = pictures[0].shape[:2]
        self.scans = [scan_of(picture) for picture in pictures]
        self.fps = fps
        self.methods: list[str] = []
        self._viewers: set[socket.socket] = set()
        self._listening = socket.create_server((HOST, port))
        self.port = self._listening.getsockname()[1]
        self.url = f"rtsp://{HOST}:{self.port}/cam"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Switched off: nobody can connect, and who was connected is cut off."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for viewer in list(self._viewers):
            with contextlib.suppress(OSError):
                viewer.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                viewer, _ = self._listening.accept()
            except OSError:
                return
            self._viewers.add(viewer)
            threading.Thread(target=self._serve, args=(viewer,), daemon=True).start()

    def _serve(self, viewer: socket.socket) -> None:
        playing = threading.Event()
        waiting = b""
        with contextlib.suppress(OSError), viewer:
            while received := viewer.recv(4096):
                waiting += received
                while b"\r\n\r\n" in waiting:
                    request, _, waiting = waiting.partition(b"\r\n\r\n")
                    self._answer(viewer, request.decode(errors="replace"), playing)
        playing.clear()
        self._viewers.discard(viewer)

    def _answer(self, viewer: socket.socket, request: str, playing: threading.Event) -> None:
        found = re.search(r"([A-Z_]+) \S+ RTSP/1\.0\r\n(?s:.*)CSeq: *(\d+)", request)
        if found is None:
            return  # reports of the viewer, between requests
        method, number = found.groups()
        self.methods.append(method)
        headers, body = [f"CSeq: {number}", f"Session: {SESSION}"], ""
        if method == "OPTIONS":
            headers.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif method == "DESCRIBE":
            body = (
                f"v=0\r\no=- 1 1 IN IP4 {HOST}\r\ns=cam\r\nt=0 0\r\n"
                f"m=video 0 RTP/AVP 26\r\na=framerate:{self.fps}\r\na=control:{self.url}/video\r\n"
            )
            headers += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        elif method == "SETUP":
            headers.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
        viewer.sendall(("\r\n".join(["RTSP/1.0 200 OK", *headers, "", ""]) + body).encode())
        if method == "PLAY":
            playing.set()
            threading.Thread(target=self._play, args=(viewer, playing), daemon=True).start()
        elif method == "TEARDOWN":
            playing.clear()

    def _play(self, viewer: socket.socket, playing: threading.Event) -> None:
        number, sequence, start = 0, 0, time.monotonic()
        with contextlib.suppress(OSError):
            while playing.is_set():
                scan = self.scans[number % len(self.scans)]
                stamp = int(number * 90_000 / self.fps)
                for offset in range(0, len(scan), PACKET_BYTES):
                    part = scan[offset : offset + PACKET_BYTES]
                    last = offset + PACKET_BYTES >= len(scan)
                    rtp = struct.pack(">BBHII", 0x80, 26 | last << 7, sequence & 0xFFFF, stamp, 7)
                    jpeg = struct.pack(
                        ">IBBBB", offset, 1, QUALITY, self.width // 8, self.height // 8
                    )
                    packet = rtp + jpeg + part
                    viewer.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                    sequence += 1
                number += 1
                time.sleep(max(0.0, start + number / self.fps - time.monotonic()))
