"""Predictions answered on their connection: the same as through the framework, in every way that a request can go."""

from __future__ import annotations

import asyncio
import gc
import re
import socket
import weakref
from collections.abc import AsyncIterator, Callable

import numpy as np
import orjson
import pytest
import uvicorn
from fastapi import FastAPI

from app.access.keys import Keys
from app.access.scopes import Scope
from app.dependencies import Services
from app.exchange import Direct, Exchange
from app.protocol import BoundedProtocol
from app.serving import registry
from app.serving.batching import Batcher
from app.serving.runs import Item
from app.serving.tickets import Ticket
from app.shedding import Turns
from unit.app.publishing import Publisher

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
        answer = await _answers(reader, len(re.findall(rb"POST /", b"".join(pieces))))
        writer.close()
        self._app.direct = self._direct  # type: ignore[attr-defined] - as above
        return answer


@pytest.fixture
async def asked(gateway: FastAPI, publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asked]:
    """Return a server with a model in memory."""
    publisher.publish()
    monkeypatch.setattr(registry, "BELIEVED_SECONDS", 60.0)
    monkeypatch.setattr(registry.Registry, "forget", lambda *_: None)
    config = uvicorn.Config(gateway, http=BoundedProtocol, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = Asked(gateway, listener.getsockname()[1])
        serving = asyncio.create_task(server._serve([listener]))
        monkeypatch.setattr(Exchange, "_end", found.counted(Exchange._end))
        await found.ask(request(), directly=False)
        yield found
        server.should_exit = True
        await serving


SAME = {
    "JSON": request(),
    "an id": request(orjson.dumps({"id": "mine", "inputs": [{**IMAGES, "data": [0, 1, 2, 3]}]})),
    "nested": request(orjson.dumps({"inputs": [{**IMAGES, "data": [[[0, 1], [2, 3]]]}]})),
    "one output": request(
        orjson.dumps({"inputs": [{**IMAGES, "data": [0, 1, 2, 3]}], "outputs": [{"name": "probabilities"}]})
    ),
    "bytes in": binary(),
    "bytes both ways": binary(parameters={"binary_data_output": True}),
    "a version": request(path="/v2/models/tiny/versions/1/infer"),
    "with a query": request(path=f"{PATH}?a=b"),
    "the last on its connection": request(Connection="close"),
    "HTTP/1.0": request(version="1.0"),
    "in one of several runs": request(
        orjson.dumps({"inputs": [{**IMAGES, "shape": [200, 2, 2], "data": list(range(800))}]})
    ),
    "no JSON": request(b"{"),
    "nothing": request(b""),
    "another shape": request(orjson.dumps({"inputs": [{**IMAGES, "shape": [1, 2, 3], "data": [0] * 6}]})),
    "not a number": binary(np.full(4, np.nan, np.float32).tobytes()),
    "too few bytes": binary(VALUES.tobytes()[:-4]),
    "a header that is no number": request(Inference_Header_Content_Length="some"),
    "a foreign host": request(Host="elsewhere.example"),
    "a foreign origin": request(Origin="https://elsewhere.example"),
    "a deadline that has passed": request(
        orjson.dumps({"inputs": [{**IMAGES, "data": [0, 1, 2, 3]}], "parameters": {"timeout": 1}})
    ),
    "too deep": request(b"[" * 100 + b"]" * 100),
}

OTHERS = {
    "another model": request(path="/v2/models/other/infer"),
    "an unknown version": request(path="/v2/models/tiny/versions/7/infer"),
    "an escaped path": request(path="/v2/models/tin%79/infer"),
    "a verb": request(b'{"inputs": [[[0, 1], [2, 3]]]}', path="/v1/models/tiny/classify"),
    "chunked": request(b"", Content_Length="", Transfer_Encoding="chunked")
    + b"%x\r\n" % len(PLAIN)
    + PLAIN
    + b"\r\n0\r\n\r\n",
    "an encoding": request(Content_Encoding="br"),
    "a length twice": request().replace(b"\r\n\r\n", b"\r\nContent-Type: a/b\r\nContent-Type: a/b\r\n\r\n", 1),
}


def comparable(answer: bytes) -> tuple[list[bytes], bytes]:
    """Return the headers that do not tell of one answer alone, sorted, and the body."""
    head, _, body = OWN.sub(b"", answer).partition(b"\r\n\r\n")
    return sorted(head.split(b"\r\n")), body


@pytest.mark.parametrize("sent", SAME.values(), ids=SAME.keys())
async def test_an_exchange_answers_as_the_framework_does(asked: Asked, sent: bytes) -> None:
    """Status, headers and body; and it is an exchange that answers."""
    found = await asked.ask(sent)
    assert asked.direct == 1
    expected = await asked.ask(sent, directly=False)
    assert asked.direct == 1
    assert comparable(found) == comparable(expected)


@pytest.mark.parametrize("sent", OTHERS.values(), ids=OTHERS.keys())
async def test_what_is_not_plain_goes_on(asked: Asked, sent: bytes) -> None:
    """To the framework, which answers it as ever."""
    found = await asked.ask(sent)
    assert asked.direct == 0
    assert comparable(found) == comparable(await asked.ask(sent, directly=False))


async def test_ids_traces_and_times_come_with_the_answer(asked: Asked) -> None:
    """As through the framework."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await asked.ask(request(X_Request_Id="mine", traceparent=trace))
    assert b"x-request-id: mine\r\n" in answer
    assert re.search(rb"traceparent: 00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01\r\n", answer)
    assert re.search(rb"server-timing: queue;dur=[0-9.]+, infer;dur=[0-9.]+\r\n", answer)
    assert b"x-request-id: bad" not in await asked.ask(request(X_Request_Id="bad id"))


async def test_pieces_and_later_requests_on_one_connection(asked: Asked) -> None:
    """A body may come in pieces, the next request after it or together with it."""
    sent = request()
    answer = await asked.ask(sent[:20], sent[20:-10], sent[-10:-3], sent[-3:] + sent + sent)
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert asked.direct >= 1


async def test_keys_are_asked_for(asked: Asked, gateway: FastAPI, services: Services) -> None:
    """With none, a wrong one, one of another scope; and one that is right, of which each request is counted once."""
    keys = Keys(services.store)
    secrets = {scope: keys.create(scope.value, (scope,))[1] for scope in (Scope.PREDICT, Scope.TRAIN)}
    gateway.state.keyring.refresh()
    answers = [
        await asked.ask(request(Authorization=value))
        for value in ("", "Bearer lk_0_0", f"Bearer {secrets[Scope.TRAIN]}", f"Bearer {secrets[Scope.PREDICT]}")
    ]
    assert [answer.split()[1] for answer in answers] == [b"401", b"401", b"403", b"200"]
    assert asked.direct == 4


async def test_a_client_that_leaves_is_counted_and_costs_no_run(
    asked: Asked, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is computed for a request whose connection was lost while it waited."""
    dispatch = Batcher._dispatch
    held: list[Batcher] = []
    monkeypatch.setattr(Batcher, "_dispatch", lambda batcher: held.append(batcher))  # noqa: PLW0108 - to be bound
    (endpoint,) = services.registry.endpoints()
    before = endpoint.statistics.rows
    _, writer = await asyncio.open_connection("127.0.0.1", asked.port)
    writer.write(request())
    await _until(lambda: bool(held))
    writer.transport.abort()
    await asyncio.sleep(0.05)
    dispatch(held[0])
    await _until(lambda: asked.direct == 1)
    assert endpoint.statistics.rows == before
    assert endpoint.in_flight == 0


async def test_a_client_that_leaves_within_its_body_is_let_go_at_once(asked: Asked) -> None:
    """Nothing is kept of it until the body's time is over."""
    _, writer = await asyncio.open_connection("127.0.0.1", asked.port)
    writer.write(request()[:-5])
    await asyncio.sleep(0.05)
    writer.transport.abort()
    await _until(lambda: asked.direct == 1)


@pytest.mark.parametrize("overrides", [{"max_queue_size": 1}])
async def test_a_full_queue_refuses_before_the_body(asked: Asked, services: Services) -> None:
    """On the headers, with the time to come back; the rest of the body is read and thrown away."""
    (endpoint,) = services.registry.endpoints()
    other = Ticket()
    endpoint.begin(other)
    sent = request()
    head, body = sent.split(b"\r\n\r\n")
    answer = await asked.ask(head + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"retry-after: 1\r\n" in answer.lower()
    reader, writer = await asyncio.open_connection("127.0.0.1", asked.port)
    writer.write(head + b"\r\n\r\n")
    assert b"429" in await _answers(reader, 1)
    endpoint.answered(other, "infer", "ok", 0.0)
    writer.write(body + sent)
    assert b" 200 OK" in await _answers(reader, 1)
    writer.close()


@pytest.mark.parametrize("overrides", [{"max_batch_size": 1, "max_queue_wait_microseconds": 10_000}])
async def test_slow_answers_make_a_queue_shorter(asked: Asked, services: Services) -> None:
    """Four full runs may always be on their way; more only while each is answered in time."""
    (endpoint,) = services.registry.endpoints()
    others = [Ticket() for _ in range(4)]
    for other in others:
        endpoint.begin(other)
    assert (await asked.ask(request())).startswith(b"HTTP/1.1 200 ")
    await asyncio.sleep(0.02)
    assert (await asked.ask(request())).startswith(b"HTTP/1.1 429 ")
    endpoint.answered(others[0], "infer", "ok", 0.0)
    assert (await asked.ask(request())).startswith(b"HTTP/1.1 200 ")


async def test_what_is_refused_unread_is_answered_as_the_rest(
    asked: Asked, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its own id, counted like any other, and the connection goes on; another request than the last is read."""
    (endpoint,) = services.registry.endpoints()
    sent, other = request(X_Request_Id="mine"), request(path="/v2/models/tiny/versions/1/infer")
    reader, writer = await asyncio.open_connection("127.0.0.1", asked.port)
    writer.write(sent)
    assert b" 200 OK" in await _answers(reader, 1)
    with monkeypatch.context() as patched:
        patched.setattr(Turns, "late", lambda _: True)
        read = await asked.ask(sent)
        writer.write(sent)
        unread = await _answers(reader, 1)
        assert asked.direct == 2, "the second of this connection was none of an exchange's"
        writer.write(other)
        assert b" 429 " in await _answers(reader, 1)
        assert asked.direct == 3
    assert unread.startswith(b"HTTP/1.1 429 ")
    assert b"x-request-id: mine\r\n" in unread
    assert _lines(OWN.sub(b"", unread)) == _lines(OWN.sub(b"", read))
    assert endpoint.statistics.fail.count == 3
    writer.write(sent)
    assert b" 200 OK" in await _answers(reader, 1)
    writer.close()


async def test_a_head_that_repeats_is_refused_by_its_length(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each refusal has an id of its own; what is shorter or longer than the last one is read as it comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", asked.port)
    sent, read = request(), asked.direct
    writer.write(sent)
    assert b" 200 OK" in await _answers(reader, 1)
    found: list[bytes] = []
    with monkeypatch.context() as patched:
        patched.setattr(Turns, "late", lambda _: True)
        for _ in range(3):
            writer.write(sent)
            found.append(await _answers(reader, 1))
        assert asked.direct == read + 1
        for piece, count in ((sent[:-3], 0), (sent[-3:], 1), (sent + sent, 2)):
            writer.write(piece)
            await asyncio.sleep(0.05)
            found.append(await _answers(reader, count))
        assert asked.direct == read + 4
    answers = re.findall(rb"HTTP/1.1 429 ", b"".join(found))
    assert (len(answers), len(set(re.findall(rb"x-request-id: (\w+)", b"".join(found))))) == (6, 6)
    writer.write(sent)
    assert b" 200 OK" in await _answers(reader, 1)
    writer.close()


async def test_requests_leave_nothing_to_the_collector(asked: Asked) -> None:
    """Cycles would be found at some later time, and looking for them delays whoever asks then."""
    reader, writer = await asyncio.open_connection("127.0.0.1", asked.port)
    gc.collect()
    gc.disable()
    try:
        for sent in (request(), binary(), request(b"{}")) * 5:
            writer.write(sent)
            await _answers(reader, 1)
        left = [each for each in gc.get_objects() if isinstance(each, Exchange | Ticket | Item)]
    finally:
        gc.enable()
    assert [type(each) for each in left] == [Exchange], "the last one of the connection"
    writer.close()


async def test_an_unloaded_version_is_not_kept_by_a_connection(asked: Asked, services: Services) -> None:
    """That asked it last and stays open."""
    reader, writer = await asyncio.open_connection("127.0.0.1", asked.port)
    writer.write(request())
    assert b" 200 OK" in await _answers(reader, 1)
    (endpoint,) = services.registry.endpoints()
    gone = weakref.ref(endpoint)
    del endpoint
    services.registry.unload("tiny")
    gc.collect()
    assert gone() is None
    writer.close()


@pytest.mark.parametrize("overrides", [{"body_seconds": 0.1}])
async def test_a_body_that_takes_too_long_is_refused(asked: Asked) -> None:
    """And its connection is closed."""
    sent = request()
    reader, writer = await asyncio.open_connection("127.0.0.1", asked.port)
    writer.write(sent[:-5])
    answer = await asyncio.wait_for(reader.read(), SECONDS)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert asked.direct == 1
    writer.close()


async def test_a_mistake_of_ours_is_a_500_and_the_next_request_is_answered(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the end of the connection, and no hanging client."""
    with monkeypatch.context() as patched:

        def fail(*_: object) -> None:
            raise KeyError("ours")

        patched.setattr("app.routes.inference.written", fail)
        answer = await asked.ask(request())
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"Something went wrong" in answer
    assert b" 200 OK" in await asked.ask(request())


async def _answers(reader: asyncio.StreamReader, count: int) -> bytes:
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


def _lines(answer: bytes) -> list[bytes]:
    """Return head and body; headers have no order."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return [*sorted(head.split(b"\r\n")), body]


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not true():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
