"""What the trainer writes into the job's record when it cannot go on."""

from __future__ import annotations

from collections.abc import Callable

import orjson
import pytest
import torch
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from models.contract.errors import OutOfMemory, StoreUnavailable
from workers import job, trainer
from workers.claims import Claim, JobRef
from workers.stop import STOPPED

Trainer = Callable[[Callable[..., object]], int]


@pytest.fixture
def ref(submit: Callable[..., JobRef]) -> JobRef:
    return submit()


@pytest.fixture
def run(redis: Redis, redis_url: str, ref: JobRef, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """Return a function that runs the trainer with the given work and returns its exit status."""
    claim = Claim.take(redis, ref, 3600)
    assert claim is not None
    order = {"project": ref.project, "job": ref.job_id, "token": claim.token, "attempt": claim.attempt}
    order["log_descriptor"] = 1
    monkeypatch.setattr(trainer, "configure", lambda *_: None)
    monkeypatch.setenv("LECTERN_REDIS_URL", redis_url)
    monkeypatch.setattr(trainer, "_listen", lambda orders, *_: orders.put(order))
    monkeypatch.setattr(trainer.signal, "signal", lambda *_: None)

    def start(work: Callable[..., object]) -> int:
        monkeypatch.setattr(job, "work", work)
        return trainer.main()

    return start


def refused(*_: object) -> None:
    message = "Error 111 connecting to 127.0.0.1:6379. Connection refused."
    raise RedisConnectionError(message)


def test_a_job_whose_redis_was_away_is_not_failed(run: Trainer, redis: Redis, ref: JobRef) -> None:
    assert run(refused) == STOPPED
    assert redis.hget(ref.keys[0], "state") == "running"


@pytest.mark.parametrize("work", [lambda *_: torch.empty(10**15), lambda *_: bytearray(10**18)])
def test_missing_memory_is_named_as_such(work: Callable[..., object], run: Trainer, redis: Redis, ref: JobRef) -> None:
    assert run(work) == 1
    problem = orjson.loads(redis.hget(ref.keys[0], "failure") or "{}")
    assert problem["code"] == OutOfMemory.code
    assert problem["detail"].startswith("The machine has too little memory; lower training.batch_size")


def test_an_unknown_failure_is_told_in_one_line(run: Trainer, redis: Redis, ref: JobRef) -> None:
    def fail(*_: object) -> None:
        message = "first\nsecond"
        raise RuntimeError(message)

    assert run(fail) == 1
    problem = orjson.loads(redis.hget(ref.keys[0], "failure") or "{}")
    assert problem["detail"] == "RuntimeError: first. The job's log has the traceback."


def test_a_store_that_stays_away_costs_an_attempt_and_not_the_job(run: Trainer, redis: Redis, ref: JobRef) -> None:
    def fail(*_: object) -> None:
        message = "The artifact store failed at 'x': connection refused"
        raise StoreUnavailable(message)

    assert run(fail) == 1
    assert redis.hget(ref.keys[0], "failure") is None
    assert orjson.loads(redis.hget(ref.keys[0], "last_problem") or "{}")["code"] == StoreUnavailable.code
