"""Requests that are sent before the answers to others: some are taken, and a client that sends more costs little."""

from __future__ import annotations

import asyncio
import gc

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app import bodies
from app.protocol import PIPELINED_REQUESTS
from unit.app.asking import Asked, answers, connections, hold, request, until

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
CLOSE = b"connection: close\r\n"


class Held:
    """Answers the first request when it is let go, all others at once."""

    def __init__(self, *, looking: bool = False) -> None:
        self.go_on = asyncio.Event()
        self.begun = 0
        self._looking = looking

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        self.begun += 1
        if self._looking:  # whether its client has left, which has the connection read on
            await receive()
            left = bodies.has_left(receive)
            while not self.go_on.is_set():
                assert not left()
                await asyncio.sleep(0.001)
        await self.go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


def _kept() -> int:
    return sum(type(each) is RequestResponseCycle for each in gc.get_objects())


async def test_what_is_sent_at_once_is_taken_up_to_a_number() -> None:
    """The last answer says that it is the last; what comes meanwhile is thrown away, and none of it is kept."""
    app = Held()
    async with connections(app) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET * 13_000)
        await until(lambda: app.begun == 1)
        assert _kept() <= PIPELINED_REQUESTS
        app.go_on.set()
        for _ in range(3):
            writer.write(GET * 1000)
            await asyncio.sleep(0)
        found = await answers(reader, PIPELINED_REQUESTS + 1)
        writer.close()
    assert found.count(b"HTTP/1.1 200 OK") == app.begun == PIPELINED_REQUESTS
    assert b"HTTP/1.1 400" not in found
    assert found.count(CLOSE) == 1
    assert CLOSE in found.split(b"HTTP/1.1")[-1]


async def test_what_waits_is_taken_up_to_a_number() -> None:
    """However few come at a time."""
    app = Held(looking=True)
    async with connections(app) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2 * PIPELINED_REQUESTS):
            writer.write(GET)
            await writer.drain()
            await asyncio.sleep(0.005)
        assert _kept() <= PIPELINED_REQUESTS + 1
        app.go_on.set()
        found = await answers(reader, PIPELINED_REQUESTS + 2)
        writer.close()
    assert found.count(b"HTTP/1.1 200 OK") == PIPELINED_REQUESTS + 1
    assert CLOSE in found.split(b"HTTP/1.1")[-1]


async def test_so_many_may_be_sent_at_once() -> None:
    """Their connection goes on."""
    app = Held()
    app.go_on.set()
    async with connections(app) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(GET * PIPELINED_REQUESTS)
            found = await answers(reader, PIPELINED_REQUESTS)
            assert found.count(b"HTTP/1.1 200 OK") == PIPELINED_REQUESTS
            assert CLOSE not in found
        writer.close()


@pytest.mark.parametrize(
    ("sent", "waits"), [(request(), True), (request(b"", Host="elsewhere.example"), False)], ids=["computed", "refused"]
)
async def test_predictions_sent_at_once_are_taken_up_to_a_number(asked: Asked, sent: bytes, *, waits: bool) -> None:
    """Also where each is answered on its connection before the next is read: none waits, but everybody else does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", asked.port)
    writer.write(sent * PIPELINED_REQUESTS)
    assert (await answers(reader, PIPELINED_REQUESTS)).count(b"HTTP/1.1 ") == PIPELINED_REQUESTS
    writer.write(sent * 500)
    found = await answers(reader, 500)
    assert found.count(b"HTTP/1.1 ") == PIPELINED_REQUESTS
    assert waits or asked.direct == 2 * PIPELINED_REQUESTS
    writer.close()


async def test_a_prediction_that_waits_is_answered_before_its_connection_ends(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so are those behind it that were taken, in their order."""
    reader, writer = await asyncio.open_connection("127.0.0.1", asked.port)
    with monkeypatch.context() as patched:
        held = hold(patched)
        writer.write(request() + request(path="/v2/models/none/infer") * 500)
        await until(lambda: bool(held))
        await asyncio.sleep(0.05)
    held[0]()
    first, *others = (await answers(reader, 500)).split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"200 OK")
    assert [other[:3] for other in others] == [b"404"] * (PIPELINED_REQUESTS - 1)
    assert CLOSE in others[-1]
    writer.close()
