"""One worker alone, as `lectern worker` runs it in a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import JsonValue

from models.artifacts.datasets import Datasets
from models.artifacts.store import ArtifactStore
from models.catalog import Catalog
from models.contract.jobs import JobKeys, JobRequest
from processes import children
from waiting import wait_until
from workers.celery_app import make_celery
from workers.claims import JobRef, connect
from workers.settings import WorkerSettings
from workers.tasks import send

if TYPE_CHECKING:
    from integration.conftest import StackClient

LIMIT_SECONDS = 20.0
LONG_SECONDS = 45.0


@pytest.fixture
def alone(
    stack: StackClient, request: pytest.FixtureRequest
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """Return a worker that has a database of the stack's Redis and a store to itself, and its environment."""
    environment = {
        "LECTERN_REDIS_URL": stack.redis_url.replace("db=0", "db=1"),
        "LECTERN_STORE_URL": (stack.home / "alone").as_uri(),
        **getattr(request, "param", {}),
    }
    with connect(environment["LECTERN_REDIS_URL"]) as redis:
        redis.flushdb()
    command = [sys.executable, "-m", "workers"]
    with subprocess.Popen(command, env=os.environ | environment, start_new_session=True) as worker:
        try:
            yield worker, environment
        finally:
            if worker.poll() is None:
                os.killpg(worker.pid, signal.SIGKILL)


def reapers(worker: subprocess.Popen[bytes]) -> set[int]:
    """Return the process ids of the reapers that ``worker`` started."""
    return {pid for pid, command in children(worker.pid).items() if "-m workers.reaper" in command}


def submit(ref: JobRef, environment: dict[str, str], **training: JsonValue) -> JobRequest:
    """Record a job and send its message, as a gateway does."""
    digest = Datasets(ArtifactStore(environment["LECTERN_STORE_URL"]), Catalog()).record("digits").digest
    request = JobRequest(
        family="mlp", dataset="digits", model="m", project=ref.project, dataset_digest=digest, training=training
    )
    fields = {"request": request.model_dump_json(), "state": "queued", "attempt": "0", "max_attempts": "5"}
    with connect(environment["LECTERN_REDIS_URL"]) as redis:
        for name, value in fields.items():
            redis.hset(ref.keys[0], name, value)
        redis.sadd(JobKeys(ref.project).active(), ref.job_id)
    celery = make_celery(WorkerSettings(redis_url=environment["LECTERN_REDIS_URL"]))
    send(celery, ref, request.waiting)
    celery.close()
    return request


def test_a_reaper_that_was_killed_is_replaced(alone: tuple[subprocess.Popen[bytes], dict[str, str]]) -> None:
    worker, _ = alone
    wait_until(lambda: bool(reapers(worker)))
    (first,) = reapers(worker)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: bool(reapers(worker) - {first}))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_worker_told_to_stop_hands_its_job_back(
    alone: tuple[subprocess.Popen[bytes], dict[str, str]], number: signal.Signals
) -> None:
    """With a checkpoint of that moment, a message for the next worker, and all attempts left."""
    worker, environment = alone
    store = environment["LECTERN_STORE_URL"]
    ref, redis = JobRef("default", "job_1"), connect(environment["LECTERN_REDIS_URL"])
    request = submit(ref, environment, epochs=50_000)
    wait_until(lambda: redis.hget(ref.keys[0], "progress") is not None)
    os.killpg(worker.pid, number)
    worker.wait(LIMIT_SECONDS)
    record: Any = redis.hgetall(ref.keys[0])
    assert (record["state"], record["attempt"], record["handed_back"]) == ("queued", "1", "1")
    assert ArtifactStore(store).exists(record["checkpoint"])
    assert redis.llen(request.waiting.key) == 1
    redis.close()


def test_a_worker_stops_though_its_slot_has_not_told_it_that_a_job_began(
    alone: tuple[subprocess.Popen[bytes], dict[str, str]],
) -> None:
    """What was never claimed waits as it did; a worker that waited for the job would be ended while it runs."""
    worker, environment = alone
    first, ref = JobRef("default", "job_1"), JobRef("default", "job_2")
    redis = connect(environment["LECTERN_REDIS_URL"])
    submit(first, environment, epochs=1)
    wait_until(lambda: redis.hget(first.keys[0], "state") == "succeeded")
    (slot,) = children(worker.pid).keys() - reapers(worker)
    done = int(str(redis.hget(first.keys[0], "worker")).rpartition(":")[2])
    wait_until(lambda: children(slot).keys() - {done})  # it has a trainer for the next job
    time.sleep(0.5)  # and has told that it is free
    os.kill(slot, signal.SIGSTOP)
    request = submit(ref, environment, epochs=50_000)
    wait_until(lambda: redis.llen(request.waiting.key) == 0)
    os.kill(worker.pid, signal.SIGTERM)
    time.sleep(0.5)  # it ends its slots, of which one cannot answer yet
    os.kill(slot, signal.SIGCONT)
    worker.wait(LIMIT_SECONDS)
    assert redis.hget(ref.keys[0], "state") == "queued"
    redis.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "alone", [{"LECTERN_LEASE_SECONDS": "1", "LECTERN_CHECKPOINT_SECONDS": "0.5"}], ids=["lease of 1 s"], indirect=True
)
def test_a_job_longer_than_every_timeout_runs_once(alone: tuple[subprocess.Popen[bytes], dict[str, str]]) -> None:
    """Than forty leases and the broker's socket timeout; and the broker holds no message that it could send again."""
    _, environment = alone
    ref, redis = JobRef("default", "job_1"), connect(environment["LECTERN_REDIS_URL"])
    submit(ref, environment, epochs=100_000, max_seconds=LONG_SECONDS)
    wait_until(lambda: redis.hget(ref.keys[0], "progress") is not None)
    unacknowledged = {redis.hlen("unacked")}
    began = time.monotonic()
    while redis.hget(ref.keys[0], "state") in ("running", "exporting"):
        unacknowledged.add(redis.hlen("unacked"))
        time.sleep(0.5)
    assert time.monotonic() - began > LONG_SECONDS - 5
    assert unacknowledged == {0}
    record: Any = redis.hgetall(ref.keys[0])
    assert (record["state"], record["attempt"], record["version"]) == ("succeeded", "1", "1")
    redis.close()


@pytest.mark.slow
def test_a_worker_is_well_for_as_long_as_it_answers(alone: tuple[subprocess.Popen[bytes], dict[str, str]]) -> None:
    """The health check of a container."""
    worker, environment = alone
    command = [sys.executable, "-m", "workers.health"]

    def well() -> bool:
        return subprocess.run(command, env=os.environ | environment, timeout=LIMIT_SECONDS, check=False).returncode == 0

    wait_until(well)
    os.killpg(worker.pid, signal.SIGSTOP)
    wait_until(lambda: not well())
