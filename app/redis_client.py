"""The connection to Redis: gives up soon, and fails with our own error. ``queue.py`` uses it.

The client is loaded with the first connection: it is a fifteenth of what loading the gateway takes.
"""

# ruff: noqa: PLC0415 - as above

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from models.contract.errors import QueueUnavailable

CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 3.0
"""How long Redis may take; a gateway that waits longer looks dead itself."""

# The client's annotations allow for bytes, which ``decode_responses`` rules out, and for other protocols.
TextRedis = Any


def connect(redis_url: str, answer_seconds: float, connections: int | None = None) -> TextRedis:
    """Return a client that speaks text and tries a broken connection once again.

    Raises:
        ValueError: the URL is none of Redis.
    """
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return Redis.from_url(
        redis_url,
        protocol=2,
        decode_responses=True,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=answer_seconds,
        retry=Retry(NoBackoff(), 1),
        max_connections=connections,
    )


@contextmanager
def reachable() -> Generator[None]:
    """Turn failures of Redis into ours; its URL may hold a password and is not repeated."""
    from redis.exceptions import RedisError

    try:
        yield
    except (RedisError, OSError) as error:
        message = f"Redis does not answer ({type(error).__name__}); check that it runs and LECTERN_REDIS_URL."
        raise QueueUnavailable(message) from error
