"""Deadlines end requests when they say, which a histogram of its own tells, too."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from pathlib import Path

import httpx
import pytest

from app.serving_metrics import OVERRUN_SECONDS
from gateways import Gateway, publisher
from steady_load import counters

pytestmark = pytest.mark.slow

REQUESTS, RATE = 600, 100.0
EXACT_SECONDS, SHARE = 0.005, 0.99
LONGEST_DELAY = "1000000"
QUIET_SECONDS, BUSY_TIMES = 0.001, 5
"""A machine that wakes somebody who sleeps later than the first has no time for the gateway either: then timeouts may
be later than that, too, by so many times."""

SLEEPER = """
import sys, time
late = []
for _ in range(int(sys.argv[1])):
    due = time.perf_counter() + 0.01
    time.sleep(0.01)
    late.append(time.perf_counter() - due)
print(sorted(late)[int(len(late) * 0.99)])
"""


async def test_timeouts_come_when_they_were_asked_for(tmp_path: Path) -> None:
    """Of requests that wait for company 99 % are answered by a 504 within 5 ms after their own timeout."""
    publisher(tmp_path).publish()
    settings = {"LECTERN_PROCESSES": "1", "LECTERN_MAX_QUEUE_DELAY_MICROSECONDS": LONGEST_DELAY}
    chance = random.Random(7)  # noqa: S311 - times to wait, no secrets
    with Gateway(tmp_path, **settings, LECTERN_MAX_BATCH_SIZE="1024") as gateway:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=20, trust_env=False) as client:
            (await client.get("/v2/models/tiny/ready")).raise_for_status()
            sleeping = asyncio.create_task(lateness())
            began = time.perf_counter()
            async with asyncio.TaskGroup() as tasks:
                for number in range(REQUESTS):
                    await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
                    tasks.create_task(timed_out(client, chance.randrange(10_000, 200_000)))
            late = await sleeping
            told = counters((await client.get("/metrics")).text)
    version = (("model", "tiny"), ("project", "default"), ("version", "1"))
    name = "lectern_deadline_overrun_seconds"
    allowed = EXACT_SECONDS if late < QUIET_SECONDS else max(EXACT_SECONDS, BUSY_TIMES * late)
    bound = next(bound for bound in (*OVERRUN_SECONDS, float("inf")) if bound >= allowed)
    within = [told[f"{name}_bucket", (("le", str(most)), *version)] for most in (0.001, EXACT_SECONDS)]
    print(f"of {REQUESTS} timeouts {within} within 1 and 5 ms; a sleeper {late * 1000:.1f} ms late")  # noqa: T201 - the figures, with -s
    enough = told[f"{name}_bucket", (("le", "+Inf" if bound == float("inf") else str(bound)), *version)]
    assert told[f"{name}_count", version] == REQUESTS
    assert enough >= SHARE * REQUESTS


async def timed_out(client: httpx.AsyncClient, microseconds: int) -> None:
    """Ask for what does not come in time."""
    values = {"name": "images", "shape": [1, 2, 2], "datatype": "FP32", "data": [0, 1, 2, 3]}
    asked = {"inputs": [values], "parameters": {"timeout": microseconds}}
    began = time.perf_counter()
    answer = await client.post("/v2/models/tiny/infer", json=asked)
    assert answer.status_code == 504, answer.text
    assert time.perf_counter() - began >= microseconds / 1e6


async def lateness() -> float:
    """Return how late a process that sleeps meanwhile is woken: of a hundred times the latest but one."""
    count = str(int(REQUESTS / RATE / 0.01))
    sleeper = await asyncio.create_subprocess_exec(sys.executable, "-c", SLEEPER, count, stdout=asyncio.subprocess.PIPE)
    said, _ = await sleeper.communicate()
    return float(said)
