"""Finds jobs that nobody works on: ``python -m workers.reaper``, a process beside the worker's queue.

A job whose lease lapsed goes back to the queue, or fails with ``worker_lost`` at its last attempt. One that passed
the point of no return is looked up in the store first: if it published, it succeeded. A job that stays queued while
the broker holds no message gets a new one; a second message does no harm, it finds the claim taken. One reaper works
at a time (a lock in Redis); it ends when its stdin does, that is with its worker.
"""

from __future__ import annotations

import select
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import orjson
import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from models.artifacts.store import ArtifactStore
from models.artifacts.versions import Versions
from models.contract.errors import LecternError, WorkerLost
from models.contract.jobs import QUEUES, JobKeys, JobState
from workers.celery_app import make_celery
from workers.claims import JobRef, complete, connect, reap
from workers.logs import configure
from workers.settings import WorkerSettings
from workers.tasks import queue_of, send

LOCK = "lectern:reaper"
PASS_SECONDS = 5.0

log = structlog.get_logger()


def main() -> int:
    """Look for lost jobs every few seconds until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the worker too, and the end of stdin follows
    settings = WorkerSettings()
    configure(settings.log_level)
    redis, celery = connect(settings.redis_url), make_celery(settings)
    while not select.select([sys.stdin], [], [], PASS_SECONDS)[0]:
        try:
            if redis.set(LOCK, "1", nx=True, px=int(PASS_SECONDS * 900)):
                sweep(redis, celery, settings.store_url)
        except (RedisError, OperationalError, OSError) as error:
            log.warning("queue_unreachable", error=str(error))
    return 0


def sweep(redis: Redis, celery: Celery, store_url: str) -> None:
    """End published jobs, take lapsed ones back and send messages for queued ones that have none."""
    waiting = {queue: redis.llen(queue) for queue in QUEUES}
    for key in cast("Iterable[str]", redis.scan_iter(match=JobKeys("*").active())):
        project = key.split(":")[1]
        for job_id in sorted(cast("set[str]", redis.smembers(key))):
            ref = JobRef(project, job_id)
            look = _look(redis, ref)
            if look.held:
                continue
            lost = look.state is not JobState.QUEUED and _take_back(redis, ref) is JobState.QUEUED
            if look.publishing and _ended(redis, ref, store_url):
                continue
            if lost or look.state is JobState.QUEUED:
                queue = queue_of(redis, ref)
                if lost or waiting[queue] == 0:
                    send(celery, ref, queue)


@dataclass(frozen=True)
class _Look:
    """A job as it was when the reaper looked; every step after it asks again, in the script that does it."""

    state: JobState
    held: bool
    publishing: bool
    model: str


def _look(redis: Redis, ref: JobRef) -> _Look:
    names = ("state", "lease_expires_ms", "publishing", "request")
    state, expires, publishing, request = cast("list[str | None]", redis.hmget(ref.keys[0], names))
    seconds, microseconds = redis.time()
    return _Look(
        state=JobState(str(state)),
        held=int(expires or 0) > seconds * 1000 + microseconds // 1000,
        publishing=publishing == "1",
        model=orjson.loads(str(request))["model"],
    )


def _ended(redis: Redis, ref: JobRef, store_url: str) -> bool:
    """End a job past the point of no return if it published or no attempt is left; return whether it is dealt with."""
    look = _look(redis, ref)
    if look.held or look.state.final:
        return True
    # Without a holder but not queued: the last attempt ended. Nobody can publish for it any more once that is settled.
    give_up = look.state is not JobState.QUEUED
    try:
        versions = Versions(ArtifactStore(store_url), ref.project)
        version = versions.settle(look.model, ref.job_id, give_up=give_up)
    except LecternError as error:
        log.warning("store_unreachable", job_id=ref.job_id, error=error.detail)
        return True
    if version is not None:
        if complete(redis, ref, look.model, version):
            log.warning("job_completed", job_id=ref.job_id, model=look.model, version=version)
        return True
    if give_up:
        _take_back(redis, ref, settled=True)
    return give_up


def _take_back(redis: Redis, ref: JobRef, *, settled: bool = False) -> JobState | None:
    error = WorkerLost(f"The worker of job {ref.job_id} vanished; no attempt is left.")
    state = reap(redis, ref, error, settled=settled)
    if state is not None:
        log.warning("job_lost", job_id=ref.job_id, state=state.value)
    return state


if __name__ == "__main__":
    sys.exit(main())
