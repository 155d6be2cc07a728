"""Requests that are not done when the gateway has waited for them as long as it does: cut off, but told so."""

from __future__ import annotations

import asyncio
import signal
import socket

import pytest
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from app.main import create_app
from app.server import Server
from app.settings import GatewaySettings
from unit.app.asking import SECONDS, hold, request, until
from unit.app.publishing import Publisher

INFER, CLASSIFY = "/v2/models/{model}/infer", "/v1/models/{model}/{verb}"
CUT_OFF = {
    "on its connection": (request(), INFER, "infer", b'{"error":"The gateway is shutting down'),
    "through the layers": (request(Expect="x"), INFER, "infer", b'{"error":"The gateway is shutting down'),
    "a verb": (
        request(b'{"inputs": [[[0, 1], [2, 3]]]}', path="/v1/models/tiny/classify"),
        CLASSIFY,
        "classify",
        b'"code":"draining"',
    ),
}


@pytest.mark.parametrize(("sent", "route", "verb", "told"), CUT_OFF.values(), ids=CUT_OFF.keys())
async def test_what_is_cut_off_is_told_and_counted(
    settings: GatewaySettings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    sent: bytes,
    route: str,
    verb: str,
    told: bytes,
) -> None:
    """Not a 500, no end without an answer, and no traceback; what is computed after it disturbs nobody."""
    app = create_app(settings)
    services, ready = app.state.services, asyncio.Event()
    Publisher(services.store, services.versions).publish()

    async def is_ready() -> None:
        await services.registry.find("tiny", None)
        ready.set()

    server = Server(app, 0, services.draining, is_ready)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        await asyncio.wait_for(ready.wait(), SECONDS)
        held = hold(monkeypatch)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(sent)
        await until(lambda: bool(held))
        server.handle_exit(signal.SIGTERM, None)
        answer = await asyncio.wait_for(reader.readuntil(b"}"), SECONDS)
        await asyncio.wait_for(serving, SECONDS)
        held[0]()
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert {b"retry-after: 5", b"connection: close"} <= set(head.lower().split(b"\r\n"))
    assert told in body
    assert [record.message for record in caplog.records if record.exc_info] == []
    services.metrics.refresh(())
    counted = services.metrics.registry.get_sample_value
    assert counted("lectern_http_requests_total", {"route": route, "method": "POST", "status": "503"}) == 1
    assert counted(
        "lectern_prediction_seconds_count",
        {"project": "default", "model": "tiny", "version": "1", "verb": verb, "outcome": "draining"},
    )


async def _cancelled(app: FastAPI, sent: list[Message], *, answering: bool) -> bool:
    """Cancel a request within its body; return whether it ended by that alone."""

    async def receive() -> Message:
        return await asyncio.Event().wait()  # type: ignore[return-value] - it never comes

    async def send(message: Message) -> None:
        sent.append(message)

    async def begins(_scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await receive()

    if answering:
        app.front._app = begins  # type: ignore[attr-defined] - of our own class
    scope = {"type": "http", "method": "POST", "path": "/v1/jobs", "query_string": b"", "headers": []}
    task = asyncio.create_task(app(scope, receive, send))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait([task])
    return task.cancelled()


async def test_who_has_the_beginning_of_an_answer_gets_no_other(gateway: FastAPI) -> None:
    """The connection is closed within it; that is no mistake either."""
    sent: list[Message] = []
    gateway.state.services.draining.set()
    assert not await _cancelled(gateway, sent, answering=True)
    assert [message["type"] for message in sent] == ["http.response.start"]


async def test_nobody_is_told_of_a_stop_that_does_not_come(gateway: FastAPI) -> None:
    """The control: whatever else cancels a request has no answer."""
    sent: list[Message] = []
    assert await _cancelled(gateway, sent, answering=False)
    assert sent == []
