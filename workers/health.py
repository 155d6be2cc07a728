"""Whether a worker of this machine is there: ``python -m workers.health`` ends with 0 if one is, else with 1.

The health check of a container. It looks where the worker shows itself: one that hangs, or that lives and no longer
reaches its Redis, is not well.
"""

from __future__ import annotations

import socket
import sys

from redis import Redis
from redis.exceptions import RedisError

from models.contract.workers import presence_keys
from workers.settings import WorkerSettings

ANSWER_SECONDS = 5.0


def main() -> int:
    """Look for a worker of this host; return the exit status."""
    url = WorkerSettings().redis_url
    try:
        with Redis.from_url(url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS) as redis:
            return 0 if redis.keys(presence_keys(socket.gethostname())) else 1
    except RedisError as error:
        sys.stderr.write(f"Redis does not answer: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
