"""Jobs as a client submits them and as workers leave them, for the tests of the gateway."""

from __future__ import annotations

import httpx
import orjson
import redis

from models.contract.jobs import JobKeys

KEYS = JobKeys("default")
BODY = {"family": "mlp", "dataset": "digits", "model": "digits-mlp", "training": {"epochs": 3}}


async def submit(client: httpx.AsyncClient, **changes: object) -> str:
    """Submit a job and return its id."""
    answer = await client.post("/v1/jobs", json={**BODY, **changes})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def event(redis_client: redis.Redis, job_id: str, kind: str, data: dict[str, object]) -> str:
    """Write an event as a worker does."""
    fields = {"event": kind, "data": orjson.dumps(data).decode()}
    return str(redis_client.xadd(KEYS.events(job_id), fields))  # type: ignore[arg-type]


def finish(redis_client: redis.Redis, job_id: str, state: str = "succeeded", **fields: str) -> str:
    """End a job as a worker does."""
    finished = "2026-01-01T00:00:00.000Z"
    redis_client.hset(KEYS.job(job_id), mapping={"state": state, "finished": finished, **fields})
    redis_client.srem(KEYS.active(), job_id)
    return event(redis_client, job_id, "state", {"state": state, "attempt": 1})
