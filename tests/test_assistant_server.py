"""The server over real sockets: who is let in, what is taken, slow viewers, coming back."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from assistant_page import Flicker, serving
from conftest import Cli
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("uvicorn", reason="the extra `assistant` is not installed")
pytest.importorskip("starlette", reason="the extra `assistant` is not installed")

from vljepa_edge.assistant import Assistant
from vljepa_edge.assistant.server.hub import Hub, Viewer
from vljepa_edge.assistant.server.messages import MESSAGES, RefusedMessage, parse
from vljepa_edge.assistant.server.serve import ServerThread
from vljepa_edge.runtime.model import Model, load
from vljepa_edge.runtime.options import StreamOptions
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Model:
    return load(tiny_bundle, threads=1)


@pytest.fixture(scope="module")
def server(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerThread]:
    """A paced stream of an hour, remembered, that tests share."""
    memory = tmp_path_factory.mktemp("memory") / "m"
    options = StreamOptions(fps=5, stride=1)
    assistant = Assistant(model, lambda: Flicker(), memory, options=options, paced=True)
    with serving(assistant) as server:
        server.assistant = assistant  # type: ignore[attr-defined]
        yield server


@contextmanager
def page(server: ServerThread, path: str = "/live", **options: Any) -> Iterator[ClientConnection]:
    address = f"ws://127.0.0.1:{server.access.port}{path}"
    # A test that leaves pictures unread never sees the server's goodbye behind them.
    options = {"compression": None, "proxy": None, "close_timeout": 0.5, **options}
    with connect(address, **options) as socket:
        yield socket


def take(socket: ClientConnection, wanted: str, timeout_s: float = 20.0) -> dict[str, Any]:
    """The next message of a type."""
    end = time.monotonic() + timeout_s
    while True:
        text = socket.recv(timeout=max(0.01, end - time.monotonic()))
        if isinstance(text, str) and (message := json.loads(text))["type"] == wanted:
            return dict(message)


def asked(socket: ClientConnection, **message: Any) -> dict[str, Any]:
    """The reply to a request, or its refusal."""
    socket.send(json.dumps({"id": 7, **message}))
    end = time.monotonic() + 30
    while time.monotonic() < end:
        text = socket.recv(timeout=30)
        told = json.loads(text) if isinstance(text, str) else {}
        if told.get("id") == 7:
            return dict(told)
    raise AssertionError("no answer")


def got(server: ServerThread, path: str, **headers: str) -> tuple[int, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", server.access.port, timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    answer.body = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer.status, answer


def test_page_and_its_policy(server: ServerThread) -> None:
    status, answer = got(server, "/")
    assert status == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    body = answer.body.decode()  # type: ignore[attr-defined]
    assert "://" not in body and "<style" not in body and " style=" not in body
    for name in ("main.js", "page.css", "icon.svg"):
        assert got(server, f"/{name}")[0] == 200
    for path in (
        "/../serve.py", "/..%2fserve.py", "/%2e%2e/serve.py", "/etc/passwd", "/page/main.js",
        "/thumbnail/1", "/thumbnail/99999999999999999999", "/thumbnail/-1",
    ):  # fmt: skip
        assert got(server, path)[0] == 404, path


def test_other_sites_are_kept_out(server: ServerThread) -> None:
    port = server.access.port
    for host in ("evil.example", "127.0.0.1.evil.example", "[", ""):
        assert got(server, "/", Host=host)[0] in (400, 421), host
    for origin in ("null", "http://[", "file://"):
        with pytest.raises(InvalidStatus), page(server, origin=origin):
            pass
    with pytest.raises(InvalidStatus), page(server, origin="https://evil.example"):
        pass
    with pytest.raises(InvalidStatus), page(server, origin=f"http://127.0.0.1:{port + 1}"):
        pass
    with page(server, origin=f"http://127.0.0.1:{port}") as socket:
        assert take(socket, "hello")


def test_token(model: Model) -> None:
    assistant = Assistant(model, lambda: Flicker(1))
    with ServerThread(assistant, host="0.0.0.0") as server, assistant:
        token = server.access.token
        assert token is not None and len(token) >= 32 and token in server.address
        wrong = token[:-1] + ("a" if token[-1] != "a" else "b")
        for path in ("/", "/main.js", f"/?token={wrong}", "/?token="):
            status, answer = got(server, path)
            assert status == 401 and b"token" in answer.body  # type: ignore[attr-defined]
        for path in ("/live", f"/live?token={wrong}"):
            with pytest.raises(InvalidStatus), page(server, path):
                pass
        status, answer = got(server, f"/?token={token}")
        cookie = answer.headers["Set-Cookie"]
        assert status == 303 and answer.headers["Location"] == "/"
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie
        kept = cookie.split(";")[0]
        assert got(server, "/", Cookie=kept)[0] == 200
        assert got(server, "/", Authorization=f"Bearer {token}")[0] == 200
        with page(server, additional_headers={"Cookie": kept}) as socket:
            assert take(socket, "hello")


def test_everything_a_page_asks(server: ServerThread) -> None:
    with page(server) as socket:
        assert take(socket, "state")["state"] in ("opening", "watching")
        assert take(socket, "score")["threshold"] > 0
        choices = ["a red apple falls", "nothing moves"]
        answer = asked(socket, type="ask", question="What moves?", choices=choices)
        assert sorted(match["text"] for match in answer["matches"]) == sorted(choices)
        assert isinstance(asked(socket, type="ask", question="What moves?")["text"], str)
        time.sleep(1.2)  # the memory is written twice a second
        found = asked(socket, type="recall", text="a red apple falls", k=3)["found"]
        assert 1 <= len(found) <= 3 and abs(found[0]["end_s"] - time.time()) < 60
        around = asked(socket, type="around", at_s=found[0]["start_s"])["found"]
        assert found[0]["row"] in {one["row"] for one in around}
        number = asked(socket, type="alert.add", text="nothing moves", threshold=-1)["alert"]
        assert take(socket, "fired")["alert"] == number
        asked(socket, type="alert.threshold", alert=number, threshold=0.9)
        assert asked(socket, type="alert.remove", alert=number)["type"] == "reply"
        assert "no alert" in asked(socket, type="alert.remove", alert=number)["text"]
        asked(socket, type="query.add", text="What else?")
        assert "asked already" in asked(socket, type="query.add", text="What else?")["text"]
        while take(socket, "score")["query_index"] != 1:
            pass
        asked(socket, type="query.remove", text="What else?")
        asked(socket, type="gate", threshold=0.25)
        wanted = pytest.approx(0.25)
        while take(socket, "score")["threshold"] != wanted:
            pass
        refused = asked(socket, type="camera", on=1)
        assert refused["type"] == "refused" and "camera of its own" in refused["text"]


NUMBERS = st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none()
VALUES = NUMBERS | st.text(max_size=500) | st.lists(st.text(max_size=5), max_size=40)
FIELDS = st.sampled_from(sorted({name for fields in MESSAGES.values() for name in fields} | {"x"}))


@settings(max_examples=400, deadline=None)
@given(
    st.text(max_size=200)
    | st.builds(
        lambda kind, number, rest: json.dumps({**rest, "type": kind, "id": number}),
        st.sampled_from([*MESSAGES, "nothing"]) | VALUES,
        NUMBERS,
        st.dictionaries(FIELDS, VALUES, max_size=4),
    )
)
def test_fuzzed_messages_are_taken_whole_or_refused(text: str) -> None:
    try:
        message = parse(text)
    except RefusedMessage as error:
        assert 0 < len(str(error)) < 400
        return
    assert message["type"] in MESSAGES and isinstance(message["id"], int)
    assert set(message) <= {"type", "id", *MESSAGES[message["type"]]}


def test_broken_and_oversized_messages_over_the_wire(server: ServerThread) -> None:
    """Each gets an answer, and another page notices nothing."""
    with page(server) as calm:
        take(calm, "hello")
        with page(server) as socket:
            for text in ("", "{", "[]", "null", '{"id": 1}', "[" * 3000,
                         '{"type": "ask", "id": 1e99}',
                         json.dumps({"id": 1, "type": "ask", "question": "x" * 3900}),
                         json.dumps({"id": 1, "type": "ask", "question": "\ud800"}),
                         '{"id": 1, "type": "gate", "threshold": NaN}', "x" * 5000):  # fmt: skip
                socket.send(text)
                assert take(socket, "refused")["text"], text[:50]
            socket.send(b"\xff\xd8 not asked for")
            assert "no picture was asked for" in take(socket, "refused")["text"]
        with page(server) as socket:
            for _ in range(200):  # far over the rate: told, then shut out
                socket.send("{")
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    socket.recv(timeout=20)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
        with page(server, max_size=None) as socket:
            with pytest.raises(ConnectionClosed) as closed:
                socket.send(b"x" * (3 << 20))  # the server may shut before all is sent
                while True:
                    socket.recv(timeout=20)
            # Shut while still sending, a page may be reset before it reads why.
            assert closed.value.rcvd is None or closed.value.rcvd.code == 1009
        raw = socket_of(server)
        reply = b""
        with contextlib.suppress(ConnectionError):
            raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * (8 << 20))
            reply = raw.recv(1000)
        assert reply == b"" or reply.startswith(b"HTTP/1.1 4")
        raw.close()
        assert take(calm, "score")


def socket_of(server: ServerThread) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.access.port), timeout=10)


def test_a_page_comes_back_and_catches_up(server: ServerThread) -> None:
    with page(server) as socket:
        run = take(socket, "hello")["run"]
        last = take(socket, "caption")["n"]
        take(socket, "caption")
    time.sleep(4)  # two more segments
    with page(server, f"/live?run={run}&after={last}") as socket:
        end = time.monotonic() + 2
        numbers = []
        while time.monotonic() < end:
            text = socket.recv(timeout=5)
            if isinstance(text, str) and "n" in (message := json.loads(text)):
                numbers.append(message["n"])
                if len(numbers) > 10:
                    break
    assert min(numbers) > last and numbers == sorted(numbers)
    with page(server, f"/live?run=another&after={last}") as socket:
        assert take(socket, "caption")["n"] <= last  # all of it: that server is gone


def test_a_viewer_that_reads_nothing_loses_alone() -> None:
    hub, slow, fast = Hub(), Viewer(), Viewer()
    hub.viewers |= {slow, fast}

    async def run() -> tuple[list[str | bytes], int]:
        import asyncio

        hub.attach(asyncio.get_running_loop())
        received: list[str | bytes] = []
        for i in range(1000):
            hub.publish({"type": "caption", "i": i})
            hub.show(b"jpeg" + struct.pack("<i", i), float(i))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            received.append(await fast.next())
        waiting = [await slow.next() for _ in range(258)]
        assert json.loads(waiting[0])["count"] == 1000 - 256  # what it missed is told first
        assert json.loads(waiting[1])["i"] == 1000 - 256
        picture = waiting[-1]  # one picture, the newest
        assert isinstance(picture, bytes) and picture.endswith(struct.pack("<i", 999))
        return received, fast.missed

    import asyncio

    received, missed = asyncio.run(run())
    assert missed == 0
    texts = [json.loads(one)["i"] for one in received if isinstance(one, str)]
    assert texts == sorted(texts) and len(texts) > 900


def test_many_viewers_and_a_dead_one_leave_the_stream_alone(server: ServerThread) -> None:
    """The short form of `python -m vljepa_edge.bench.viewers`: every page gets what is told."""
    assistant: Assistant = server.assistant  # type: ignore[attr-defined]
    before = assistant.watcher.meters.last
    dead = socket_of(server)
    dead.sendall(
        b"GET /live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    dead.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    import contextlib

    with contextlib.ExitStack() as stack:
        pages = [stack.enter_context(page(server)) for _ in range(20)]
        for one in pages:
            take(one, "hello")
        newest = max(take(one, "score")["n"] for one in pages)
        for one in pages:
            while take(one, "score")["n"] < newest:
                pass
    after = assistant.watcher.meters.last
    dead.close()
    assert before is not None and after is not None and after.windows > before.windows


def test_too_many_pages(server: ServerThread) -> None:
    import contextlib

    with contextlib.ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(page(server, close_timeout=0.05))
        extra = stack.enter_context(page(server))
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                extra.recv(timeout=10)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1013


def test_assist_refuses_in_one_line(cli: Cli, tmp_path: Path) -> None:
    blocker = socket.create_server(("127.0.0.1", 0))
    port = str(blocker.getsockname()[1])
    (tmp_path / "m").write_text("no memory\n" * 50)
    (tmp_path / "empty").write_text("\n")
    pem = str(tmp_path / "m")
    demo = Path(__file__).resolve().parent.parent / "examples" / "clips" / "demo.mp4"
    for words, told in (
        (["missing.mp4"], "no such file"),
        ([str(demo), "--port", port], "cannot be served"),
        ([str(demo), "--memory", str(tmp_path / "m")], "memory"),
        ([str(demo), "--token", "short"], "16 characters"),
        ([str(demo), "--tls-cert", "x.pem"], "come together"),
        ([str(demo), "--port", "0", "--tls-cert", pem, "--tls-key", pem], "no certificate"),
        ([str(demo), "--among", str(tmp_path / "none")], "No such file"),
        ([str(demo), "--among", str(tmp_path / "empty")], "no phrases"),
    ):
        result = cli("assist", *words)
        assert result.returncode == 2 and told in result.stderr, result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    blocker.close()


def test_assist_over_tls(tiny_bundle: Path, tmp_path: Path) -> None:
    """`--tls-cert`: the page, and its socket, over HTTPS alone, with the token asked for."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    made = [tmp_path / "cert.pem", tmp_path / "key.pem"]
    subprocess.run(
        [
            openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", str(made[1]), "-out", str(made[0]),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    demo = Path(__file__).resolve().parent.parent / "examples" / "clips" / "demo.mp4"
    token = "a token of sixteen or more".replace(" ", "-")
    process = subprocess.Popen(
        [
            Path(sys.executable).parent / "vljepa", "assist", demo, "--loop", "-b", tiny_bundle,
            "--port", "0", "--token", token, "--tls-cert", made[0], "--tls-key", made[1],
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        told = ""
        while "https://" not in told:
            line = process.stdout.readline()
            assert line, told
            told += line
        found = re.search(r"https://127\.0\.0\.1:(\d+)/\?token=\S+", told)
        assert found and token in found[0]
        port = int(found[1])
        trusted = ssl.create_default_context(cafile=str(made[0]))
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=trusted)
        connection.request("GET", "/")
        assert connection.getresponse().status == 401
        connection.close()
        with connect(
            f"wss://127.0.0.1:{port}/live", ssl=trusted, proxy=None,
            additional_headers={"Authorization": f"Bearer {token}"},
        ) as socket_:  # fmt: skip
            assert take(socket_, "hello")
        plain = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        with pytest.raises((http.client.HTTPException, OSError)):
            plain.request("GET", "/")
            plain.getresponse()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
