"""Finds jobs that nobody works on: ``python -m workers.reaper``, a process beside the worker's queue.

A job whose lease lapsed goes back to the queue, or fails with ``worker_lost`` at its last attempt. One that passed
the point of no return is looked up in the store first: if it published, it succeeded. A queued job of which the broker
holds no message gets one; a second message does no harm, it finds the claim taken. One reaper works at a time (a lock
in Redis); it ends when its stdin does, that is with its worker.

Leases lapse, too, while Redis is away or the machine sleeps. So a reaper that could not look for a while first gives
those who hold a job the time to renew.
"""

from __future__ import annotations

import base64
import select
import signal
import sys
import time
from collections.abc import Iterable, Iterator
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
from models.contract.jobs import QUEUES, JobKeys, JobRequest, JobState, waiting_lists
from workers.celery_app import make_celery
from workers.claims import JobRef, complete, connect, reap
from workers.logs import configure
from workers.retention.turns import RetentionTurns
from workers.settings import WorkerSettings
from workers.tasks import send

LOCK = "lectern:reaper"
PASS_SECONDS = 5.0
GAP_SECONDS = 2 * PASS_SECONDS
"""A reaper that could not look for longer than this slept, or its Redis was away."""

log = structlog.get_logger()


def main() -> int:
    """Look for lost jobs every few seconds until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the worker too, and the end of stdin follows
    settings = WorkerSettings()
    configure(settings.log_level)
    redis, celery = connect(settings.redis_url), make_celery(settings)
    retention = RetentionTurns(redis, settings.retention_seconds)
    looked, lenient_until = time.monotonic(), 0.0
    while not select.select([sys.stdin], [], [], PASS_SECONDS)[0]:
        try:
            leading = redis.set(LOCK, "1", nx=True, px=int(PASS_SECONDS * 900))
            moment = time.monotonic()
            if moment - looked > GAP_SECONDS:
                log.info("leases_extended", gap_seconds=round(moment - looked), lease_seconds=settings.lease_seconds)
                lenient_until = moment + settings.lease_seconds
            looked = moment
            if leading:
                sweep(redis, celery, settings.store_url, lenient=moment < lenient_until)
                retention.take()
        except (RedisError, OperationalError, OSError) as error:
            log.warning("queue_unreachable", error=str(error))
    return 0


def sweep(redis: Redis, celery: Celery, store_url: str, *, lenient: bool = False) -> None:
    """End published jobs, take lapsed ones back and send messages for queued ones that have none.

    Args:
        redis: holds the records.
        celery: sends the messages.
        store_url: where versions are looked up.
        lenient: whether to leave jobs alone whose holder can still renew the lease.
    """
    messages = _messages(redis)
    for ref in _active(redis):
        try:
            request = _tend(redis, ref, store_url, lenient=lenient)
        except ValueError as error:  # a record of another Lectern; the other jobs do not wait for it
            log.warning("job_unreadable", job_id=ref.job_id, error=str(error).splitlines()[0])
            continue
        if request is not None and ref not in messages:
            send(celery, ref, request.waiting)


def _tend(redis: Redis, ref: JobRef, store_url: str, *, lenient: bool) -> JobRequest | None:
    """Deal with one job; return its request if it waits for a worker."""
    look = _look(redis, ref)
    if look is None or look.held or (look.claimed and lenient):
        return None
    queued = look.state is JobState.QUEUED or _take_back(redis, ref) is JobState.QUEUED
    if look.publishing and _ended(redis, ref, store_url):
        return None
    return look.request if queued else None


def _active(redis: Redis) -> Iterator[JobRef]:
    """Yield the jobs of all projects that are not final."""
    for key in cast("Iterable[str]", redis.scan_iter(match=JobKeys("*").active())):
        project = key.split(":")[1]
        for job_id in sorted(cast("set[str]", redis.smembers(key))):
            yield JobRef(project, job_id)


def _messages(redis: Redis) -> frozenset[JobRef]:
    """Return the jobs for which a message waits."""
    found: set[JobRef] = set()
    for queue in QUEUES:
        for key in waiting_lists(queue):
            found.update(filter(None, map(_job_of, cast("list[str]", redis.lrange(key, 0, -1)))))
    return frozenset(found)


def _job_of(message: str) -> JobRef | None:
    """Return which job a message is about; None of one that is not ours."""
    try:
        (project, job_id), *_ = orjson.loads(base64.b64decode(orjson.loads(message)["body"]))
    except (ValueError, KeyError, TypeError):
        return None
    return JobRef(project, job_id)


@dataclass(frozen=True)
class _Look:
    """A job as it was when the reaper looked; every step after it asks again, in the script that does it."""

    state: JobState
    claimed: bool
    held: bool
    publishing: bool
    request: JobRequest


def _look(redis: Redis, ref: JobRef) -> _Look | None:
    """Return how a job is; None of one that has no record any more."""
    names = ("state", "token", "lease_expires_ms", "publishing", "request")
    state, token, expires, publishing, request = cast("list[str | None]", redis.hmget(ref.keys[0], names))
    if state is None or request is None:
        return None
    seconds, microseconds = redis.time()
    return _Look(
        state=JobState(state),
        claimed=token is not None,
        held=int(expires or 0) > seconds * 1000 + microseconds // 1000,
        publishing=publishing == "1",
        request=JobRequest.model_validate_json(request),
    )


def _ended(redis: Redis, ref: JobRef, store_url: str) -> bool:
    """End a job past the point of no return if it published or no attempt is left; return whether it is dealt with."""
    look = _look(redis, ref)
    if look is None or look.held or look.state.final:
        return True
    # Without a holder but not queued: the last attempt ended. Nobody can publish for it any more once that is settled.
    give_up = look.state is not JobState.QUEUED
    try:
        versions = Versions(ArtifactStore(store_url), ref.project)
        version = versions.settle(look.request.model, ref.job_id, give_up=give_up)
    except LecternError as error:
        log.warning("store_unreachable", job_id=ref.job_id, error=error.detail)
        return True
    if version is not None:
        complete(redis, ref, look.request.model, version)
        return True
    if give_up:
        _take_back(redis, ref, settled=True)
    return give_up


def _take_back(redis: Redis, ref: JobRef, *, settled: bool = False) -> JobState | None:
    error = WorkerLost(f"The worker of job {ref.job_id} vanished; no attempt is left.")
    return reap(redis, ref, error, settled=settled)


if __name__ == "__main__":
    sys.exit(main())
