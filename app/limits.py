"""How large a body may be: checked on ``Content-Length`` and, as that can be missing or wrong, on reading."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems
from models.contract.errors import MalformedBody, PayloadTooLarge

LONGEST_LENGTH = 18
"""Digits of a ``Content-Length`` that are worth reading as a number."""


class BodyLimit:
    """ASGI layer that refuses a body that is too large; ``uploads`` have a limit of their own.

    Whatever the application makes of the body being cut off is replaced by that answer.
    """

    def __init__(self, app: ASGIApp, json_limit_bytes: int, upload_limit_bytes: int, uploads: frozenset[str]) -> None:
        """Wrap ``app``; ``uploads`` are the paths that take files."""
        self._app = app
        self._json_limit_bytes = json_limit_bytes
        self._upload_limit_bytes = upload_limit_bytes
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._upload_limit_bytes if scope["path"] in self._uploads else self._json_limit_bytes
        too_large = PayloadTooLarge(f"The body is larger than the {limit} bytes that are read here.")
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isascii() or not announced.isdigit():
            await problems.response(MalformedBody("Content-Length is not a number."), scope)(scope, receive, send)
            return
        if len(announced) > LONGEST_LENGTH or int(announced) > limit:
            await problems.response(too_large, scope)(scope, receive, send)
            return
        guard = _Guard(receive, send, limit)
        try:
            await self._app(scope, guard.receive, guard.send)
        except PayloadTooLarge:
            if not guard.exceeded:
                raise
        if guard.exceeded and not guard.answering:
            await problems.response(too_large, scope)(scope, receive, send)


class _Guard:
    """Counts what is read; once that is too much, withholds the application's answer unless it has begun."""

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive = receive
        self._send = send
        self._left = limit
        self.exceeded = False
        self.answering = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.exceeded = True
            raise PayloadTooLarge("The body is too large.")
        return message

    async def send(self, message: Message) -> None:
        if self.exceeded and not self.answering:
            return
        self.answering = True
        await self._send(message)
