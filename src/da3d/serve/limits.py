"""Who may ask, how much, and for how long: what every request meets before anything else."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import ipaddress
import json
import time
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from da3d.errors import FileError, ParameterError
from da3d.serve.metrics import Metrics

__all__ = ["Gate", "Settings", "answer", "is_loopback", "read_keys"]

_OPEN = ("/health", "/v2/health/live", "/v2/health/ready")
_SHORTEST_KEY = 16
_WHO = ("Bearer", 'Basic realm="da3d"')


@dataclass(frozen=True)
class Settings:
    """What a service allows.

    Parameters
    ----------
    keys : tuple of str
        Any of them opens the service; none leaves it open to everyone who can reach it.
    max_bytes : int
        Of a request's body.
    max_rows : int
        Of a request.
    max_explained : int
        Rows of a request that asks for explanations, which take tens to hundreds of passes each.
    timeout : float
        Seconds from a request's head to its answer.
    waiting : int
        Requests that may wait to be scored; further ones are turned away.
    batch_rows : int
        Rows of several waiting requests are scored together, up to so many; 0 scores each request alone.
    reload_every : float
        Seconds between two looks at the model files.
    """

    keys: tuple[str, ...] = ()
    max_bytes: int = 10 * 2**20
    max_rows: int = 10_000
    max_explained: int = 20
    timeout: float = 30.0
    waiting: int = 256
    batch_rows: int = 1024
    reload_every: float = 1.0

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_rows", "max_explained", "timeout", "waiting", "reload_every"):
            if not getattr(self, name) > 0:
                raise ParameterError(f"{name} is {getattr(self, name)} but must be greater than 0.")
        if any(len(key) < _SHORTEST_KEY for key in self.keys):
            raise ParameterError(
                f"an API key has fewer than {_SHORTEST_KEY} characters and could be guessed; make one with "
                'python -c "import secrets; print(secrets.token_urlsafe())".'
            )


def read_keys(path: Path) -> tuple[str, ...]:
    """The keys in a file: one per line, so that an old and a new one can be valid side by side.

    Raises
    ------
    FileError
        The file cannot be read.
    ParameterError
        It holds no key.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise FileError(f"the API keys in '{path}' cannot be read ({error}).") from error
    keys = tuple(line.strip() for line in lines if line.strip())
    if not keys:
        raise ParameterError(f"'{path}' holds no API key; write one per line.")
    return keys


def answer(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer: numbers with all their digits, text as ASCII (half a surrogate pair is text, too)."""
    return Response(json.dumps(content, allow_nan=False), status, headers, "application/json")


def is_loopback(host: str) -> bool:
    """Whether a name or an address leads to this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Gate:
    """Lets a request in if it has a key, keeps its body and its time within limits, and counts it.

    Parameters
    ----------
    app : ASGI application
    settings : Settings
    metrics : Metrics
    """

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] == "http":
            await self._request(scope, receive, send)
        elif scope["type"] == "websocket" and not self._trusted(scope):
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        begin, status = time.perf_counter(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            refusal = self._refusal(scope)
            if refusal is not None:
                await refusal(scope, receive, noted)
                return
            async with asyncio.timeout(self._settings.timeout) as limit:
                await self._app(scope, self._limited(receive), noted)
        except TimeoutError:
            if not limit.expired() or status:
                raise
            await self._too_late()(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.asked(route, status or 500, time.perf_counter() - begin)

    def _refusal(self, scope: Scope) -> Response | None:
        trusted = self._trusted(scope)
        scope.setdefault("state", {})["trusted"] = trusted
        if not trusted and scope["path"] not in _OPEN:
            said = (
                "a valid API key is needed: send the header 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
            )
            refusal = answer({"error": said}, 401)
            for challenge in _WHO:  # a line for each: browsers do not find the second one within a line
                refusal.headers.append("WWW-Authenticate", challenge)
            return refusal
        headers = Headers(scope=scope)
        if headers.get("content-encoding", "identity").lower() != "identity":
            return answer({"error": "compressed bodies are not read; send the JSON as it is"}, 415)
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._settings.max_bytes:
            return answer({"error": self._too_large}, 413, {"Connection": "close"})
        return None

    def _trusted(self, scope: Scope) -> bool:
        given = _given_key(Headers(scope=scope)).encode("utf-8", "surrogateescape")
        # All keys are compared, each in constant time, so that the time taken tells nothing.
        found = [hmac.compare_digest(given, key.encode()) for key in self._settings.keys]
        return any(found) or not self._settings.keys

    def _limited(self, receive: Receive) -> Receive:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._settings.max_bytes:
                raise HTTPException(413, self._too_large, {"Connection": "close"})
            return message

        return counted

    @property
    def _too_large(self) -> str:
        return f"the body is larger than {self._settings.max_bytes} bytes; send fewer rows at a time"

    def _too_late(self) -> Response:
        said = f"there was no answer within {self._settings.timeout:g} seconds; send fewer rows, or try later"
        return answer({"error": said}, 503, {"Retry-After": "1", "Connection": "close"})


def _given_key(headers: Headers) -> str:
    """The key that a request came with: a bearer's, that of its own header, or a password in a browser."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode("utf-8", "replace").partition(":")[2]
        except binascii.Error:
            return ""
    return headers.get("x-api-key", "")
