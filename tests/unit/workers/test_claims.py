"""Every write of a job's record checks the claim's token; what ended never changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from redis import Redis

from models.contract.errors import LeaseLost, TrainingDiverged, WorkerLost
from models.contract.jobs import CHANGED_MODELS, JobKeys, JobState, Progress, broker_url
from workers.claims import Claim, JobRef, reap

Submit = Callable[..., JobRef]
LOST = WorkerLost("The worker vanished.")
HOUR = 3600.0


def take(redis: Redis, ref: JobRef, lease_seconds: float = HOUR) -> Claim:
    claim = Claim.take(redis, ref, lease_seconds)
    assert claim is not None
    return claim


def lapse(redis: Redis, ref: JobRef) -> None:
    """Let the lease lie in the past, as it does when a worker vanished."""
    redis.hset(ref.keys[0], "lease_expires_ms", "1")


def state(redis: Redis, ref: JobRef) -> str:
    return str(redis.hget(ref.keys[0], "state"))


def events(redis: Redis, ref: JobRef) -> list[tuple[str, dict[str, object]]]:
    entries: Any = redis.xrange(JobKeys(ref.project).events(ref.job_id))
    return [(fields["event"], orjson.loads(fields["data"])) for _, fields in entries]


def test_a_job_is_claimed_once(redis: Redis, submit: Submit) -> None:
    ref = submit()
    assert take(redis, ref).attempt == 1
    assert Claim.take(redis, ref, HOUR) is None
    assert events(redis, ref) == [("state", {"state": "running", "attempt": 1})]


def test_a_lost_claim_can_write_nothing(redis: Redis, submit: Submit) -> None:
    ref = submit()
    old = take(redis, ref)
    lapse(redis, ref)
    assert reap(redis, ref, LOST) is JobState.QUEUED
    new = take(redis, ref)
    assert new.attempt == 2
    writes: list[Callable[[], object]] = [
        lambda: old.renew(HOUR),
        lambda: old.progress(Progress()),
        lambda: old.epoch(1, {"loss": 1.0}),
        lambda: old.log("line"),
        lambda: old.checkpoint("path"),
        old.exporting,
        old.publishing,
        lambda: old.succeed("digits", 1),
        lambda: old.fail(TrainingDiverged("no")),
        lambda: old.stumble(LOST),
    ]
    before = redis.hgetall(ref.keys[0]), redis.xlen(ref.keys[1])
    for write in writes:
        with pytest.raises(LeaseLost):
            write()
    assert old.release(LOST) is None
    assert (redis.hgetall(ref.keys[0]), redis.xlen(ref.keys[1])) == before


def test_a_held_job_is_not_reaped(redis: Redis, submit: Submit) -> None:
    ref = submit()
    take(redis, ref)
    assert reap(redis, ref, LOST) is None
    assert state(redis, ref) == "running"


def test_the_last_attempt_lost_fails_the_job(redis: Redis, submit: Submit) -> None:
    ref = submit()
    for expected in (JobState.QUEUED, JobState.FAILED):
        take(redis, ref)
        lapse(redis, ref)
        assert reap(redis, ref, LOST) is expected
    assert orjson.loads(redis.hget(ref.keys[0], "error") or "{}")["code"] == "worker_lost"
    assert events(redis, ref)[-1][1]["error"] == LOST.problem()
    assert not redis.smembers(JobKeys("default").active())


def test_a_job_that_cannot_be_done_fails_at_its_first_attempt_with_its_own_reason(redis: Redis, submit: Submit) -> None:
    ref = submit()
    claim = take(redis, ref)
    claim.fail(TrainingDiverged("loss became nan at step 7"))
    assert claim.release(LOST) is JobState.FAILED
    assert events(redis, ref)[-1][1]["error"] == TrainingDiverged("loss became nan at step 7").problem()


def test_a_job_that_fails_while_it_is_cancelled_is_cancelled(redis: Redis, submit: Submit) -> None:
    ref = submit()
    claim = take(redis, ref)
    redis.hset(ref.keys[0], "cancel_requested", "1")
    claim.fail(TrainingDiverged("no"))
    assert claim.release(LOST) is JobState.CANCELLED
    assert redis.hget(ref.keys[0], "error") is None


def test_the_last_of_several_stumbles_is_the_reason(redis: Redis, submit: Submit) -> None:
    """What an earlier attempt said does not stick to the job."""
    ref = submit()
    first = take(redis, ref)
    first.stumble(TrainingDiverged("first"))
    assert first.release(LOST) is JobState.QUEUED
    second = take(redis, ref)
    assert second.release(LOST) is JobState.FAILED
    assert orjson.loads(redis.hget(ref.keys[0], "error") or "{}")["code"] == "worker_lost"


def test_an_attempt_handed_back_does_not_count(redis: Redis, submit: Submit) -> None:
    """A worker can be restarted as often as one likes; numbers of attempts go on all the same."""
    ref = submit()
    for attempt in range(1, 6):
        claim = take(redis, ref)
        assert claim.attempt == attempt
        assert claim.release(LOST, handed_back=True) is JobState.QUEUED
    for expected in (JobState.QUEUED, JobState.FAILED):
        assert take(redis, ref).release(LOST) is expected


def test_events_name_the_attempt_that_they_are_of(redis: Redis, submit: Submit) -> None:
    ref = submit()
    take(redis, ref).release(LOST)
    claim = take(redis, ref)
    claim.progress(Progress(step=3))
    claim.epoch(1, {"loss": 1.0})
    claim.log("line")
    told = [(kind, data["attempt"]) for kind, data in events(redis, ref)]
    assert told[-4:] == [("state", 2), ("progress", 2), ("epoch", 2), ("log", 2)]


def test_the_last_lines_of_a_trainer_are_kept_after_its_end_and_told_to_nobody(redis: Redis, submit: Submit) -> None:
    """The stream of events ends with the last state; a new attempt shuts the log of the one before."""
    ref = submit()
    first = take(redis, ref)
    first.release(LOST)
    first.log("traceback of the first")
    second = take(redis, ref)
    with pytest.raises(LeaseLost):
        first.log("too late")
    second.release(LOST)
    second.log("traceback of the second")
    assert redis.lrange(ref.keys[3], 0, -1) == ["traceback of the first", "traceback of the second"]
    assert events(redis, ref)[-1][1]["state"] == "failed"


def test_a_job_lost_while_being_cancelled_is_cancelled(redis: Redis, submit: Submit) -> None:
    ref = submit()
    take(redis, ref)
    redis.hset(ref.keys[0], "cancel_requested", "1")
    lapse(redis, ref)
    assert reap(redis, ref, LOST) is JobState.CANCELLED


def test_a_cancelled_job_does_not_pass_the_point_of_no_return(redis: Redis, submit: Submit) -> None:
    ref = submit()
    claim = take(redis, ref)
    redis.hset(ref.keys[0], "cancel_requested", "1")
    assert claim.renew(HOUR) is True
    assert claim.publishing() is False


def test_an_attempt_after_publishing_began_goes_on_publishing(redis: Redis, submit: Submit) -> None:
    ref = submit()
    assert take(redis, ref).publishing() is True
    lapse(redis, ref)
    assert reap(redis, ref, LOST) is JobState.QUEUED
    assert take(redis, ref).publishing() is True


def test_success_is_final_and_announced(redis: Redis, submit: Submit) -> None:
    ref = submit()
    channel = redis.pubsub()
    channel.subscribe(CHANGED_MODELS)
    assert channel.get_message(timeout=5) is not None
    claim = take(redis, ref)
    claim.exporting()
    claim.succeed("digits", 3)
    assert (state(redis, ref), redis.hget(ref.keys[0], "version")) == ("succeeded", "3")
    assert events(redis, ref)[-1][1] == {"state": "succeeded", "attempt": 1, "model": "digits", "version": 3}
    message = channel.get_message(timeout=5)
    assert message is not None
    assert message["data"] == "default/digits"
    channel.close()
    assert claim.release(LOST) is None
    with pytest.raises(LeaseLost):
        claim.fail(TrainingDiverged("late"))
    assert Claim.take(redis, ref, HOUR) is None
    assert state(redis, ref) == "succeeded"


@pytest.mark.parametrize(
    ("redis_url", "celery_url"),
    [
        ("unix:///run/redis.sock?db=0", "redis+socket:///run/redis.sock?virtual_host=0"),
        ("unix:///my-db=1/redis.sock?db=2", "redis+socket:///my-db=1/redis.sock?virtual_host=2"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock"),
        ("redis://host:6379/0", "redis://host:6379/0"),
    ],
)
def test_celery_is_told_the_same_redis(redis_url: str, celery_url: str) -> None:
    assert broker_url(redis_url) == celery_url
