"""Clients that ask a gateway at a steady rate, whatever happens to its processes meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families

from gateways import CLASSIFY, IMAGES

CLIENTS = 16
RATE = 200.0
"""Requests per second of all clients together."""


@dataclass
class Request:
    """What became of one request."""

    began: float
    ended: float = 0.0
    version: str | None = None
    failure: str | None = None


class Load:
    """Clients that predict and ask for life, half of them on connections that they keep. Nothing is asked twice."""

    def __init__(self, url: str) -> None:
        self.requests: list[Request] = []
        self.scrapes = 0
        self._url = url
        self._over = False
        self._began = time.monotonic()

    @property
    def failed(self) -> list[Request]:
        return [request for request in self.requests if request.failure]

    @property
    def rate(self) -> float:
        """Requests per second so far."""
        return len(self.requests) / (time.monotonic() - self._began)

    async def client(self, number: int) -> None:
        """Ask when it is time; who is late asks at once, until it has caught up."""
        due = self._began + number / RATE
        async with httpx.AsyncClient(base_url=self._url, timeout=20, trust_env=False) as kept:
            while not self._over:
                request = Request(time.monotonic())
                self.requests.append(request)
                try:
                    request.version = await self._ask(kept, number)
                except (httpx.HTTPError, AssertionError) as error:
                    request.failure = repr(error)
                request.ended = time.monotonic()
                due += CLIENTS / RATE
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def scrape(self) -> None:
        """Read the metrics again and again; no counter goes back."""
        before: dict[object, float] = {}
        async with httpx.AsyncClient(base_url=self._url, timeout=20, trust_env=False) as client:
            while not self._over:
                try:
                    answer = await client.get("/metrics")
                except httpx.HTTPError:
                    continue  # it may have asked the one that was killed
                assert answer.status_code == 200, answer.text
                now = counters(answer.text)
                back = {key: (value, now.get(key)) for key, value in before.items() if now.get(key, -1) < value}
                assert back == {}
                before = now
                self.scrapes += 1
                await asyncio.sleep(0.2)

    def end(self) -> None:
        self._over = True

    async def _ask(self, kept: httpx.AsyncClient, number: int) -> str | None:
        """Return the version that answered a prediction."""
        headers = {} if number % 2 else {"Connection": "close"}
        if number % 4 < 2:
            answer = await kept.get("/livez", headers=headers)
        else:
            answer = await kept.post(CLASSIFY, json=IMAGES, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.headers.get("Lectern-Model-Version")


def counters(text: str) -> dict[object, float]:
    """Return every counter, and every part of a histogram, of an exposition."""
    families = [family for family in text_string_to_metric_families(text) if family.type in {"counter", "histogram"}]
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


@asynccontextmanager
async def steady_load(url: str) -> AsyncGenerator[Load]:
    """Have the gateway asked meanwhile, two seconds before anything happens."""
    found = Load(url)
    async with asyncio.TaskGroup() as tasks:
        for number in range(CLIENTS):
            tasks.create_task(found.client(number))
        tasks.create_task(found.scrape())
        await asyncio.sleep(2)
        try:
            yield found
        finally:
            found.end()
