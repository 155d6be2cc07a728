"""One pass of the reaper: what it takes back, what it sends again, and what it finds published."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from celery import Celery
from redis import Redis

from models.artifacts.store import ArtifactStore
from models.artifacts.versions import Versions
from models.contract.errors import LeaseLost, ModelNotFound, TrainerCrashed
from models.contract.jobs import CPU_QUEUE, GPU_QUEUE, JobKeys, Priority, Waiting
from unit.workers.manifests import manifest_of
from workers.celery_app import make_celery
from workers.claims import Claim, JobRef
from workers.reaper import sweep
from workers.settings import WorkerSettings

Submit = Callable[..., JobRef]
Sweep = Callable[[], None]
HOUR = 3600.0
CPU = Waiting(CPU_QUEUE, Priority.NORMAL).key
GPU = Waiting(GPU_QUEUE, Priority.NORMAL).key


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    return Versions(ArtifactStore(tmp_path.as_uri()))


@pytest.fixture
def celery(redis_url: str) -> Iterator[Celery]:
    celery = make_celery(WorkerSettings(redis_url=redis_url))
    yield celery
    celery.close()


@pytest.fixture
def once(redis: Redis, celery: Celery, tmp_path: Path) -> Sweep:
    """Return a function that is one pass of the reaper."""
    return lambda: sweep(redis, celery, tmp_path.as_uri())


def take(redis: Redis, ref: JobRef) -> Claim:
    claim = Claim.take(redis, ref, HOUR)
    assert claim is not None
    return claim


def lapse(redis: Redis, ref: JobRef) -> None:
    """Let the lease lie in the past, as it does when a worker vanished."""
    redis.hset(ref.keys[0], "lease_expires_ms", "1")


def shown(redis: Redis, ref: JobRef) -> tuple[str | None, str | None]:
    """Return the job's state and version."""
    return redis.hget(ref.keys[0], "state"), redis.hget(ref.keys[0], "version")  # type: ignore[return-value]


def lost_while_publishing(redis: Redis, ref: JobRef, *, attempts: int) -> Claim:
    """Claim the job so often, pass the point of no return, and let its worker vanish."""
    redis.hset(ref.keys[0], mapping={"attempt": str(attempts - 1)})
    claim = take(redis, ref)
    assert claim.publishing()
    lapse(redis, ref)
    return claim


def test_the_reaper_sends_one_message_for_a_queued_job_that_has_none(redis: Redis, submit: Submit, once: Sweep) -> None:
    submit("job_1")
    once()
    once()
    assert redis.llen(CPU) == 1


def test_the_reaper_sees_which_of_many_queued_jobs_has_no_message(redis: Redis, submit: Submit, once: Sweep) -> None:
    """Those of others that wait do not hide it."""
    for number in range(3):
        submit(f"job_{number}")
    once()
    lost: Any = redis.lindex(CPU, 1)
    redis.lrem(CPU, 1, lost)
    once()
    assert redis.llen(CPU) == 3
    assert lost not in redis.lrange(CPU, 0, -1)


@pytest.mark.parametrize("priority", list(Priority))
def test_a_message_sent_again_keeps_its_priority(redis: Redis, submit: Submit, once: Sweep, priority: Priority) -> None:
    submit("job_1", priority=priority)
    once()
    assert redis.llen(Waiting(CPU_QUEUE, priority).key) == 1


def test_a_lapsed_lease_can_still_be_renewed_after_nobody_could_look(
    redis: Redis, celery: Celery, submit: Submit, tmp_path: Path
) -> None:
    """Redis was away, or the machine slept: the worker is as well as the reaper is."""
    ref = submit()
    claim = take(redis, ref)
    lapse(redis, ref)
    sweep(redis, celery, tmp_path.as_uri(), lenient=True)
    assert claim.renew(HOUR) is False
    assert shown(redis, ref)[0] == "running"


def test_a_record_that_cannot_be_read_holds_up_no_other(redis: Redis, submit: Submit, once: Sweep) -> None:
    redis.hset(submit("job_1").keys[0], "request", '{"of": "another Lectern"}')
    redis.sadd(JobKeys("default").active(), "job_2")  # its record is gone
    submit("job_3")
    once()
    assert redis.llen(CPU) == 1


@pytest.mark.parametrize("junk", ["a job", "{}", '{"body": 1}', '{"body": "W10="}', '{"body": "bnVsbA=="}', "[]"])
def test_a_message_that_is_not_ours_keeps_nobody_from_being_looked_after(
    redis: Redis, submit: Submit, once: Sweep, junk: str
) -> None:
    redis.lpush(CPU, junk)
    submit("job_1")
    once()
    assert redis.llen(CPU) == 2


def test_the_reaper_requeues_a_lost_job_and_sends_its_message(redis: Redis, submit: Submit, once: Sweep) -> None:
    ref = submit()
    take(redis, ref)
    lapse(redis, ref)
    once()
    assert shown(redis, ref)[0] == "queued"
    assert redis.llen(CPU) == 1


def test_the_reaper_sends_a_job_that_asks_for_a_gpu_to_the_workers_that_have_one(
    redis: Redis, submit: Submit, once: Sweep
) -> None:
    """Jobs of one queue neither wait for nor stand in for those of the other."""
    submit("job_1", device="cuda")
    once()
    submit("job_2")
    once()
    assert (redis.llen(GPU), redis.llen(CPU)) == (1, 1)


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_job_whose_version_is_published_succeeds(
    redis: Redis, submit: Submit, once: Sweep, versions: Versions, attempts: int
) -> None:
    """Also when the worker that vanished was in the last attempt."""
    ref = submit()
    lost_while_publishing(redis, ref, attempts=attempts)
    versions.publish(manifest_of("other", 1))
    versions.publish(manifest_of(ref.job_id, 1))
    once()
    assert shown(redis, ref) == ("succeeded", "2")
    assert not redis.smembers(JobKeys("default").active())
    assert redis.llen(CPU) == 0


def test_a_job_that_was_queued_again_before_its_version_appeared_succeeds(
    redis: Redis, submit: Submit, once: Sweep, versions: Versions
) -> None:
    ref = submit()
    lost_while_publishing(redis, ref, attempts=1)
    once()
    assert shown(redis, ref) == ("queued", None)
    versions.publish(manifest_of(ref.job_id, 1))
    once()
    assert shown(redis, ref) == ("succeeded", "1")


def test_a_worker_lost_between_marker_and_manifest_has_published(
    redis: Redis, submit: Submit, once: Sweep, versions: Versions, tmp_path: Path
) -> None:
    ref = submit()
    lost_while_publishing(redis, ref, attempts=2)
    versions.publish(manifest_of(ref.job_id, 1))
    (tmp_path / "default/models/digits/versions/1.json").unlink()
    once()
    assert shown(redis, ref) == ("succeeded", "1")
    assert versions.manifest("digits", 1).job == ref.job_id


def test_a_job_given_up_is_published_by_nobody_any_more(
    redis: Redis, submit: Submit, once: Sweep, versions: Versions
) -> None:
    """A worker that was only stopped wakes up after its job failed."""
    ref = submit()
    lost_while_publishing(redis, ref, attempts=2)
    once()
    assert shown(redis, ref) == ("failed", None)
    assert orjson.loads(redis.hget(ref.keys[0], "error") or "{}")["code"] == "worker_lost"
    with pytest.raises(LeaseLost):
        versions.publish(manifest_of(ref.job_id, 1))
    with pytest.raises(ModelNotFound):
        versions.listing("digits")


def test_a_trainer_that_ends_while_publishing_leaves_the_end_to_the_reaper(
    redis: Redis, submit: Submit, once: Sweep, versions: Versions
) -> None:
    """Its supervisor does not know whether there is a version."""
    for job, published, end in (("job_1", True, "succeeded"), ("job_2", False, "failed")):
        ref = submit(job)
        claim = lost_while_publishing(redis, ref, attempts=2)
        if published:
            versions.publish(manifest_of(job, 1))
        assert claim.release(TrainerCrashed("It was killed by signal 9.")) is None
        assert shown(redis, ref)[0] == "running"
        once()
        assert shown(redis, ref)[0] == end
    assert orjson.loads(redis.hget(ref.keys[0], "error") or "{}")["detail"] == "It was killed by signal 9."


def test_without_the_store_a_job_that_may_have_published_waits(
    redis: Redis, celery: Celery, submit: Submit, tmp_path: Path
) -> None:
    ref = submit()
    lost_while_publishing(redis, ref, attempts=2)
    (tmp_path / "file").touch()
    sweep(redis, celery, (tmp_path / "file").as_uri())
    assert shown(redis, ref)[0] == "running"


def test_a_job_that_is_held_is_left_alone(redis: Redis, submit: Submit, once: Sweep, versions: Versions) -> None:
    ref = submit()
    claim = take(redis, ref)
    assert claim.publishing()
    versions.publish(manifest_of(ref.job_id, 1))
    once()
    assert shown(redis, ref) == ("running", None)
    claim.succeed("digits", 1)
