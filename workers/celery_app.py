"""Celery as Lectern uses it: a message only brings a worker to a job; Redis keeps the truth.

Messages are acknowledged early and never redelivered by the broker: a lost worker is noticed by its lease
(``reaper``), not by the visibility timeout, which is longer than any job.
"""

from __future__ import annotations

from celery import Celery

from models.contract.jobs import CPU_QUEUE, PRIORITY_SEPARATOR, PRIORITY_STEPS, Priority, broker_url
from workers.settings import WorkerSettings

VISIBILITY_SECONDS = 30 * 24 * 3600


def make_celery(settings: WorkerSettings) -> Celery:
    """Return the Celery application for a worker or a sender."""
    celery = Celery("lectern", broker=broker_url(settings.redis_url))
    celery.conf.update(
        task_default_queue=CPU_QUEUE,
        task_default_priority=Priority.NORMAL.step,
        task_ignore_result=True,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        # A message waits in Redis until a slot is free, where another worker can take it and a higher priority pass it.
        worker_disable_prefetch=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "visibility_timeout": VISIBILITY_SECONDS,
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
            "health_check_interval": 10,
            "socket_keepalive": True,
            "priority_steps": sorted(PRIORITY_STEPS.values()),
            "sep": PRIORITY_SEPARATOR,
        },
    )
    return celery
