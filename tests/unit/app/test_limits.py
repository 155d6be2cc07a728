"""Bodies that come slowly, and connections that never come to the point."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from app import protocol
from app.protocol import HEADER_LIMIT_BYTES, BoundedProtocol

Open = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def _asked(app: FastAPI, path: str, *pieces: Message, content_type: str = "application/json") -> list[Message]:
    """Ask with a body of which no more comes after ``pieces``."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(b"content-type", content_type.encode())],
    }
    left = [*pieces]
    sent: list[Message] = []

    async def receive() -> Message:
        return left.pop(0) if left else await asyncio.Event().wait()  # type: ignore[return-value]

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


@pytest.mark.parametrize("overrides", [{"body_seconds": 0.05, "upload_seconds": 0.05}])
@pytest.mark.parametrize(
    ("path", "content_type"), [("/v1/jobs", "application/json"), ("/v1/datasets", "multipart/form-data; boundary=x")]
)
async def test_a_body_that_does_not_come_is_given_up(gateway: FastAPI, path: str, content_type: str) -> None:
    """The connection, too: what would come on it is the rest."""
    first = {"type": "http.request", "body": b"--x\r\n", "more_body": True}
    start, body = await _asked(gateway, path, first, content_type=content_type)
    assert (start["status"], orjson.loads(body["body"])["code"]) == (408, "body_too_slow")
    assert (b"connection", b"close") in start["headers"]


@pytest.mark.parametrize("overrides", [{"body_seconds": 0.05}])
async def test_a_body_has_its_time_as_a_whole(gateway: FastAPI) -> None:
    """A byte now and then does not extend it; an upload has a time of its own."""

    async def drip() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b" ", "more_body": True}

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/v1/jobs", "query_string": b"", "headers": []}
    async with asyncio.timeout(5):
        await gateway(scope, drip, send)
    assert sent[0]["status"] == 408


@pytest.mark.parametrize("overrides", [{"body_seconds": 0.01}])
async def test_what_follows_the_body_may_take_long(gateway: FastAPI) -> None:
    """Streams wait for their client to leave."""
    whole = {"type": "http.request", "body": b"{}", "more_body": False}
    sent = await _asked(gateway, "/v1/models/none/classify", whole)
    assert sent[0]["status"] == 404


@pytest.fixture
def idle_seconds() -> float:
    """Return how long a connection may be idle."""
    return 60.0


@pytest.fixture
async def opened(monkeypatch: pytest.MonkeyPatch, idle_seconds: float) -> AsyncIterator[Open]:
    """Serve on a free port what answers at once, without reading bodies; return how to connect."""
    for name in ("HEADER_SECONDS", "LINGER_SECONDS"):
        monkeypatch.setattr(protocol, name, 0.1)

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    config = uvicorn.Config(app, http=BoundedProtocol, log_config=None, lifespan="off")
    config.timeout_keep_alive = idle_seconds  # type: ignore[assignment] - shorter than the whole seconds of the option
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server._serve([listener]))
        yield lambda: asyncio.open_connection(*listener.getsockname())
        server.should_exit = True
        await serving


async def _ended(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the server closes."""
    async with asyncio.timeout(5):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET "])
async def test_headers_that_do_not_end_are_not_waited_for(opened: Open, sent: bytes) -> None:
    """Of the first request of a connection or of a later one."""
    reader, writer = await opened()
    writer.write(sent)
    assert (await _ended(reader)).count(b"200 OK") == sent.count(b"\r\n\r\n")
    writer.close()


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"GET / HTTP/1.1\r\nX: ", b"x" * 1000),
        (b"GET / HTTP/1.1\r\n", b"X: " + b"x" * 1000 + b"\r\n"),
        (b"GET /", b"x" * 1000),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: " + b"x" * 1000 + b"\r\n"),
    ],
)
async def test_headers_without_end_do_not_fill_the_memory(
    opened: Open, start: bytes, more: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One long one, many short ones, a long path, or trailers after a body."""
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 60)
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 60)
    reader, writer = await opened()
    writer.write(start)
    written = 0
    async with asyncio.timeout(20):
        while not reader.at_eof() and written < 100 * HEADER_LIMIT_BYTES:
            try:
                writer.write(more)
                await writer.drain()
            except ConnectionError:
                break
            written += len(more)
            await asyncio.sleep(0)
    assert written < 40 * HEADER_LIMIT_BYTES
    writer.close()


async def test_the_rest_of_an_answered_request_is_thrown_away_for_a_while(opened: Open) -> None:
    """The client has its answer, then the connection ends."""
    reader, writer = await opened()
    writer.write(b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\nx")
    assert (await _ended(reader)).endswith(b"ok")
    writer.close()


async def test_whole_requests_keep_their_connection(opened: Open) -> None:
    """Also one whose body comes after its answer, and longer than the bounds."""
    reader, writer = await opened()
    for _ in range(3):
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        writer.write(b"abc")
        await asyncio.sleep(0.15)
    assert not reader.at_eof()
    writer.close()


@pytest.mark.parametrize("idle_seconds", [0.4])
async def test_a_connection_is_idle_since_its_last_answer(opened: Open) -> None:
    """Not since the one before it: while requests come, however seldom, it stays."""
    reader, writer = await opened()
    for _ in range(6):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(0.15)
    assert await _ended(reader) == b""
    writer.close()
