"""How large a body may be, and how long it may take.

Checked on ``Content-Length`` and, as that can be missing or wrong, on reading. Headers are bounded where they are read,
in ``protocol.py``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Self

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems
from app.bodies import check_announced, too_large
from app.settings import GatewaySettings
from models.contract.errors import BodyTooSlow, LecternError, PayloadTooLarge


@dataclass(frozen=True)
class Bound:
    """The most of one kind of body."""

    payload_bytes: int
    seconds: float


@dataclass(frozen=True)
class BodyLimits:
    """The most of every kind of body."""

    json: Bound
    upload: Bound

    @classmethod
    def of(cls, settings: GatewaySettings) -> Self:
        """Return the limits that the settings say."""
        return cls(
            json=Bound(settings.json_limit_bytes, settings.body_seconds),
            upload=Bound(settings.upload_limit_bytes, settings.upload_seconds),
        )


class Timely:
    """Passes on the pieces of a body as long as they come in time, then whatever else comes whenever it does."""

    def __init__(self, receive: Receive, seconds: float) -> None:
        """Let the time begin with the first piece that is asked for."""
        self._receive = receive
        self._seconds = seconds
        self._deadline = 0.0
        self._complete = False
        self.late: BodyTooSlow | None = None

    async def __call__(self) -> Message:
        """Return the next message.

        Raises:
            BodyTooSlow: the body was not complete before its time was over.
        """
        if self._complete:
            return await self._receive()
        if not self._deadline:
            self._deadline = asyncio.get_running_loop().time() + self._seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            self.late = too_slow(self._seconds)
            raise self.late from None
        self._complete = not message.get("more_body", False)
        return message


def too_slow(seconds: float) -> BodyTooSlow:
    """Return the error for a body that was not complete within ``seconds``."""
    return BodyTooSlow(f"The body did not arrive within the {seconds:g} s that it has.")


class BodyLimit:
    """ASGI layer that refuses a body that is too large or too slow; ``uploads`` have limits of their own.

    Whatever the application makes of the body being cut off is replaced by that answer.
    """

    def __init__(self, app: ASGIApp, limits: BodyLimits, uploads: frozenset[str]) -> None:
        """Wrap ``app``; ``uploads`` are the paths that take files."""
        self._app = app
        self._limits = limits
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        bound = self._limits.upload if scope["path"] in self._uploads else self._limits.json
        try:
            check_announced(dict(reversed(scope["headers"])), bound.payload_bytes)
        except LecternError as error:
            await problems.response(error, scope)(scope, receive, send)
            return
        guard = _Guard(receive, send, bound)
        try:
            await self._app(scope, guard.receive, guard.send)
        except (PayloadTooLarge, BodyTooSlow):
            if guard.refusal is None:
                raise
        if guard.refusal is not None and not guard.answering:
            await problems.response(guard.refusal, scope)(scope, receive, send)


class _Guard:
    """Counts what is read; once that is too much or too late, withholds the application's answer unless begun."""

    def __init__(self, receive: Receive, send: Send, bound: Bound) -> None:
        self._receive = Timely(receive, bound.seconds)
        self._send = send
        self._bound = bound
        self._left = bound.payload_bytes
        self._too_large: PayloadTooLarge | None = None
        self.answering = False

    @property
    def refusal(self) -> LecternError | None:
        return self._too_large or self._receive.late

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self._too_large = too_large(self._bound.payload_bytes)
            raise self._too_large
        return message

    async def send(self, message: Message) -> None:
        if self.refusal is not None and not self.answering:
            return
        self.answering = True
        await self._send(message)
