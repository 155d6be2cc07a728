"""The one Celery task: bring this worker to a job."""

from __future__ import annotations

import orjson
from celery import Celery
from redis import Redis

from models.contract.jobs import TRAIN_TASK, JobState, queue_for
from workers.claims import JobRef, connect
from workers.settings import WorkerSettings
from workers.supervisor import supervise


def register(celery: Celery, settings: WorkerSettings) -> None:
    """Define the task on ``celery``."""

    def train(project: str, job_id: str) -> None:
        ref, redis = JobRef(project, job_id), connect(settings.redis_url)
        if supervise(ref, settings, redis) is JobState.QUEUED:
            send(celery, ref, queue_of(redis, ref))

    celery.task(train, name=TRAIN_TASK)


def send(celery: Celery, ref: JobRef, queue: str) -> None:
    """Ask the workers of ``queue`` to take a job."""
    celery.send_task(TRAIN_TASK, args=[ref.project, ref.job_id], queue=queue)


def queue_of(redis: Redis, ref: JobRef) -> str:
    """Return the queue that a job belongs to."""
    return queue_for(orjson.loads(str(redis.hget(ref.keys[0], "request")))["training"])
