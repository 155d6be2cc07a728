"""Deadlines end requests when they say, which a histogram of its own tells, too."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import httpx
import pytest

from gateways import Gateway, publisher
from steady_load import counters

pytestmark = pytest.mark.slow

REQUESTS, RATE = 1000, 150.0
EXACT_SECONDS, SHARE = 0.005, 0.99
LONGEST_DELAY = "1000000"


async def test_timeouts_come_when_they_were_asked_for(tmp_path: Path) -> None:
    """Of requests that wait for company 99 % are answered by a 504 within 5 ms after their own timeout."""
    publisher(tmp_path).publish()
    settings = {"LECTERN_PROCESSES": "1", "LECTERN_MAX_QUEUE_DELAY_MICROSECONDS": LONGEST_DELAY}
    chance = random.Random(7)  # noqa: S311 - times to wait, no secrets
    with Gateway(tmp_path, **settings, LECTERN_MAX_BATCH_SIZE="1024") as gateway:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=20, trust_env=False) as client:
            (await client.get("/v2/models/tiny/ready")).raise_for_status()
            began = time.perf_counter()
            async with asyncio.TaskGroup() as tasks:
                for number in range(REQUESTS):
                    await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
                    tasks.create_task(timed_out(client, chance.randrange(10_000, 200_000)))
            told = counters((await client.get("/metrics")).text)
    version = (("model", "tiny"), ("version", "1"))
    name = "lectern_deadline_overrun_seconds"
    within = [told[f"{name}_bucket", (("le", str(bound)), *version)] for bound in (0.001, EXACT_SECONDS, "+Inf")]
    print(f"of {REQUESTS} timeouts {within[0]:.0f} within 1 ms, {within[1]:.0f} within 5 ms")  # noqa: T201 - the figures, with -s
    assert within[2] == told[f"{name}_count", version] == REQUESTS
    assert within[1] >= SHARE * REQUESTS


async def timed_out(client: httpx.AsyncClient, microseconds: int) -> None:
    """Ask for what does not come in time."""
    values = {"name": "images", "shape": [1, 2, 2], "datatype": "FP32", "data": [0, 1, 2, 3]}
    asked = {"inputs": [values], "parameters": {"timeout": microseconds}}
    began = time.perf_counter()
    answer = await client.post("/v2/models/tiny/infer", json=asked)
    assert answer.status_code == 504, answer.text
    assert time.perf_counter() - began >= microseconds / 1e6
