"""Answers that nobody reads: what waits to be sent is given up, and with it whatever waits for that."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from app import protocol, send_timeout
from app.dependencies import Services
from app.send_timeout import SendTimeout
from unit.app.asking import Asked, connections, request, until

SECONDS = 0.5
"""How long a client may take nothing in these tests."""

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
STUCK = 20
"""Looks at which a request is still there that waits for its client."""

LARGE_BYTES = 8 * 2**20
"""More than both systems keep."""


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off soon."""
    monkeypatch.setattr(send_timeout, "SEND_SECONDS", SECONDS)


async def large(_scope: Scope, _receive: Receive, send: Send) -> None:
    length = (b"content-length", b"%d" % LARGE_BYTES)
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": bytes(LARGE_BYTES)})


async def pieces(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(LARGE_BYTES // 2**14):
        await send({"type": "http.response.body", "body": bytes(2**14), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def silent(port: int, sent: bytes, receive_bytes: int = 4096) -> AsyncGenerator[socket.socket]:
    """Yield a connection on which something was sent and nothing is read."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.setblocking(False)  # noqa: FBT003 - the name of the method says what it is
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, sent)
        yield client


@pytest.mark.parametrize("sent", [GET, GET * 10, GET.replace(b"1.1", b"1.0")], ids=["one", "many", "the last"])
@pytest.mark.parametrize("app", [large, pieces])
async def test_who_reads_nothing_is_cut_off(app: ASGIApp, sent: bytes) -> None:
    """Whether the answer waits to be sent as a whole or in part, before others or before the end."""
    async with connections(app) as (port, opened), silent(port, sent):
        await until(lambda: bool(opened))
        await asyncio.sleep(SECONDS)
        assert opened
        await until(lambda: not opened)
        await until(lambda: not any("run_asgi" in repr(task) for task in asyncio.all_tasks()))


def test_so_it_is_on_the_loop_that_is_used() -> None:
    """uvloop, which has transports of its own."""

    async def cut_off() -> None:
        async with connections(large) as (port, opened), silent(port, GET):
            await until(lambda: bool(opened))
            await until(lambda: not opened)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(cut_off())


async def _reads_slowly() -> bytes:
    """Return what comes to a client that takes a little at a time, for many times as long as it may take nothing."""
    found = b""
    loop = asyncio.get_running_loop()
    async with connections(large) as (port, _), silent(port, GET, 2**16) as client:
        began = loop.time()
        try:
            while loop.time() - began < 6 * SECONDS:
                found += await loop.sock_recv(client, 2**13)
                await asyncio.sleep(0.013)
            while piece := await loop.sock_recv(client, 2**20):
                found += piece
                if len(found) > LARGE_BYTES:
                    break
        except ConnectionError:
            pass
    return found


async def test_who_reads_slowly_is_waited_for() -> None:
    """However long it takes, also when the system, which keeps megabytes, takes nothing from us meanwhile."""
    assert len(await _reads_slowly()) > LARGE_BYTES


async def test_what_the_system_keeps_tells_of_slow_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: without a look at it they would be cut off."""
    monkeypatch.setattr(send_timeout.fcntl, "ioctl", lambda *_: b"")
    assert len(await _reads_slowly()) < LARGE_BYTES


ENDS = {
    "closed with it": (GET.replace(b"1.1", b"1.0"), b""),
    "idle": (GET, b""),
    "half closed": (GET, None),
    "a body to come": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", b""),
    "no request": (GET, b"\0"),
}


@pytest.mark.parametrize(("sent", "later"), ENDS.values(), ids=ENDS.keys())
async def test_a_little_that_is_unread_keeps_no_connection(
    monkeypatch: pytest.MonkeyPatch, sent: bytes, later: bytes | None
) -> None:
    """Less than what writing pauses for: a connection that is closed waits for it."""
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.3)

    async def fills(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        (connection,) = opened
        while not connection.transport.get_write_buffer_size():
            await send({"type": "http.response.body", "body": bytes(2**12), "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b""})
        assert not connection.flow.write_paused

    async with connections(fills) as (port, opened), silent(port, b"") as client:
        await until(lambda: bool(opened))
        (connection,) = opened
        connection.timeout_keep_alive = 60 if later is None else 0.3  # type: ignore[assignment] - whole seconds are long
        await connection.loop.sock_sendall(client, sent)
        await until(lambda: connection.idle_since > 0)
        if later is None:
            client.shutdown(socket.SHUT_WR)
        else:
            await connection.loop.sock_sendall(client, later)
        await until(connection.transport.is_closing)
        assert opened
        await until(lambda: not opened)


async def test_what_is_left_of_the_last_answer_is_not_waited_for_either() -> None:
    """Once little is left, writing goes on, but nothing more is written."""
    async with connections(large) as (port, opened), silent(port, GET.replace(b"1.1", b"1.0")):
        await until(lambda: any(connection.transport.is_closing() for connection in opened))
        for connection in opened:
            connection.resume_writing()
        await until(lambda: not opened)


async def test_who_has_read_everything_may_wait() -> None:
    """For an answer that takes long: nothing is left that could be taken."""
    async with connections(large) as (port, opened), silent(port, b""):
        await until(lambda: bool(opened))
        (connection,) = opened
        watched = SendTimeout(connection.transport, connection.loop)
        await asyncio.sleep(2 * SECONDS)
        assert opened
        watched.stop()


async def test_a_prediction_that_nobody_reads_leaves_its_place(asked: Asked, services: Services) -> None:
    """Else clients that do not read could fill all places there are."""
    (endpoint,) = services.registry.endpoints()
    looks: list[int] = []
    document = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with silent(asked.port, (document + request()) * 16):
        await until(lambda: looks.append(endpoint.in_flight) or looks[-STUCK:] == [1] * STUCK)
        await until(lambda: endpoint.in_flight == 0)
