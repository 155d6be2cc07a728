"""Jobs: submitted once however often sent, listed, followed without gap or repeat, cancelled, resumed."""

from __future__ import annotations

import asyncio

import httpx
import orjson
import pytest
import redis

from app import scripts
from app.dependencies import Services
from app.queue import JobFilter, JobQueue
from app.schemas import Job
from models.contract.jobs import CPU_QUEUE, GPU_QUEUE, JobRequest, Priority, Waiting
from unit.app.job_records import BODY, KEYS, event, finish, submit
from unit.app.publishing import Publisher


def _ids(text: str) -> list[str]:
    return [line.removeprefix("id: ") for line in text.splitlines() if line.startswith("id: ")]


CPU = Waiting(CPU_QUEUE, Priority.NORMAL).key
GPU = Waiting(GPU_QUEUE, Priority.NORMAL).key


async def test_submitted_job_is_written_whole_and_a_worker_is_called(
    client: httpx.AsyncClient, redis_client: redis.Redis
) -> None:
    """The record holds every default; the message holds the id alone."""
    answer = await client.post("/v1/jobs", json=BODY)
    job = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/jobs/{job['id']}")
    assert (job["state"], job["attempt"], job["training"]["epochs"]) == ("queued", 1, 3)
    fields = redis_client.hgetall(KEYS.job(job["id"]))
    request = JobRequest.model_validate_json(fields["request"])
    assert request.training["batch_size"] == job["training"]["batch_size"]
    assert request.dataset_digest.startswith("sha256:")
    assert (fields["state"], fields["attempt"], fields["max_attempts"]) == ("queued", "0", "5")
    assert redis_client.smembers(KEYS.active()) == {job["id"]}
    message = orjson.loads(str(redis_client.lindex(CPU, 0)))
    assert message["headers"]["task"] == "lectern.train"
    assert message["headers"]["argsrepr"] == f"['default', '{job['id']}']"


async def test_a_job_that_asks_for_a_gpu_waits_for_a_worker_that_has_one(
    client: httpx.AsyncClient, redis_client: redis.Redis
) -> None:
    """Any other goes where every worker looks."""
    await client.post("/v1/jobs", json={**BODY, "training": {"device": "cuda"}})
    assert (redis_client.llen(GPU), redis_client.llen(CPU)) == (1, 0)


async def test_idempotency_key_gives_the_same_job(client: httpx.AsyncClient, redis_client: redis.Redis) -> None:
    """Sent again, at once or by several at the same time, it is one job."""
    headers = {"Idempotency-Key": "mine"}
    answers = await asyncio.gather(*(client.post("/v1/jobs", json=BODY, headers=headers) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert redis_client.zcard(KEYS.index()) == 1
    assert redis_client.llen(CPU) == 1


async def test_idempotency_key_with_another_body_is_a_conflict(client: httpx.AsyncClient) -> None:
    """The order of fields does not matter, their values do."""
    headers = {"Idempotency-Key": "mine"}
    first = await client.post("/v1/jobs", json=BODY, headers=headers)
    again = await client.post("/v1/jobs", json=dict(reversed(BODY.items())), headers=headers)
    assert again.json()["id"] == first.json()["id"]
    other = await client.post("/v1/jobs", json={**BODY, "model": "other"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_mismatch")


@pytest.mark.parametrize("key", ["", "a b", "x" * 256])
async def test_idempotency_key_must_be_one(client: httpx.AsyncClient, key: str) -> None:
    """What cannot be compared safely is refused."""
    answer = await client.post("/v1/jobs", json=BODY, headers={"Idempotency-Key": key})
    assert answer.status_code == 422


async def test_list_is_newest_first_and_read_in_pages(client: httpx.AsyncClient) -> None:
    """Every job comes once, also when new ones are submitted between the pages."""
    submitted = [await submit(client) for _ in range(5)]
    first = (await client.get("/v1/jobs?limit=2")).json()
    await submit(client)
    second = (await client.get(f"/v1/jobs?limit=2&after={first['next']}")).json()
    third = (await client.get(f"/v1/jobs?limit=2&after={second['next']}")).json()
    listed = [job["id"] for page in (first, second, third) for job in page["items"]]
    assert sorted(listed) == sorted(submitted)
    assert third["next"] is None


async def test_a_page_goes_on_behind_a_job_that_expired(client: httpx.AsyncClient, redis_client: redis.Redis) -> None:
    """Wherever it stood, and also when others were submitted in its millisecond."""
    prefix = "job_01" + "0" * 23
    submitted = [await submit(client) for _ in range(3)]
    rivals = [f"{prefix}{last}" for last in "123"]
    for rival in rivals:
        redis_client.copy(KEYS.job(submitted[0]), KEYS.job(rival))
        redis_client.zadd(KEYS.index(), {rival: scripts.milliseconds_of(rival) or 0})
    order = [*reversed(submitted), *reversed(rivals)]
    for place, job_id in enumerate(order):
        score = redis_client.zscore(KEYS.index(), job_id)
        assert score == scripts.milliseconds_of(job_id)
        assert isinstance(score, float)
        redis_client.zrem(KEYS.index(), job_id)
        items = (await client.get(f"/v1/jobs?after={job_id}")).json()["items"]
        assert [job["id"] for job in items] == order[place + 1 :]
        redis_client.zadd(KEYS.index(), {job_id: score})


async def test_a_list_skips_no_job_when_another_expires_while_it_is_read(
    client: httpx.AsyncClient, services: Services, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis is asked for a piece at a time; the places of the next ones are not those of before."""
    submitted = [await submit(client) for _ in range(5)]
    monkeypatch.setattr("app.queue.JOBS_PER_READ", 2)
    look_behind = services.queue._look_behind

    async def expiring(after: str | None, wanted: JobFilter, count: int) -> tuple[str, list[Job]]:
        found = await look_behind(after, wanted, count)
        redis_client.zrem(KEYS.index(), submitted[4])
        return found

    monkeypatch.setattr(services.queue, "_look_behind", expiring)
    found, _ = await services.queue.list(JobFilter(), 100, None)
    assert [job.id for job in found] == submitted[::-1]


async def test_a_list_filters_records_from_before_their_model_was_a_field(
    client: httpx.AsyncClient, redis_client: redis.Redis
) -> None:
    job_id = await submit(client, model="old")
    redis_client.hdel(KEYS.job(job_id), "queue", "family", "model")
    for query, found in (("model=old&family=mlp&state=queued", [job_id]), ("model=new", [])):
        assert [job["id"] for job in (await client.get(f"/v1/jobs?{query}")).json()["items"]] == found


async def test_list_is_filtered(client: httpx.AsyncClient, redis_client: redis.Redis) -> None:
    """By state, family and model."""
    job_id, other = await submit(client), await submit(client, model="other")
    finish(redis_client, job_id, "failed")
    for query, expected in (
        ("state=failed", [job_id]),
        ("state=queued", [other]),
        ("model=other", [other]),
        ("family=cnn", []),
        ("family=mlp&state=queued&model=other", [other]),
    ):
        items = (await client.get(f"/v1/jobs?{query}")).json()["items"]
        assert [job["id"] for job in items] == expected


async def test_cursor_of_nothing_is_refused(client: httpx.AsyncClient) -> None:
    """A cursor is `next` of a page."""
    assert (await client.get("/v1/jobs?after=job_x")).status_code == 422


@pytest.mark.parametrize("job_id", ["job_x", "x:events", "job_00000000000000000000000000", "*"])
@pytest.mark.parametrize("suffix", ["", "/events", "/logs"])
async def test_unknown_job_is_not_found(client: httpx.AsyncClient, job_id: str, suffix: str) -> None:
    """Also what would be another key."""
    answer = await client.get(f"/v1/jobs/{job_id}{suffix}")
    assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")


async def test_finished_job_shows_version_and_progress(client: httpx.AsyncClient, redis_client: redis.Redis) -> None:
    """What the worker wrote is what is shown."""
    job_id = await submit(client)
    progress = '{"epoch": 3, "epochs": 3, "step": 9, "steps": 9, "metrics": {"loss": 0.5}}'
    finish(redis_client, job_id, version="4", progress=progress)
    job = (await client.get(f"/v1/jobs/{job_id}")).json()
    assert (job["state"], job["version"], job["model"]) == ("succeeded", 4, "digits-mlp")
    assert job["progress"]["metrics"] == {"loss": 0.5}
    assert job["finished"] == "2026-01-01T00:00:00Z"


async def test_events_continue_without_gap_or_repeat(client: httpx.AsyncClient, redis_client: redis.Redis) -> None:
    """Wherever a client stopped, header or query, it gets exactly the rest."""
    job_id = await submit(client)
    for step in range(1200):
        event(redis_client, job_id, "progress", {"step": step})
    finish(redis_client, job_id)
    url = f"/v1/jobs/{job_id}/events"
    whole = await client.get(url)
    assert whole.headers["content-type"].startswith("text/event-stream")
    ids = _ids(whole.text)
    assert len(ids) == 1202
    for position in (0, 600, 1200):
        rest = await client.get(url, headers={"Last-Event-ID": ids[position]})
        assert _ids(rest.text) == ids[position + 1 :]
    assert _ids((await client.get(f"{url}?last_event_id={ids[1199]}")).text) == ids[1200:]
    assert _ids((await client.get(url, headers={"Last-Event-ID": ids[-1]})).text) == []


async def test_events_are_followed_until_the_job_ends(client: httpx.AsyncClient, redis_client: redis.Redis) -> None:
    """What happens while somebody listens is passed on, and the last state ends the stream."""
    job_id = await submit(client)
    listening = asyncio.create_task(client.get(f"/v1/jobs/{job_id}/events"))
    await asyncio.sleep(0.1)
    event(redis_client, job_id, "log", {"line": "one\ntwo"})
    await asyncio.sleep(0.1)
    finish(redis_client, job_id)
    text = (await asyncio.wait_for(listening, 5)).text
    assert [line for line in text.splitlines() if line.startswith("event: ")] == [
        "event: state",
        "event: log",
        "event: state",
    ]
    assert 'data: {"line":"one\\ntwo"}' in text


async def test_open_stream_ends_when_the_gateway_stops(client: httpx.AsyncClient, services: Services) -> None:
    """A gateway that stops does not wait for jobs."""
    job_id = await submit(client)
    listening = asyncio.create_task(client.get(f"/v1/jobs/{job_id}/events"))
    await asyncio.sleep(0.05)
    services.draining.set()
    assert len(_ids((await asyncio.wait_for(listening, 3)).text)) == 1
    assert (await client.get("/readyz")).json()["code"] == "draining"
    assert (await client.get("/v2/health/ready")).status_code == 503


@pytest.mark.parametrize("last", ["x", "1-2-3", "-", "9" * 30, "٣", "1-٣"])
async def test_wrong_last_event_id_is_refused(client: httpx.AsyncClient, redis_client: redis.Redis, last: str) -> None:
    """It must be one that was sent."""
    job_id = await submit(client)
    finish(redis_client, job_id)
    answer = await client.get(f"/v1/jobs/{job_id}/events", params={"last_event_id": last})
    assert answer.status_code == 422


async def test_logs_are_text(client: httpx.AsyncClient, redis_client: redis.Redis) -> None:
    """One line each, oldest first."""
    job_id = await submit(client)
    redis_client.rpush(KEYS.logs(job_id), "first", "second")
    answer = await client.get(f"/v1/jobs/{job_id}/logs")
    assert (answer.text, answer.headers["content-type"]) == ("first\nsecond\n", "text/plain; charset=utf-8")


async def test_queued_job_is_cancelled_at_once(client: httpx.AsyncClient, redis_client: redis.Redis) -> None:
    """Nobody works on it; asking again is no error."""
    job_id = await submit(client)
    for _ in range(2):
        answer = await client.post(f"/v1/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
        assert answer.json()["finished"]
    assert redis_client.smembers(KEYS.active()) == set()
    assert "cancelled" in (await client.get(f"/v1/jobs/{job_id}/events")).text


@pytest.mark.parametrize("state", ["running", "exporting"])
async def test_running_job_is_asked_to_stop(client: httpx.AsyncClient, redis_client: redis.Redis, state: str) -> None:
    """Its worker ends it; past the point of no return that is refused."""
    job_id = await submit(client)
    redis_client.hset(KEYS.job(job_id), "state", state)
    answer = await client.post(f"/v1/jobs/{job_id}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (202, state)
    assert answer.json()["cancel_requested"] is True
    redis_client.hset(KEYS.job(job_id), "publishing", "1")
    answer = await client.post(f"/v1/jobs/{job_id}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "job_finished")


async def test_requeued_job_that_was_publishing_is_not_cancelled(
    client: httpx.AsyncClient, redis_client: redis.Redis
) -> None:
    """Its worker was lost past the point of no return: the version may exist."""
    job_id = await submit(client)
    redis_client.hset(KEYS.job(job_id), "publishing", "1")
    answer = await client.post(f"/v1/jobs/{job_id}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "job_finished")


@pytest.mark.parametrize("state", ["succeeded", "failed"])
async def test_ended_job_cannot_be_cancelled(client: httpx.AsyncClient, redis_client: redis.Redis, state: str) -> None:
    """A finished job never changes."""
    job_id = await submit(client)
    finish(redis_client, job_id, state)
    answer = await client.post(f"/v1/jobs/{job_id}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "job_finished")
    assert (await client.get(f"/v1/jobs/{job_id}")).json()["state"] == state


async def test_ids_sort_by_time() -> None:
    """So that lists of ids read in the order of submission."""
    from app.scripts import is_job_id, new_job_id  # noqa: PLC0415

    ids = [new_job_id(milliseconds) for milliseconds in (1, 2, 10**6, 2 * 10**12)]
    assert ids == sorted(ids)
    assert all(map(is_job_id, ids))


async def test_message_that_cannot_be_sent_leaves_the_job_queued(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, services: Services
) -> None:
    """The record is the truth; the reaper sends the message again."""

    async def broken(*_: object) -> None:
        raise redis.ConnectionError

    monkeypatch.setattr(services.queue._redis, "lpush", broken)
    answer = await client.post("/v1/jobs", json=BODY)
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")


async def test_redis_away_is_unavailable_soon_and_predictions_go_on(
    client: httpx.AsyncClient, services: Services, publisher: Publisher
) -> None:
    """Only what needs the queue fails."""
    publisher.publish()
    object.__setattr__(services, "queue", JobQueue("unix:///nowhere/redis.sock", "default", 5))
    for method, path, body in (
        ("GET", "/v1/jobs", None),
        ("POST", "/v1/jobs", BODY),
        ("GET", "/v1/jobs/job_00000000000000000000000000/events", None),
        ("POST", "/v1/jobs/job_00000000000000000000000000/cancel", None),
    ):
        answer = await asyncio.wait_for(client.request(method, path, json=body), 2)
        assert (answer.status_code, answer.json()["code"]) == (503, "queue_unavailable")
        assert answer.headers["retry-after"]
    images = {"inputs": [[[0, 1], [2, 3]]]}
    assert (await client.post("/v1/models/tiny/classify", json=images)).status_code == 200
    assert (await client.put("/v1/models/tiny/aliases/best", json={"version": 1})).status_code == 200
    assert (await client.get("/readyz")).json() == {"status": "ready", "queue": "down", "store": "up"}
    assert "lectern_queue_up 0.0" in (await client.get("/metrics")).text
