"""The message written by hand is the one that Celery sends."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import redis
from celery import Celery

from app.messages import task_message
from models.contract.jobs import broker_url

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


def test_message_is_what_celery_sends(redis_server: str, redis_client: redis.Redis) -> None:
    """Field by field, but for ids and fields that hold nothing."""
    celery = Celery("lectern", broker=broker_url(redis_server), set_as_current=False)
    celery.send_task("lectern.train", args=ARGUMENTS, queue="train.cpu", ignore_result=True)
    sent: Any = redis_client.lpop("train.cpu")
    celery.close()
    assert _comparable(task_message("lectern.train", ARGUMENTS, "train.cpu")) == _comparable(sent.encode())
