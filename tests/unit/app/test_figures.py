"""What the gateway tells of its jobs is exact, whatever became of them, and of this moment."""

from __future__ import annotations

import asyncio
import shutil
from asyncio.subprocess import PIPE, STDOUT
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import cast

import httpx
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import scripts
from app.dependencies import Services
from app.queue import JobQueue
from models.contract.errors import TrainingDiverged, WorkerLost
from models.contract.jobs import EVENTS_KEPT, QUEUES, JobKeys, JobState
from models.contract.transitions import MOVE
from models.contract.workers import WORKERS, WorkerPresence
from unit.app.scraping import scraped
from workers.claims import Claim, JobRef, now, reap
from workers.presence import Presence
from workers.settings import WorkerSettings

ALERTS = Path(__file__).resolve().parents[3] / "docker"
PROMTOOL = shutil.which("promtool")
KEYS = JobKeys("default")
HOUR = 3600.0
LOST = WorkerLost("The worker vanished.")
DIVERGED = TrainingDiverged("no")
BODY = {"family": "mlp", "dataset": "digits", "model": "digits-mlp"}
FORGET = f"""{MOVE}
forget()
redis.call('DEL', KEYS[1])
"""


async def _submit(client: httpx.AsyncClient, device: str = "cpu", **changes: object) -> JobRef:
    answer = await client.post("/v1/jobs", json={**BODY, "training": {"device": device}, **changes})
    assert answer.status_code == 202, answer.text
    return JobRef("default", answer.json()["id"])


def _take(redis_client: redis.Redis, ref: JobRef) -> Claim:
    claim = Claim.take(redis_client, ref, HOUR)
    assert claim is not None
    return claim


def _fields(redis_client: redis.Redis, key: str) -> dict[str, str]:
    return cast("dict[str, str]", redis_client.hgetall(key))


def _fail(claim: Claim) -> None:
    claim.fail(DIVERGED)
    assert claim.release(LOST) is JobState.FAILED


def _lapse(redis_client: redis.Redis, ref: JobRef) -> None:
    redis_client.hset(ref.keys[0], "lease_expires_ms", "1")


def _earlier(redis_client: redis.Redis, ref: JobRef, field: str, seconds: float) -> None:
    """Move a time of the record into the past."""
    before = int(str(redis_client.hget(ref.keys[0], field)))
    redis_client.hset(ref.keys[0], field, str(before - int(seconds * 1000)))


async def test_jobs_are_counted_by_state_and_queue(client: httpx.AsyncClient, redis_client: redis.Redis) -> None:
    """One in every state, those that wait for a GPU apart."""
    cpu = [await _submit(client) for _ in range(6)]
    await _submit(client, "cuda")
    claims = [_take(redis_client, ref) for ref in cpu[1:5]]
    for claim in claims[1:3]:
        claim.exporting()
    claims[2].publishing()
    claims[2].succeed("digits-mlp", 1)
    _fail(claims[3])
    await client.post(f"/v1/jobs/{cpu[5].job_id}/cancel")
    text = (await client.get("/metrics")).text
    for state in JobState:
        queued = float(state is JobState.QUEUED)
        assert f'lectern_jobs{{project="default",queue="train.cpu",state="{state.value}"}} 1.0' in text
        assert f'lectern_jobs{{project="default",queue="train.gpu",state="{state.value}"}} {queued}' in text
    assert "lectern_queue_up 1.0" in text


async def test_a_job_sent_twice_counts_once(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        await client.post("/v1/jobs", json=BODY, headers={"Idempotency-Key": "one"})
    assert (await scraped(client))["lectern_jobs{default,train.cpu,queued}"] == 1


async def test_messages_of_every_priority_are_counted(client: httpx.AsyncClient) -> None:
    for priority in ("high", "normal", "normal", "low"):
        await _submit(client, priority=priority)
    await _submit(client, "cuda", priority="low")
    told = await scraped(client)
    assert (told["lectern_queue_messages{train.cpu}"], told["lectern_queue_messages{train.gpu}"]) == (4, 1)


async def test_lost_and_retried_are_told_apart(client: httpx.AsyncClient, redis_client: redis.Redis) -> None:
    """A lease that lapsed is lost, whatever becomes of the job; what goes back to the queue is retried."""
    returned, lost, last = [await _submit(client) for _ in range(3)]
    _take(redis_client, returned).release(DIVERGED)
    _take(redis_client, lost)
    assert reap(redis_client, lost, LOST) is None
    _lapse(redis_client, lost)
    assert reap(redis_client, lost, LOST) is JobState.QUEUED
    assert reap(redis_client, lost, LOST) is None
    redis_client.hset(last.keys[0], "max_attempts", "1")
    _take(redis_client, last)
    _lapse(redis_client, last)
    assert reap(redis_client, last, LOST) is JobState.FAILED
    told = await scraped(client)
    assert (
        told["lectern_jobs_lost_total{default,train.cpu}"],
        told["lectern_jobs_retried_total{default,train.cpu}"],
    ) == (2, 2)


async def test_a_job_that_the_reaper_settles_later_was_lost_once(
    client: httpx.AsyncClient, redis_client: redis.Redis
) -> None:
    """Past the point of no return the lease is taken away first, and the job ends when the store was asked."""
    ref = await _submit(client)
    redis_client.hset(ref.keys[0], "max_attempts", "1")
    _take(redis_client, ref).publishing()
    _lapse(redis_client, ref)
    assert reap(redis_client, ref, LOST) is None
    told = await scraped(client)
    assert told["lectern_jobs_lost_total{default,train.cpu}"] == 1
    assert "lectern_lease_age_seconds{default}" not in told
    assert reap(redis_client, ref, LOST, settled=True) is JobState.FAILED
    assert (await scraped(client))["lectern_jobs_lost_total{default,train.cpu}"] == 1


async def test_durations_and_waits_fall_into_their_buckets(
    client: httpx.AsyncClient, redis_client: redis.Redis
) -> None:
    """A job runs from its first start, attempts in between included; one that never began has no duration."""
    first, second, third = [await _submit(client) for _ in range(3)]
    for ref, waited, ran in ((first, 0.0, 120.0), (second, 7.0, 200_000.0)):
        _earlier(redis_client, ref, "created_ms", waited)
        _take(redis_client, ref).release(DIVERGED)
        _earlier(redis_client, ref, "started_ms", ran)
        _fail(_take(redis_client, ref))
    await client.post(f"/v1/jobs/{third.job_id}/cancel")
    told = await scraped(client)
    name = "lectern_job_duration_seconds"
    buckets = {
        bound: told.get(f"{name}_bucket{{mlp,{bound},default,failed}}", 0) for bound in ("60", "300", "86400", "+Inf")
    }
    assert buckets == {"60": 0, "300": 1, "86400": 1, "+Inf": 2}
    assert told[f"{name}_count{{mlp,default,failed}}"] == 2
    assert 200_120 <= told[f"{name}_sum{{mlp,default,failed}}"] < 200_180
    assert not any("cancelled" in series for series in told if series.startswith(name))
    name = "lectern_job_wait_seconds"
    assert told[f"{name}_count{{default,train.cpu}}"] == told[f"{name}_bucket{{60,default,train.cpu}}"] == 2
    assert told[f"{name}_bucket{{5,default,train.cpu}}"] == 1
    assert 7 <= told[f"{name}_sum{{default,train.cpu}}"] < 60


async def test_the_lease_that_was_not_renewed_for_longest_has_the_age(
    client: httpx.AsyncClient, redis_client: redis.Redis
) -> None:
    old, new = [_take(redis_client, await _submit(client)) for _ in range(2)]
    redis_client.zincrby(KEYS.leases(), -100_000, old.ref.keys[0])
    redis_client.zincrby(KEYS.leases(), -10_000, new.ref.keys[0])
    assert 100 <= (await scraped(client))["lectern_lease_age_seconds{default}"] < 160
    old.renew(HOUR)
    assert 10 <= (await scraped(client))["lectern_lease_age_seconds{default}"] < 70
    old.succeed("digits", 1)
    new.release(LOST)
    assert 'lectern_lease_age_seconds{project="default"} 0.0' in (await client.get("/metrics")).text
    assert redis_client.exists(KEYS.leases()) == 0


async def test_workers_and_their_slots_are_counted_by_queue(
    client: httpx.AsyncClient, redis_client: redis.Redis, redis_server: str
) -> None:
    """One that lapsed is not there; the next beat of another takes it off the list."""
    both = Presence(WorkerSettings(redis_url=redis_server, queues=("train.cpu", "train.gpu"), worker_slots=2))
    gone = WorkerPresence(host="gone", pid=1, queues=("train.cpu",), slots=9, version="0")
    redis_client.zadd(WORKERS, {gone.key: 1})
    both.beat()
    other = gone.model_copy(update={"host": "other", "slots": 3})
    redis_client.set(other.key, other.model_dump_json())
    redis_client.zadd(WORKERS, {other.key: 2**31})
    told = await scraped(client)
    assert [told[f"lectern_workers{{{queue}}}"] for queue in QUEUES] == [2, 1]
    assert [told[f"lectern_worker_slots{{{queue}}}"] for queue in QUEUES] == [5, 2]
    assert redis_client.zscore(WORKERS, gone.key) is None
    both.leave()
    redis_client.delete(other.key)
    assert not any(name.startswith("lectern_worker") for name in await scraped(client))


async def test_without_redis_nothing_is_told_of_jobs(
    client: httpx.AsyncClient, redis_client: redis.Redis, services: Services
) -> None:
    """What was true at the scrape before is not repeated."""
    _take(redis_client, await _submit(client))
    assert (await scraped(client))["lectern_jobs{default,train.cpu,running}"] == 1
    await services.queue.close()
    object.__setattr__(services, "queue", JobQueue("unix:///nowhere/redis.sock", "default", 5))
    text = (await client.get("/metrics")).text
    lines = {line for line in text.splitlines() if "lectern_" in line and not line.startswith("#")}
    assert {line for line in lines if not line.startswith("lectern_http")} == {
        "lectern_queue_up 0.0",
        "lectern_models_loaded 0.0",
    }


async def test_a_record_from_before_there_were_figures_disturbs_none(
    client: httpx.AsyncClient, redis_client: redis.Redis
) -> None:
    ref = await _submit(client)
    redis_client.hdel(ref.keys[0], "queue", "family", "created_ms")
    redis_client.delete(KEYS.figures())
    _fail(_take(redis_client, ref))
    assert redis_client.exists(KEYS.figures()) == 0
    assert (await client.get(f"/v1/jobs/{ref.job_id}")).json()["state"] == "failed"


@pytest.mark.slow
@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
async def test_prometheus_finds_nothing_wrong_with_the_metrics(
    client: httpx.AsyncClient, redis_client: redis.Redis
) -> None:
    _fail(_take(redis_client, await _submit(client)))
    text = (await client.get("/metrics")).content
    checked = await asyncio.create_subprocess_exec(
        str(PROMTOOL), "check", "metrics", stdin=PIPE, stdout=PIPE, stderr=STDOUT
    )
    found, _ = await checked.communicate(text)
    assert (checked.returncode, found) == (0, b"")


def _fail_or_settle(claim: Claim) -> None:
    claim.fail(DIVERGED)
    claim.release(LOST)


@pytest.mark.slow
@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
async def test_the_alerts_come_when_they_should() -> None:
    """What they are held against stands in docker/alerts_test.yml."""
    process = await asyncio.create_subprocess_exec(
        str(PROMTOOL), "test", "rules", str(ALERTS / "alerts_test.yml"), stdout=PIPE, stderr=STDOUT
    )
    found, _ = await process.communicate()
    assert process.returncode == 0, found.decode()


class Board:
    """Some jobs, what workers, owners and reaper do to them, and figures counted by looking at what they did."""

    def __init__(self, client: redis.Redis) -> None:
        """Begin with an empty Redis."""
        client.flushdb()
        self._redis = client
        self._claims: dict[str, Claim] = {}
        self.expected: Counter[str] = Counter()

    def do(self, step: str, number: int) -> None:
        """Do one thing to a job, if it can be done to it, and count what has come of it."""
        ref = JobRef("default", f"job_{number}")
        before, held = self._record(ref), bool(self._redis.hexists(ref.keys[0], "token"))
        if step == "submit":
            if not before:
                self._submit(ref, QUEUES[number % 2])
        elif before:
            getattr(self, step)(ref)
        after = self._record(ref)
        state, final = after.get("state"), after.get("state") in ("succeeded", "failed", "cancelled")
        if before.get("state") != state:
            self.expected["retried"] += state == "queued" and step != "submit"
            self.expected["started"] += state == "running" and "started_ms" not in before
            self.expected[f"ended {state}"] += final and "started_ms" in after
        self.expected["lost"] += step == "reap" and held and not self._redis.hexists(ref.keys[0], "token")

    def walked(self) -> Counter[str]:
        """Return the number of jobs by queue and state, counted by reading every record."""
        records = [_fields(self._redis, str(key)) for key in self._redis.scan_iter("lectern:default:job:job_?")]
        return Counter(f"jobs:{record['queue']}:{record['state']}" for record in records)

    def claim(self, ref: JobRef) -> None:
        claim = Claim.take(self._redis, ref, HOUR)
        if claim is not None:
            self._claims[ref.job_id] = claim

    def renew(self, ref: JobRef) -> None:
        self._fenced(ref, lambda claim: claim.renew(HOUR))

    def export(self, ref: JobRef) -> None:
        self._fenced(ref, Claim.exporting)

    def publish(self, ref: JobRef) -> None:
        self._fenced(ref, Claim.publishing)

    def succeed(self, ref: JobRef) -> None:
        self._fenced(ref, lambda claim: claim.succeed("digits", 1))

    def fail(self, ref: JobRef) -> None:
        self._fenced(ref, _fail_or_settle)

    def hand_back(self, ref: JobRef) -> None:
        self._fenced(ref, lambda claim: claim.release(DIVERGED, handed_back=True))

    def release(self, ref: JobRef) -> None:
        self._fenced(ref, lambda claim: claim.release(DIVERGED))

    def cancel(self, ref: JobRef) -> None:
        self._redis.eval(scripts.CANCEL, len(ref.keys), *ref.keys, ref.job_id, now(), str(EVENTS_KEPT))

    def lapse(self, ref: JobRef) -> None:
        if self._redis.hexists(ref.keys[0], "token"):
            _lapse(self._redis, ref)

    def reap(self, ref: JobRef) -> None:
        reap(self._redis, ref, LOST)

    def settle(self, ref: JobRef) -> None:
        """Let the reaper end what nobody holds any more."""
        if not self._redis.hexists(ref.keys[0], "token"):
            reap(self._redis, ref, LOST, settled=True)

    def expire(self, ref: JobRef) -> None:
        if JobState(self._record(ref)["state"]).final:
            self._redis.eval(FORGET, len(ref.keys), *ref.keys)

    def _fenced(self, ref: JobRef, write: Callable[[Claim], object]) -> None:
        claim = self._claims.get(ref.job_id)
        if claim is not None and self._redis.hget(ref.keys[0], "token") == claim.token:
            write(claim)

    def _record(self, ref: JobRef) -> dict[str, str]:
        return _fields(self._redis, ref.keys[0])

    def _submit(self, ref: JobRef, queue: str) -> None:
        keys = [ref.keys[0], KEYS.index(), KEYS.active(), ref.keys[1], KEYS.figures()]
        fields = {"state": "queued", "attempt": "0", "max_attempts": "2", "queue": queue, "family": "mlp"}
        flat = [text for field in fields.items() for text in field]
        self._redis.eval(scripts.SUBMIT, len(keys), *keys, ref.job_id, "1", str(EVENTS_KEPT), "digest", "", *flat)


# What brings a job on stands in more often, so that jobs come to every end.
STEPS = [
    *("submit", "claim", "claim", "renew", "export", "publish", "succeed", "fail", "release", "cancel"),
    *("hand_back", "lapse", "reap", "settle", "expire"),
]


@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 3)), min_size=10, max_size=60))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_figures_equal_a_walk_over_the_records(redis_client: redis.Redis, steps: list[tuple[str, int]]) -> None:
    """Whatever workers, owners, reaper and retention do, in whatever order."""
    board = Board(redis_client)
    for step, number in steps:
        board.do(step, number)
    kept = {name: int(number) for name, number in _fields(redis_client, KEYS.figures()).items()}
    jobs = {name: number for name, number in kept.items() if name.startswith("jobs:") and number}
    assert jobs == board.walked()

    def total(first: str) -> int:
        return sum(n for name, n in kept.items() if name.startswith(first) and not name.endswith(":sum"))

    found = {"lost": total("lost:"), "retried": total("retried:"), "started": total("wait:")}
    found |= {f"ended {state}": total(f"duration:{state}:") for state in ("succeeded", "failed", "cancelled")}
    assert {name: number for name, number in found.items() if number} == +board.expected
    held = {key for key in redis_client.scan_iter("lectern:default:job:job_?") if redis_client.hexists(key, "token")}
    assert set(redis_client.zrange(KEYS.leases(), 0, -1)) == held
