"""Whoever may scrape a gateway is told of the jobs of every project, each by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import httpx
import pytest
import redis
from fastapi import FastAPI

from app.access.keys import Key, Keys
from app.access.scopes import Scope
from app.dependencies import Services
from models.contract.errors import TrainingDiverged, WorkerLost
from models.contract.jobs import QUEUES, JobKeys, JobState
from unit.app.job_records import submit
from unit.app.scraping import scraped
from workers.claims import Claim, JobRef, reap

HOUR = 3600.0
LOST = WorkerLost("The worker vanished.")

UseKey = Callable[[str], Key]


@pytest.fixture
def use_key(client: httpx.AsyncClient, gateway: FastAPI, services: Services) -> UseKey:
    """Return a function that lets the client ask with a new key of a project, and returns the key."""

    def use(project: str) -> Key:
        key, token = Keys(services.store).create("test", (Scope.ADMIN,), project)
        gateway.state.keyring.refresh()
        client.headers["Authorization"] = f"Bearer {token}"
        return key

    return use


def _take(redis_client: redis.Redis, ref: JobRef) -> Claim:
    claim = Claim.take(redis_client, ref, HOUR)
    assert claim is not None
    return claim


async def _live(client: httpx.AsyncClient, redis_client: redis.Redis, use_key: UseKey) -> Key:
    """Let jobs of three projects wait, be lost, fail and run; return the key of ``photos``, the second of them."""
    await submit(client)
    photos = use_key("photos")
    for _ in range(3):
        await submit(client)
    lost = JobRef("photos", await submit(client, training={"device": "cuda"}))
    _take(redis_client, lost)
    redis_client.hset(lost.keys[0], "lease_expires_ms", "1")
    assert reap(redis_client, lost, LOST) is JobState.QUEUED
    use_key("sounds")
    failed, running = [JobRef("sounds", await submit(client)) for _ in range(2)]
    claim = _take(redis_client, failed)
    claim.fail(TrainingDiverged("no"))
    assert claim.release(LOST) is JobState.FAILED
    _take(redis_client, running)
    redis_client.zincrby(JobKeys("sounds").leases(), -100_000, running.keys[0])
    return photos


async def test_every_project_is_told_whichever_key_asks(
    client: httpx.AsyncClient, redis_client: redis.Redis, gateway: FastAPI, services: Services, use_key: UseKey
) -> None:
    """Also one in which nobody has a valid key any more, while its jobs go on."""
    photos = await _live(client, redis_client, use_key)
    Keys(services.store).revoke(photos.id)
    gateway.state.keyring.refresh()
    for asking in ("sounds", "default", "silent"):
        use_key(asking)
        told = await scraped(client)
        age = told.pop("lectern_lease_age_seconds{sounds}")
        assert 100 <= age < 160
        assert {
            series: value
            for series, value in told.items()
            if series.startswith(("lectern_job", "lectern_lease", "lectern_queue_m")) and "seconds_" not in series
        } == {
            "lectern_jobs{default,train.cpu,queued}": 1,
            "lectern_jobs{photos,train.cpu,queued}": 3,
            "lectern_jobs{photos,train.gpu,queued}": 1,
            "lectern_jobs{sounds,train.cpu,failed}": 1,
            "lectern_jobs{sounds,train.cpu,running}": 1,
            "lectern_jobs_lost_total{photos,train.gpu}": 1,
            "lectern_jobs_retried_total{photos,train.gpu}": 1,
            "lectern_queue_messages{train.cpu}": 6,
            "lectern_queue_messages{train.gpu}": 1,
        }
        assert {
            series: value for series, value in told.items() if series.startswith("lectern_job_") and "_count" in series
        } == {
            "lectern_job_duration_seconds_count{mlp,sounds,failed}": 1,
            "lectern_job_wait_seconds_count{photos,train.gpu}": 1,
            "lectern_job_wait_seconds_count{sounds,train.cpu}": 2,
        }


async def test_a_project_without_a_job_is_told_too(client: httpx.AsyncClient, use_key: UseKey) -> None:
    """A counter that begins at its first job has not grown for Prometheus."""
    use_key("photos")
    text = (await client.get("/metrics")).text
    for project in ("default", "photos"):
        assert f'lectern_jobs_lost_total{{project="{project}",queue="train.cpu"}} 0.0' in text
        assert f'lectern_lease_age_seconds{{project="{project}"}} 0.0' in text


async def test_all_projects_are_read_in_one_step(
    client: httpx.AsyncClient, redis_client: redis.Redis, use_key: UseKey
) -> None:
    """Redis is asked once, however many there are."""
    for number in range(20):
        use_key(f"project-{number}")
    await client.get("/metrics")
    redis_client.config_resetstat()
    text = (await client.get("/metrics")).text
    assert text.count('state="queued"') == 21 * len(QUEUES)
    commands = cast("dict[str, dict[str, int]]", redis_client.info("commandstats"))
    assert commands["cmdstat_evalsha"]["calls"] == 1
