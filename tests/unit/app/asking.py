"""Requests for predictions as bytes, and a server of the gateway that is sent them."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial

import numpy as np
import orjson
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from app.exchange import Direct, Exchange
from app.protocol import BoundedProtocol
from app.serving.batching import Batcher
from app.serving.runs import Done, Item
from app.serving.tickets import Ticket
from models.contract.task import Arrays

PATH = "/v2/models/tiny/infer"
VALUES = np.arange(4, dtype=np.float32).reshape(1, 2, 2)
IMAGES = {"name": "images", "shape": [1, 2, 2], "datatype": "FP32"}
PLAIN = orjson.dumps({"inputs": [{**IMAGES, "data": [0, 1, 2, 3]}]})
SECONDS = 10
OWN = re.compile(rb"(date|server-timing|x-request-id|traceparent): [^\r]*\r\n")


def request(body: bytes = PLAIN, path: str = PATH, version: str = "1.1", **headers: str) -> bytes:
    """Return the bytes of a request."""
    given = {"Host": "localhost", "Content-Length": str(len(body))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
    return f"POST {path} HTTP/{version}\r\n{lines}\r\n".encode() + body


def binary(values: bytes = VALUES.tobytes(), **more: object) -> bytes:
    """Return the bytes of a request with its tensor as bytes."""
    tensor = {**IMAGES, "parameters": {"binary_data_size": len(values)}}
    text = orjson.dumps({"inputs": [tensor], **more})
    return request(text + values, Inference_Header_Content_Length=str(len(text)))


class Asked:
    """A server of the gateway, and how many of its requests were answered on their connection."""

    def __init__(self, app: FastAPI, port: int) -> None:
        self._app = app
        self._direct: Direct = app.direct  # type: ignore[attr-defined] - of our own class
        self.port = port
        self.direct = 0

    def counted(self, end: Callable[[Exchange, int, str], None]) -> Callable[[Exchange, int, str], None]:
        """Return ``end`` with a count."""

        def ended(exchange: Exchange, status: int, outcome: str) -> None:
            self.direct += 1
            end(exchange, status, outcome)

        return ended

    async def ask(self, *pieces: bytes, directly: bool = True) -> bytes:
        """Return all that comes back on one connection, which is closed for sending after the last piece."""
        self._app.direct = self._direct if directly else None  # type: ignore[attr-defined] - as above
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for number, piece in enumerate(pieces):
            if number:
                await asyncio.sleep(0.02)
            writer.write(piece)
            await writer.drain()
        answer = await answers(reader, len(re.findall(rb"POST /", b"".join(pieces))))
        writer.close()
        self._app.direct = self._direct  # type: ignore[attr-defined] - as above
        return answer


@asynccontextmanager
async def connections(app: ASGIApp) -> AsyncGenerator[tuple[int, set[BoundedProtocol]]]:
    """Serve ``app``; yield the port and the connections that there are."""
    config = uvicorn.Config(app, http=BoundedProtocol, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server._serve([listener]))
        yield listener.getsockname()[1], server.server_state.connections  # type: ignore[misc] - all are of this kind
        server.should_exit = True
        await serving


def hold(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """Let every run wait; whenever it would be the turn of a queue, the list gets what lets it go on."""
    submit, dispatch, held = Batcher.submit, Batcher._dispatch, list[Callable[[], None]]()

    def waiting(batcher: Batcher, arrays: Arrays, ticket: Ticket, done: Done, *, admitted: bool = False) -> Item:
        batcher._alone = False
        return submit(batcher, arrays, ticket, done, admitted=admitted)

    monkeypatch.setattr(Batcher, "submit", waiting)
    monkeypatch.setattr(Batcher, "_dispatch", lambda batcher: held.append(partial(dispatch, batcher)))
    return held


async def answers(reader: asyncio.StreamReader, count: int) -> bytes:
    """Return ``count`` answers, or what came before the connection ended."""
    found = b""
    for _ in range(count):
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SECONDS)
        except asyncio.IncompleteReadError as error:
            return found + error.partial
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        assert length
        found += head + await asyncio.wait_for(reader.readexactly(int(length[1])), SECONDS)
    return found


def lines(answer: bytes) -> list[bytes]:
    """Return head and body; headers have no order."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return [*sorted(head.split(b"\r\n")), body]


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not true():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
