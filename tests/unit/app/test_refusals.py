"""Requests that are one too many: refused on their headers or unread, and nothing else on the connection suffers."""

from __future__ import annotations

import asyncio
import re

import httpx
import orjson
import pytest

from app import protocol
from app.dependencies import Services
from app.serving.tickets import Ticket
from app.shedding import Turns
from unit.app.asking import IMAGES, OWN, Asked, answers, hold, lines, request, until


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
    assert b"429" in await answers(reader, 1)
    endpoint.answered(other, "infer", "ok", 0.0)
    writer.write(body + sent)
    assert b" 200 OK" in await answers(reader, 1)
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
    assert b" 200 OK" in await answers(reader, 1)
    with monkeypatch.context() as patched:
        patched.setattr(Turns, "late", lambda _: True)
        read = await asked.ask(sent)
        writer.write(sent)
        unread = await answers(reader, 1)
        assert asked.direct == 2, "the second of this connection was none of an exchange's"
        writer.write(other)
        assert b" 429 " in await answers(reader, 1)
        assert asked.direct == 3
    assert unread.startswith(b"HTTP/1.1 429 ")
    assert b"x-request-id: mine\r\n" in unread
    assert lines(OWN.sub(b"", unread)) == lines(OWN.sub(b"", read))
    assert endpoint.statistics.fail.count == 3
    writer.write(sent)
    assert b" 200 OK" in await answers(reader, 1)
    writer.close()


async def test_refusals_of_one_turn_are_counted_together(
    asked: Asked, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them, wherever requests are counted."""
    (endpoint,) = services.registry.endpoints()
    connections = [await asyncio.open_connection("127.0.0.1", asked.port) for _ in range(3)]
    for reader, writer in connections:
        writer.write(request())
        assert b" 200 OK" in await answers(reader, 1)
    with monkeypatch.context() as patched:
        patched.setattr(Turns, "late", lambda _: True)
        counts: list[int] = []
        answered = endpoint.answered
        patched.setattr(endpoint, "answered", lambda *told: (counts.append(told[-1]), answered(*told)))
        for _, writer in connections:
            writer.write(request())
        for reader, writer in connections:
            assert b" 429 " in await answers(reader, 1)
            writer.close()
    assert counts == [3]
    assert endpoint.statistics.fail.count == 3
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{asked.port}", trust_env=False) as client:
        told = (await client.get("/metrics")).text
    for counted in (
        r'lectern_http_requests_total\{method="POST",route="/v2/models/[^"]*",status="429"\} 3.0',
        r'lectern_rejected_runs_total\{[^}]*reason="overloaded"[^}]*\} 3.0',
        r'lectern_prediction_seconds_count\{[^}]*outcome="overloaded"[^}]*\} 3.0',
    ):
        assert re.search(counted, told), told


async def test_only_what_is_whole_is_refused_unread(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each refusal has an id of its own; what is shorter or longer than the last one is read as it comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", asked.port)
    sent, read = request(), asked.direct
    writer.write(sent)
    assert b" 200 OK" in await answers(reader, 1)
    found: list[bytes] = []
    with monkeypatch.context() as patched:
        patched.setattr(Turns, "late", lambda _: True)
        for _ in range(3):
            writer.write(sent)
            found.append(await answers(reader, 1))
        assert asked.direct == read + 1
        for piece, count in ((sent[:-3], 0), (sent[-3:], 1), (sent + sent, 2)):
            writer.write(piece)
            await asyncio.sleep(0.05)
            found.append(await answers(reader, count))
        assert asked.direct == read + 4
    refusals = re.findall(rb"HTTP/1.1 429 ", b"".join(found))
    assert (len(refusals), len(set(re.findall(rb"x-request-id: (\w+)", b"".join(found))))) == (6, 6)
    writer.write(sent)
    assert b" 200 OK" in await answers(reader, 1)
    writer.close()


async def test_a_refusal_does_not_overtake_an_answer(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that pipeline tell answers apart by their order."""
    reader, writer = await asyncio.open_connection("127.0.0.1", asked.port)
    first, second, third = (
        request(orjson.dumps({"id": name, "inputs": [{**IMAGES, "data": [0, 1, 2, 3]}]})) for name in "ABC"
    )
    writer.write(first)
    assert b'"id":"A"' in await answers(reader, 1)
    with monkeypatch.context() as patched:
        held = hold(patched)
        writer.write(second)
        await until(lambda: bool(held))
        patched.setattr(Turns, "late", lambda _: True)
        writer.write(third)
        await asyncio.sleep(0.05)
    held[0]()
    assert re.findall(rb'"id":"."', await answers(reader, 2)) == [b'"id":"B"', b'"id":"C"']
    writer.close()


async def test_a_connection_outlives_its_refusals(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is still to come of a refused request is waited for as long as that."""
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", asked.port)
    with monkeypatch.context() as patched:
        patched.setattr(Turns, "late", lambda _: True)
        for _ in range(2):
            writer.write(request())
            assert b" 429 " in await answers(reader, 1)
    await asyncio.sleep(0.3)
    writer.write(request())
    assert b" 200 OK" in await answers(reader, 1)
    writer.close()
