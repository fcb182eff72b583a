"""Who may talk to the server: Host, Origin and token, and the headers that every answer carries."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import SplitResult, parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

# No inline code or style, nothing from another host, no frame around the page.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def new_token() -> str:
    """192 random bits, as they fit into an address."""
    return secrets.token_urlsafe(24)


@dataclass(frozen=True)
class Access:
    """What is let in. `token` None: anyone who reaches the loopback address of this machine."""

    host: str
    port: int
    token: str | None
    secure: bool = False  # TLS

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK

    @property
    def cookie(self) -> str:
        """Cookies are shared between ports: the name tells them apart."""
        return f"vljepa_{self.port}"

    def knows(self, given: str | None) -> bool:
        """Whether this is the token; takes as long for a wrong one as for the right one."""
        if self.token is None:
            return True
        return given is not None and hmac.compare_digest(given.encode(), self.token.encode())


class Guard:
    """ASGI middleware that turns away what `access` doesn't let in, with a clear answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self.access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or one WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope, Headers(scope=scope))
        if refusal is None:
            await self.app(scope, receive, self._with_headers(send))
        elif scope["type"] == "http":
            await refusal(scope, receive, self._with_headers(send))
        else:
            # Closing before accepting answers the handshake with 403.
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "refused"})

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if self.access.loopback and _split(f"//{host}").hostname not in LOOPBACK:
            # A page of another site whose name was made to point here (DNS rebinding).
            return PlainTextResponse(f"this server is not {host[:100]!r}\n", 421)
        origin = headers.get("origin")
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        if changes and origin is not None and not _same_site(origin, host):
            return PlainTextResponse("a page of another site may not use this server\n", 403)
        if self.access.token is None:
            return None
        return self._token_refusal(scope, headers)

    def _token_refusal(self, scope: Scope, headers: Headers) -> Response | None:
        asked = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        given = asked.get("token", [None])[0]
        if given is not None and self.access.knows(given):
            if scope["type"] == "websocket" or scope["path"] != "/":
                return None
            # The token leaves the address bar, and the history with it.
            answer = RedirectResponse("/", 303)
            answer.set_cookie(
                self.access.cookie,
                given,
                httponly=True,
                samesite="strict",
                secure=self.access.secure,
            )
            return answer
        bearer = headers.get("authorization", "")
        if bearer.startswith("Bearer ") and self.access.knows(bearer[7:]):
            return None
        if self.access.knows(_cookie(headers, self.access.cookie)):
            return None
        return PlainTextResponse(
            "this page needs its token: open the address that `vljepa assist` printed\n", 401
        )

    @staticmethod
    def _with_headers(send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        return sending


def _split(address: str) -> SplitResult:
    """An address in its parts; nothing at all where it is none."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _same_site(origin: str, host: str) -> bool:
    parts = _split(origin)
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _cookie(headers: Headers, name: str) -> str | None:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return None
    return found.value if found is not None else None
