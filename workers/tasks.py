"""The one Celery task: bring this worker to a job. A :class:`Slot` is the child process in which it runs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

import structlog
from celery import Celery
from redis.exceptions import RedisError

from models.contract.jobs import TRAIN_TASK, JobState, Waiting
from workers.claims import JobRef, connect, request_of
from workers.settings import WorkerSettings
from workers.spare import Spare
from workers.supervisor import supervise

log = structlog.get_logger()


class Slot:
    """A Celery child: it works on one job after another until it is told to end."""

    def __init__(self, celery: Celery, settings: WorkerSettings) -> None:
        """Keep what the jobs need."""
        self._celery = celery
        self._settings = settings
        self._spare = Spare(wanted=settings.warm_trainers)
        self._stopping = False

    def begin(self, **_: object) -> None:
        """Have a trainer wait, from the moment that the child is there."""
        self._spare.prepare()

    def train(self, project: str, job_id: str) -> None:
        """Work on a job, if it still waits for somebody.

        Celery passes on SIGTERM and Ctrl-C as SIGQUIT (REMAP_SIGTERM). It would end the child at once; during a job it
        lets the job be handed back first.
        """
        ref = JobRef(project, job_id)
        before = signal.signal(signal.SIGQUIT, self._stop)
        try:
            with contextlib.closing(connect(self._settings.redis_url)) as redis:
                state = supervise(ref, self._settings, redis, self._spare, lambda: self._stopping)
                if state is JobState.QUEUED:
                    send(self._celery, ref, request_of(redis, ref).waiting)
        except RedisError as error:  # the reaper finds out what became of the job
            log.warning("queue_unreachable", job_id=job_id, error=str(error))
        if self._stopping:
            _end()
        signal.signal(signal.SIGQUIT, before)
        self.begin()

    def _stop(self, *_: object) -> None:
        self._stopping = True


def register(celery: Celery, settings: WorkerSettings) -> Slot:
    """Define the task on ``celery``; return what runs it."""
    slot = Slot(celery, settings)

    def train(project: str, job_id: str) -> None:
        slot.train(project, job_id)

    celery.task(train, name=TRAIN_TASK)
    return slot


def send(celery: Celery, ref: JobRef, waiting: Waiting) -> None:
    """Ask the workers of a queue to take a job."""
    arguments, step = [ref.project, ref.job_id], waiting.priority.step
    celery.send_task(TRAIN_TASK, args=arguments, queue=waiting.queue, priority=step, ignore_result=True)


def _end() -> None:
    """End this process and no other: what Celery does at exit belongs to the parent."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(0)
