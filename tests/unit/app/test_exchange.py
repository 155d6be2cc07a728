"""Predictions answered on their connection: the same as through the framework, in every way that a request can go."""

from __future__ import annotations

import asyncio
import gc
import re
import weakref

import numpy as np
import orjson
import pytest
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app.access.keys import Keys
from app.access.scopes import Scope
from app.dependencies import Services
from app.exchange import Exchange
from app.protocol import BoundedProtocol
from app.serving.runs import Item
from app.serving.tickets import Ticket
from unit.app.asking import IMAGES, OWN, PATH, PLAIN, SECONDS, VALUES, Asked, answers, binary, hold, request, until

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
    found = [
        await asked.ask(request(Authorization=value))
        for value in ("", "Bearer lk_0_0", f"Bearer {secrets[Scope.TRAIN]}", f"Bearer {secrets[Scope.PREDICT]}")
    ]
    assert [answer.split()[1] for answer in found] == [b"401", b"401", b"403", b"200"]
    assert asked.direct == 4


async def test_a_client_that_leaves_is_counted_and_costs_no_run(
    asked: Asked, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is computed for a request whose connection was lost while it waited."""
    held = hold(monkeypatch)
    (endpoint,) = services.registry.endpoints()
    before = endpoint.statistics.rows
    _, writer = await asyncio.open_connection("127.0.0.1", asked.port)
    writer.write(request())
    await until(lambda: bool(held))
    writer.transport.abort()
    await asyncio.sleep(0.05)
    held[0]()
    await until(lambda: asked.direct == 1)
    assert endpoint.statistics.rows == before
    assert endpoint.in_flight == 0


async def test_a_client_that_leaves_within_its_body_is_let_go_at_once(asked: Asked) -> None:
    """Nothing is kept of it until the body's time is over."""
    _, writer = await asyncio.open_connection("127.0.0.1", asked.port)
    writer.write(request()[:-5])
    await asyncio.sleep(0.05)
    writer.transport.abort()
    await until(lambda: asked.direct == 1)


async def test_requests_leave_nothing_to_the_collector(asked: Asked) -> None:
    """Cycles would be found at some later time, and looking for them delays whoever asks then."""
    reader, writer = await asyncio.open_connection("127.0.0.1", asked.port)
    gc.collect()
    gc.disable()
    try:
        for sent in (request(), binary(), request(b"{}")) * 5:
            writer.write(sent)
            await answers(reader, 1)
        left = [found for each in gc.get_objects() if (found := type(each)) in (Exchange, Ticket, Item)]
    finally:
        gc.enable()
    assert left == []
    writer.close()


LEAVING = {
    "answered": (request(), True),
    "answered by the framework": (OTHERS["chunked"], True),
    "cut off": (request()[:-3], False),
    "waiting": (request(), False),
    "several at once": (OTHERS["chunked"] * 2, False),
    "more at once than are taken": (OTHERS["chunked"] * 40, False),
}


@pytest.mark.parametrize(("sent", "answered"), LEAVING.values(), ids=LEAVING.keys())
async def test_connections_leave_nothing_to_the_collector(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, sent: bytes, *, answered: bool
) -> None:
    """Neither those that had their answer nor those that left before one of their own."""
    held = [] if answered else hold(monkeypatch)

    def left() -> list[type]:
        kinds = (BoundedProtocol, Exchange, RequestResponseCycle)
        return [found for each in gc.get_objects() if (found := type(each)) in kinds]

    gc.collect()
    gc.disable()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", asked.port)
        writer.write(sent)
        if answered:
            assert b" 200 OK" in await answers(reader, 1)
        await asyncio.sleep(0.05)
        assert left()
        writer.transport.abort()
        await asyncio.sleep(0.05)
        for go_on in held:
            go_on()
        await until(lambda: not left())
    finally:
        gc.enable()


async def test_an_unloaded_version_is_not_kept_by_a_connection(asked: Asked, services: Services) -> None:
    """That asked it last and stays open."""
    reader, writer = await asyncio.open_connection("127.0.0.1", asked.port)
    writer.write(request())
    assert b" 200 OK" in await answers(reader, 1)
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
