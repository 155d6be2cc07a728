"""Finds jobs that nobody works on: ``python -m workers.reaper``, a process beside the worker's queue.

A job whose lease lapsed goes back to the queue, or fails with ``worker_lost`` at its last attempt; a job that
stays queued while the broker holds no message gets a new one. A second message does no harm: it finds the claim
taken. One reaper works at a time (a lock in Redis); it ends when its stdin does, that is with its worker.
"""

from __future__ import annotations

import select
import signal
import sys
from collections.abc import Iterable
from typing import cast

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from models.contract.errors import WorkerLost
from models.contract.jobs import QUEUES, JobKeys, JobState
from workers.celery_app import make_celery
from workers.claims import JobRef, connect, reap
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
                sweep(redis, celery)
        except (RedisError, OperationalError, OSError) as error:
            log.warning("queue_unreachable", error=str(error))
    return 0


def sweep(redis: Redis, celery: Celery) -> None:
    """Take lapsed jobs back and send messages for queued jobs that have none."""
    waiting = {queue: redis.llen(queue) for queue in QUEUES}
    for key in cast("Iterable[str]", redis.scan_iter(match=JobKeys("*").active())):
        project = key.split(":")[1]
        for job_id in cast("set[str]", redis.smembers(key)):
            ref = JobRef(project, job_id)
            state = reap(redis, ref, WorkerLost(f"The worker of job {job_id} vanished; no attempt is left."))
            if state is not None:
                log.warning("job_lost", job_id=job_id, state=state.value)
            queued = state is JobState.QUEUED or redis.hget(ref.keys[0], "state") == JobState.QUEUED.value
            if queued:
                queue = queue_of(redis, ref)
                if waiting[queue] == 0 or state is JobState.QUEUED:
                    send(celery, ref, queue)


if __name__ == "__main__":
    sys.exit(main())
