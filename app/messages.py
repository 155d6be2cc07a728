"""The message that brings a Celery worker to a job, written as Celery writes it.

Celery documentation, "Message Protocol", version 2, in the envelope of kombu's Redis transport. Sending it needs one
``LPUSH``; importing Celery for that would cost every gateway 9 MB. A test compares with what Celery itself sends.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Sequence

import orjson

from models.contract.jobs import Waiting

NOTHING_FOLLOWS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def task_message(task: str, arguments: Sequence[str], waiting: Waiting) -> bytes:
    """Return the element of the list ``waiting.key`` that makes a worker run ``task`` with ``arguments``."""
    task_id = str(uuid.uuid4())
    body = orjson.dumps([arguments, {}, NOTHING_FOLLOWS])
    return orjson.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": task,
                "id": task_id,
                "root_id": task_id,
                "parent_id": None,
                "group": None,
                "retries": 0,
                "eta": None,
                "expires": None,
                "timelimit": [None, None],
                "argsrepr": repr(list(arguments)),
                "kwargsrepr": "{}",
                "ignore_result": True,
            },
            "properties": {
                "correlation_id": task_id,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": waiting.queue},
                "priority": waiting.priority.step,
                "body_encoding": "base64",
                "delivery_tag": str(uuid.uuid4()),
            },
        }
    )
