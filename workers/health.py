"""Whether a worker of this machine answers: ``python -m workers.health`` ends with 0 if one does, else with 1.

The health check of a container. It asks through the broker, the way that jobs come: a worker that lives but no
longer reaches its Redis is not well.
"""

from __future__ import annotations

import socket
import sys

from kombu.exceptions import OperationalError

from workers.celery_app import make_celery
from workers.settings import WorkerSettings

ANSWER_SECONDS = 5.0


def main() -> int:
    """Ask the workers of this host; return the exit status."""
    celery = make_celery(WorkerSettings())
    asked = celery.control.inspect(
        timeout=ANSWER_SECONDS, limit=1, pattern=f"lectern-*@{socket.gethostname()}", matcher="glob"
    )
    try:
        return 0 if asked.ping() else 1
    except (OperationalError, OSError) as error:
        sys.stderr.write(f"Redis does not answer: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
