"""Versions that change under load: no request fails, and who asks after a switch is answered by what it switched to."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import httpx
import pytest

from gateways import Gateway, publisher
from steady_load import RATE, steady_load

pytestmark = pytest.mark.slow

SWITCHES = 100
ALIAS = "/v1/models/tiny/aliases/production"


async def test_switches_under_load_lose_no_request(tmp_path: Path) -> None:
    """One process; those that come between two switches get the version of the first."""
    for job in ("job_1", "job_2"):
        publisher(tmp_path).publish(job=job)
    switched: list[tuple[float, float, str]] = []
    with Gateway(tmp_path, LECTERN_PROCESSES="1") as gateway:
        async with (
            steady_load(gateway.url) as clients,
            httpx.AsyncClient(base_url=gateway.url, timeout=20, trust_env=False) as operator,
        ):
            for number in range(SWITCHES):
                version, began = 1 + number % 2, time.monotonic()
                answer = await operator.put(ALIAS, json={"version": version})
                assert answer.status_code == 200, answer.text
                switched.append((began, time.monotonic(), str(version)))
                while clients.requests[-1].began < switched[-1][1] + 0.1:
                    await operator.get("/livez")
            print(f"{SWITCHES} switches, {len(clients.requests)} requests, {clients.rate:.0f} a second")  # noqa: T201 - the figures, with -s
    assert clients.failed == []
    assert clients.rate > RATE / 4
    told = 0
    for (_, after, version), (before, _, _) in itertools.pairwise(switched):
        asked = [request for request in clients.requests if request.version and after < request.began]
        answered = [request.version for request in asked if request.ended < before]
        assert answered == [version] * len(answered)
        told += len(answered)
    assert told > SWITCHES


async def test_switch_reaches_the_other_process_within_a_second(tmp_path: Path) -> None:
    """Without Redis to announce it, too."""
    for job in ("job_1", "job_2"):
        publisher(tmp_path).publish(job=job)
    with Gateway(tmp_path) as gateway:
        async with (
            steady_load(gateway.url) as clients,
            httpx.AsyncClient(base_url=gateway.url, timeout=20, trust_env=False) as operator,
        ):
            for version in (1, 2, 1):
                (await operator.put(ALIAS, json={"version": version})).raise_for_status()
                switched = time.monotonic()
                while (now := time.monotonic()) < switched + 2.5:
                    await operator.get("/livez")
                late = [request for request in clients.requests if request.version and request.ended < now]
                answered = {request.version for request in late if request.began > switched + 1.5}
                assert answered == {str(version)}
    assert clients.failed == []
