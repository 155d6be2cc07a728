"""The one Celery task: bring this worker to a job."""

from __future__ import annotations

from celery import Celery

from models.contract.jobs import CPU_QUEUE, TRAIN_TASK, JobState
from workers.claims import JobRef, connect
from workers.settings import WorkerSettings
from workers.supervisor import supervise


def register(celery: Celery, settings: WorkerSettings) -> None:
    """Define the task on ``celery``."""

    def train(project: str, job_id: str) -> None:
        ref = JobRef(project, job_id)
        if supervise(ref, settings, connect(settings.redis_url)) is JobState.QUEUED:
            send(celery, ref)

    celery.task(train, name=TRAIN_TASK)


def send(celery: Celery, ref: JobRef) -> None:
    """Ask for a worker for a job."""
    celery.send_task(TRAIN_TASK, args=[ref.project, ref.job_id], queue=CPU_QUEUE)
