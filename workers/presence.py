"""Shows in Redis that this worker is there. Celery's own loop calls it, so a worker that hangs fades away."""

from __future__ import annotations

import contextlib
import os
import socket
from importlib.metadata import version

from redis import Redis
from redis.exceptions import RedisError

from models.contract.workers import PRESENCE_SECONDS, WORKERS, WorkerPresence
from workers.settings import WorkerSettings

ANSWER_SECONDS = 1.0
"""The loop that beats also takes jobs; it must not stand still when Redis does."""

# KEYS: the worker's, those of all. ARGV: its record · milliseconds that it is believed. Who has lapsed leaves the list.
BEAT = """
local now = tonumber(redis.call('TIME')[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[2], now, KEYS[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[2] / 1000 - 1)
"""


class Presence:
    """This worker's record, written anew with every beat."""

    def __init__(self, settings: WorkerSettings) -> None:
        """Write nothing yet."""
        self._record = WorkerPresence(
            host=socket.gethostname(),
            pid=os.getpid(),
            queues=settings.taken_queues,
            slots=settings.worker_slots,
            version=version("lectern"),
        )
        self._redis = Redis.from_url(
            settings.redis_url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS
        )

    def beat(self, **_: object) -> None:
        """Be there for the next seconds. Without Redis there is nobody to see it, and Celery says what is wrong."""
        with contextlib.suppress(RedisError):
            record, milliseconds = self._record.model_dump_json(), str(int(PRESENCE_SECONDS * 1000))
            self._redis.eval(BEAT, 2, self._record.key, WORKERS, record, milliseconds)

    def leave(self, **_: object) -> None:
        """Be gone at once."""
        with contextlib.suppress(RedisError):
            self._redis.delete(self._record.key)
            self._redis.zrem(WORKERS, self._record.key)
