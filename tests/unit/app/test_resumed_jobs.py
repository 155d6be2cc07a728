"""Resuming over HTTP: what is kept, what is refused, and when."""

from __future__ import annotations

import httpx
import orjson
import pytest
import redis

from app.dependencies import Services
from app.queue import Submission
from models.contract.errors import Conflict
from models.contract.jobs import JobRequest
from unit.app.job_records import KEYS, finish, submit


async def test_a_job_whose_checkpoint_expires_meanwhile_is_not_resumed(
    client: httpx.AsyncClient, services: Services, redis_client: redis.Redis
) -> None:
    """The gateway saw the checkpoint; the step that writes the new job does not, and writes nothing."""
    old = await submit(client)
    finish(redis_client, old, "cancelled")
    request = JobRequest.model_validate_json(str(redis_client.hget(KEYS.job(old), "request")))
    submission = Submission(request, "key", "digest", resumed_from=old)
    with pytest.raises(Conflict, match="has no checkpoint any more"):
        await services.queue.submit(submission)
    assert (redis_client.zcard(KEYS.index()), redis_client.scard(KEYS.active())) == (1, 0)
    redis_client.hset(KEYS.job(old), "checkpoint", "default/jobs/x/checkpoints/1-1.pt")
    assert (await services.queue.submit(submission)).resumed_from == old


async def test_resume_makes_a_new_job_from_the_old_request(
    client: httpx.AsyncClient, redis_client: redis.Redis
) -> None:
    """Training options can change, all else stays; without an end or a checkpoint it is a conflict."""
    old = await submit(client, training={"epochs": 3, "seed": 7})
    url = f"/v1/jobs/{old}/resume"
    assert (await client.post(url)).json()["code"] == "conflict"
    finish(redis_client, old, "cancelled")
    refused = await client.post(url)
    assert (refused.status_code, "checkpoint" in refused.json()["detail"]) == (409, True)
    redis_client.hset(KEYS.job(old), "checkpoint", f"default/jobs/{old}/checkpoints/1-9.pt")
    answer = await client.post(url, json={"training": {"epochs": 20}})
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert job["id"] != old
    assert job["resumed_from"] == old
    assert (job["training"]["epochs"], job["training"]["seed"]) == (20, 7)
    assert (await client.post(url, json={"training": {"epochs": 0}})).json()["errors"][0]["pointer"] == (
        "/training/epochs"
    )
    assert (await client.post(url, json={"config": {}})).status_code == 422
    fixed = (await client.post(url, json={"training": {"dropout": 0.1}})).json()["detail"]
    assert "does not exist here" in fixed
    assert "config" not in fixed, "which cannot change here"


@pytest.mark.parametrize(
    ("state", "epoch", "step", "epochs", "status"),
    [
        ("succeeded", 3, 9, 3, 422),
        ("succeeded", 3, 9, 2, 422),
        ("succeeded", 3, 9, 4, 202),
        ("succeeded", 2, 6, 3, 202),  # stopped early
        ("succeeded", 1, 5, 3, 202),  # its seconds were over
        ("succeeded", 1, 5, 1, 422),
        ("failed", 3, 9, 3, 202),  # all done, and not exported
        ("cancelled", 2, 7, 2, 422),
        ("cancelled", 2, 7, 3, 202),
        ("cancelled", 0, 0, 1, 202),
    ],
)
async def test_resume_needs_something_to_do(
    client: httpx.AsyncClient, redis_client: redis.Redis, state: str, epoch: int, step: int, epochs: int, status: int
) -> None:
    """Otherwise the same version would be published again."""
    old = await submit(client)
    progress = {"epoch": epoch, "epochs": 3, "step": step, "steps": 9}
    fields = {"progress": orjson.dumps(progress).decode(), "checkpoint": f"default/jobs/{old}/checkpoints/1-9.pt"}
    finish(redis_client, old, state, **fields, **({"version": "1"} if state == "succeeded" else {}))
    answer = await client.post(f"/v1/jobs/{old}/resume", json={"training": {"epochs": epochs}})
    assert answer.status_code == status, answer.text
    if status == 422:
        (error,) = answer.json()["errors"]
        assert error["pointer"] == "/training/epochs"
        assert f"{epoch} epoch{' was' if epoch == 1 else 's were'} done already" in error["detail"]
