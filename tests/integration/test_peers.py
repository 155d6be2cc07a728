"""Models that are unloaded, loaded and switched at one of several processes: all follow before the answer."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from gateways import CLASSIFY, IMAGES, Gateway, publisher

pytestmark = pytest.mark.slow

TINY = "/v2/repository/models/tiny"
INFER = "/v2/models/tiny/infer"
MODEL = {"inputs": [{"name": "images", "shape": [1, 2, 2], "datatype": "FP32", "data": [0, 1, 2, 3]}]}
SWITCHES = 12
ROWS = 100_000
NOT_FOLLOWED = re.compile("change_not_(followed|passed_on)")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """Return one of two processes, without Redis."""
    for job in ("job_1", "job_2"):
        publisher(tmp_path).publish(job=job)
    with Gateway(tmp_path) as running:
        yield running


@asynccontextmanager
async def connections(gateway: Gateway) -> AsyncGenerator[list[httpx.AsyncClient]]:
    """Yield clients of one kept connection each, at least two to either process."""
    children = gateway.children()
    assert len(children) == 2
    found: list[httpx.AsyncClient] = []
    async with AsyncExitStack() as stack:
        # While one process stands still, the other accepts.
        for stopped in children:
            os.kill(stopped, signal.SIGSTOP)
            try:
                for _ in range(2):
                    client = httpx.AsyncClient(base_url=gateway.url, timeout=30, trust_env=False)
                    found.append(await stack.enter_async_context(client))
                    assert (await client.get("/livez")).status_code == 200
            finally:
                os.kill(stopped, signal.SIGCONT)
        yield found


async def answers(clients: list[httpx.AsyncClient]) -> list[int]:
    """Return how both protocols answer on each connection."""
    asked = [client.post(path, json=body) for client in clients for path, body in ((INFER, MODEL), (CLASSIFY, IMAGES))]
    return [answer.status_code for answer in await asyncio.gather(*asked)]


async def reasons(clients: list[httpx.AsyncClient]) -> set[str]:
    """Return why versions are not ready, as the index says on each connection."""
    told = [await client.post("/v2/repository/index") for client in clients]
    return {entry["reason"] for answer in told for entry in answer.json() if entry["state"] != "READY"}


async def test_model_is_unloaded_and_loaded_by_all_processes(gateway: Gateway) -> None:
    """Whichever is asked, and also by one that starts meanwhile: after a crash and by a rolling restart."""
    async with connections(gateway) as clients:
        assert set(await answers(clients)) == {200}
        for one, other in itertools.permutations((clients[0], clients[-1])):
            assert (await one.post(f"{TINY}/unload")).status_code == 200
            assert set(await answers(clients)) == {503}
            assert await reasons(clients) == {"unloaded"}
            assert (await other.post(f"{TINY}/load")).status_code == 200
            assert set(await answers(clients)) == {200}
        assert (await clients[0].post(f"{TINY}/unload")).status_code == 200
    killed = gateway.children()[0]
    os.kill(killed, signal.SIGKILL)
    await asyncio.to_thread(gateway.wait_for, "process_ready", 3)
    async with connections(gateway) as clients:
        assert set(await answers(clients)) == {503}
    gateway.process.send_signal(signal.SIGHUP)
    await asyncio.to_thread(gateway.wait_for, "rolling_restart_ended .*done=True")
    async with connections(gateway) as clients:
        assert set(await answers(clients)) == {503}
        assert (await clients[0].post(f"{TINY}/load")).status_code == 200
        assert set(await answers(clients)) == {200}
        assert (await clients[-1].get("/v2/models/tiny/ready")).status_code == 200
    assert NOT_FOLLOWED.search(gateway.log()) is None


async def test_switch_is_followed_by_the_very_next_request_of_every_process(gateway: Gateway) -> None:
    """Also where one process is busy with what it was sent when the alias is set.

    On a machine so busy that it does not react for a second, it is named in the log, and may be late.
    """
    confirmed = unconfirmed = 0
    values = np.zeros((ROWS, 2, 2), np.float32).tobytes()
    parameters = {"binary_data_size": len(values)}
    tensor = {"name": "images", "shape": [ROWS, 2, 2], "datatype": "FP32", "parameters": parameters}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"inference-header-content-length": str(len(head))}

    async def keep_busy(client: httpx.AsyncClient) -> None:
        while True:
            answer = await client.post("/v2/models/tiny/versions/1/infer", content=head + values, headers=headers)
            assert answer.status_code == 200

    async with connections(gateway) as (one, one_busy, other, other_busy):
        for client, number in itertools.product((one, other), (1, 2)):
            (await client.post(f"/v2/models/tiny/versions/{number}/infer", json=MODEL)).raise_for_status()
        for setting, busy in ((one, other_busy), (other, one_busy)):
            load = asyncio.create_task(keep_busy(busy))
            for number in range(SWITCHES):
                version = 1 + number % 2
                put = await setting.put("/v1/models/tiny/aliases/production", json={"version": version})
                assert put.status_code == 200
                told = await asyncio.gather(*(client.post(INFER, json=MODEL) for client in (one, other)))
                answered = [answer.json()["model_version"] for answer in told]
                if len(NOT_FOLLOWED.findall(gateway.log())) == unconfirmed:
                    assert answered == [str(version)] * 2
                    confirmed += 1
                unconfirmed = len(NOT_FOLLOWED.findall(gateway.log()))
            assert not load.done(), load
            load.cancel()
    assert confirmed > SWITCHES


async def test_switch_does_not_wait_for_a_process_that_hangs(gateway: Gateway) -> None:
    """It is named in the log, and follows when it goes on."""
    async with connections(gateway) as clients:
        hangs = gateway.children()[1]
        os.kill(hangs, signal.SIGSTOP)
        try:
            began = asyncio.get_running_loop().time()
            put = await clients[-1].put("/v1/models/tiny/aliases/production", json={"version": 2})
            taken = asyncio.get_running_loop().time() - began
        finally:
            os.kill(hangs, signal.SIGCONT)
        assert put.status_code == 200
        assert 0.9 < taken < 5
        assert len(NOT_FOLLOWED.findall(gateway.log())) == 1
