"""The message written by hand is the one that Celery sends."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
import redis

from app.messages import task_message
from models.contract.jobs import Priority, Waiting
from workers.celery_app import make_celery
from workers.claims import JobRef
from workers.settings import WorkerSettings
from workers.tasks import send

ARGUMENTS = ["default", "job_1"]
OF_CHANCE = ("id", "root_id", "correlation_id", "delivery_tag", "origin", "reply_to")
LEFT_OUT = ("shadow", "group_index", "replaced_task_nesting", "stamped_headers", "stamps")
"""What Celery fills with nothing; a worker does not ask for it."""


def _comparable(message: bytes) -> dict[str, Any]:
    found = orjson.loads(message)
    for section in (found["headers"], found["properties"]):
        for name in (*OF_CHANCE, *LEFT_OUT):
            section.pop(name, None)
    return {**found, "body": orjson.loads(base64.b64decode(found["body"]))}


@pytest.mark.parametrize("priority", list(Priority))
def test_message_is_what_celery_sends(redis_server: str, redis_client: redis.Redis, priority: Priority) -> None:
    """Field by field, but for ids and fields that hold nothing; and in the list where Celery puts it."""
    waiting = Waiting("train.cpu", priority)
    celery = make_celery(WorkerSettings(redis_url=redis_server))
    send(celery, JobRef(*ARGUMENTS), waiting)
    sent: Any = redis_client.lpop(waiting.key)
    celery.close()
    assert _comparable(task_message("lectern.train", ARGUMENTS, waiting)) == _comparable(sent.encode())
