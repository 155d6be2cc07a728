"""An answer that is sent piece by piece, as server-sent events: drives a stream's codec as ``inference`` does others.

``piece`` events come first, one ``prediction`` last; what goes wrong after the first piece is a ``problem`` event.
Until there is a first piece nothing is sent, so that a request that is refused gets the status that says why.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import Executor
from contextlib import aclosing
from typing import Self

import orjson
from pydantic import BaseModel
from starlette.types import Send

from app.serving import inference
from app.serving.endpoints import Endpoint
from app.serving.tickets import ClientLeft, Ticket
from models.contract.errors import LecternError
from models.contract.task import Arrays, Call, Piece, Stream, StreamCodec

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]

Written = AsyncGenerator[bytes]


class Events:
    """The events of one answer, the first of which is there."""

    def __init__(self, first: bytes, rest: Written) -> None:
        """Keep what is to be sent."""
        self._first = first
        self._rest = rest

    @classmethod
    async def begin(
        cls, endpoint: Endpoint, stream: Stream, request: BaseModel, ticket: Ticket, executor: Executor
    ) -> Self:
        """Return the events of a validated request once the first is there.

        Raises:
            LecternError: as :func:`app.serving.inference.predict`.
            ClientLeft: the client has gone; the codec was closed.
        """
        rest = _events(endpoint, stream.codec(endpoint.loaded.served, request), ticket, executor)
        return cls(await anext(rest), rest)

    async def send(
        self, headers: list[tuple[bytes, bytes]], send: Send, told: Callable[[LecternError], Mapping[str, object]]
    ) -> str:
        """Send all events; return the outcome as metrics name it. ``told`` makes the document of a problem."""
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        outcome, body = "ok", self._first
        async with aclosing(self._rest) as rest:
            try:
                while body:
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                    body = await anext(rest, b"")
            except LecternError as error:
                outcome = error.code
                await send({"type": "http.response.body", "body": _event("problem", told(error)), "more_body": True})
            except ClientLeft:
                outcome = "client_left"
        await send({"type": "http.response.body", "body": b""})
        return outcome


async def _events(endpoint: Endpoint, codec: StreamCodec, ticket: Ticket, executor: Executor) -> Written:
    """Yield the events; the codec thinks in a thread, its runs go through the queues of the parts."""
    outputs: Arrays | None = None
    try:
        while True:
            step = await endpoint.in_thread(executor, ticket, inference.advance, codec, outputs)
            if ticket.left():
                raise ClientLeft
            match step:
                case Call():
                    outputs = await endpoint.run(step.part, step.arrays, ticket)
                case Piece():
                    outputs = None
                    yield _event("piece", step.content)
                case _:
                    manifest = endpoint.manifest
                    answer = {"model": manifest.model, "version": manifest.version, "predictions": [step]}
                    yield _event("prediction", answer)
                    return
    finally:
        inference.close(codec)


def _event(name: str, data: Mapping[str, object]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY))
