"""A worker: ``python -m workers`` takes jobs from the queue until it is told to stop.

SIGTERM and Ctrl-C end it at once: its trainers notice, write their checkpoints and end, and the jobs are taken
up again by whichever worker is there next.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import structlog
from redis.exceptions import RedisError

from models.contract.jobs import CPU_QUEUE
from workers.claims import connect
from workers.logs import configure
from workers.settings import WorkerSettings


def main() -> int:
    """Run a worker; return its exit status."""
    os.environ["REMAP_SIGTERM"] = "SIGQUIT"
    from workers.celery_app import make_celery  # noqa: PLC0415 - Celery reads REMAP_SIGTERM when it is imported
    from workers.tasks import register  # noqa: PLC0415

    settings = WorkerSettings()
    configure(settings.log_level)
    try:
        connect(settings.redis_url).ping()
    except RedisError as error:
        sys.stderr.write(f"No Redis answers at {settings.redis_url} ({error}). Start one, or set LECTERN_REDIS_URL.\n")
        return 1
    celery = make_celery(settings)
    register(celery, settings)
    structlog.get_logger().info("worker_ready", slots=settings.worker_slots, threads=settings.threads())
    with subprocess.Popen([sys.executable, "-m", "workers.reaper"], stdin=subprocess.PIPE):
        arguments = [
            "worker",
            "--pool=prefork",
            f"--concurrency={settings.worker_slots}",
            f"--queues={CPU_QUEUE}",
        ]
        name = f"--hostname=lectern-{os.getpid()}@{socket.gethostname()}"
        celery.worker_main([*arguments, name, "--loglevel=WARNING", "--without-gossip", "--without-mingle"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
