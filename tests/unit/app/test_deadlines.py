"""Deadlines of requests that have to wait for a thread, and not in the queue of a part."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from app.dependencies import Services
from app.exchange import Exchange
from app.routes import inference
from app.serving.oip import requests
from app.serving.runs import Outputs
from unit.app.asking import IMAGES, Asked, request, until
from unit.app.publishing import Publisher

BODY = {"inputs": [[[0, 1], [2, 3]]]}
MICROSECONDS = 100_000
PATIENCE = 5.0
SOON = pytest.mark.parametrize("overrides", [{"default_timeout_microseconds": MICROSECONDS}])
INFER, CLASSIFY = "/v2/models/tiny/infer", "/v1/models/tiny/classify"


@contextmanager
def busy(threads: ThreadPoolExecutor) -> Generator[Callable[[], None]]:
    """Keep all of some threads for as long as the context lasts, or until what it returns is called."""
    free = threading.Event()
    for _ in range(threads._max_workers):
        threads.submit(free.wait, 20)
    try:
        yield free.set
    finally:
        free.set()


@SOON
async def test_a_codec_that_gets_no_thread_is_given_up_in_time(
    client: httpx.AsyncClient, publisher: Publisher, services: Services
) -> None:
    """And counted with those that waited for a part."""
    publisher.publish()
    await services.registry.find("tiny", None)
    with busy(services.executor):
        answer = await asyncio.wait_for(client.post(CLASSIFY, json=BODY), PATIENCE)
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    text = (await client.get("/metrics")).text
    assert 'lectern_deadline_overrun_seconds_count{model="tiny",project="default",version="1"} 1.0' in text


async def test_a_timeout_counts_from_when_the_body_was_whole(
    client: httpx.AsyncClient, publisher: Publisher, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not from when a thread has read it."""
    publisher.publish()
    monkeypatch.setattr(inference, "PARSED_INLINE_BYTES", 0)
    asked = {"inputs": [{**IMAGES, "data": [0, 1, 2, 3]}], "parameters": {"timeout": MICROSECONDS}}
    await services.registry.find("tiny", None)
    with busy(services.executor) as let_go:
        answer = asyncio.create_task(client.post(INFER, json=asked))
        await asyncio.sleep(1.5 * MICROSECONDS / 1e6)
        let_go()
        assert (await asyncio.wait_for(answer, PATIENCE)).status_code == 504


async def test_runs_keep_no_request_from_being_read(
    client: httpx.AsyncClient, publisher: Publisher, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That a long one is refused needs no thread in which parts run."""
    publisher.publish()
    await services.registry.find("tiny", None)
    monkeypatch.setattr(inference, "PARSED_INLINE_BYTES", 0)
    with busy(services.computing):
        answer = await asyncio.wait_for(client.post(CLASSIFY, json={"inputs": 7}), PATIENCE)
    assert answer.status_code == 422


async def test_an_answer_that_is_written_when_its_request_is_cut_off_is_not_sent(
    asked: Asked, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is the request counted twice."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    writing, computed = list[Exchange](), Exchange._computed

    def noted(exchange: Exchange, wanted: requests.Asked, result: Outputs | Exception) -> None:
        computed(exchange, wanted, result)
        writing.append(exchange)

    monkeypatch.setattr(Exchange, "_computed", noted)
    monkeypatch.setattr(inference, "WRITTEN_INLINE_BYTES", 0)
    with busy(services.executor):
        answer = asyncio.create_task(asked.ask(request()))
        await until(lambda: bool(writing))
        writing[0].cut_off()
        assert b" 503 " in await answer
    await asyncio.get_running_loop().run_in_executor(services.executor, int)
    await asyncio.sleep(0.05)
    assert (asked.direct, complaints) == (1, [])


async def test_a_long_answer_is_written_in_a_thread(
    asked: Asked, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same on its connection and through the framework; meanwhile the event loop goes on."""
    expected = await asked.ask(request())
    monkeypatch.setattr(inference, "WRITTEN_INLINE_BYTES", 0)
    for directly in (True, False):
        with busy(services.executor) as let_go:
            answer = asyncio.create_task(asked.ask(request(), directly=directly))
            await asyncio.sleep(0.1)
            assert not answer.done()
            let_go()
            found = await answer
        assert found.partition(b"\r\n\r\n")[2] == expected.partition(b"\r\n\r\n")[2]
        assert b" 200 OK" in found
