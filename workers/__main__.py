"""A worker: ``python -m workers`` takes jobs from the queue until it is told to stop.

SIGTERM and Ctrl-C let its trainers write their checkpoints, and the jobs go back to the queue, where whichever worker
is there next takes them up again.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

import structlog
from pydantic import ValidationError
from redis.exceptions import RedisError

from workers.claims import START_RETRIES, connect
from workers.logs import configure
from workers.presence import Presence
from workers.settings import WorkerSettings, complaints

REAPER_PAUSE_SECONDS = 1.0
STOP_SECONDS = 9.0
"""What a stop may take beside the grace of the trainers."""


def main() -> int:
    """Run a worker; return its exit status."""
    os.environ["REMAP_SIGTERM"] = "SIGQUIT"
    # Celery and billiard read REMAP_SIGTERM when they are imported.
    from celery.signals import heartbeat_sent, worker_process_init, worker_ready, worker_shutdown  # noqa: PLC0415

    from workers.celery_app import make_celery  # noqa: PLC0415
    from workers.tasks import register  # noqa: PLC0415

    try:
        settings = WorkerSettings()
    except ValidationError as error:
        sys.stderr.writelines(complaints(error))
        return 1
    configure(settings.log_level)
    try:
        connect(settings.redis_url, START_RETRIES).ping()
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except RedisError as error:
        sys.stderr.write(f"Redis does not answer: {error} Start one, or set LECTERN_REDIS_URL.\n")
        return 1
    celery = make_celery(settings)
    slot = register(celery, settings)
    worker_process_init.connect(slot.begin)
    worker_ready.connect(_bounded_stop(settings.worker_grace_seconds + STOP_SECONDS), weak=False)
    presence = Presence(settings)
    heartbeat_sent.connect(presence.beat)
    worker_shutdown.connect(presence.leave)
    structlog.get_logger().info(
        "worker_ready", queues=settings.taken_queues, slots=settings.worker_slots, threads=settings.threads()
    )
    threading.Thread(target=_keep, args=(_start_reaper(),), daemon=True).start()
    arguments = [
        "worker",
        "--pool=prefork",
        f"--concurrency={settings.worker_slots}",
        f"--queues={','.join(settings.taken_queues)}",
    ]
    name = f"--hostname=lectern-{os.getpid()}@{socket.gethostname()}"
    celery.worker_main([*arguments, name, "--loglevel=WARNING", "--without-gossip", "--without-mingle"])
    return 0


def _start_reaper() -> subprocess.Popen[bytes]:
    """Return a reaper, which ends with this process because its stdin does."""
    return subprocess.Popen([sys.executable, "-m", "workers.reaper"], stdin=subprocess.PIPE)


def _keep(reaper: subprocess.Popen[bytes]) -> NoReturn:
    """Start another reaper whenever one ends: without any, a job whose worker vanished would wait for ever."""
    while True:
        with reaper:
            status = reaper.wait()
        structlog.get_logger().warning("reaper_ended", status=status)
        time.sleep(REAPER_PAUSE_SECONDS)
        reaper = _start_reaper()


def _bounded_stop(seconds: float) -> Callable[..., None]:
    """Return what takes over SIGTERM and Ctrl-C from Celery once the worker is ready.

    At Ctrl-C Celery would first wait for the job to end. At both it waits for a child that has a job of which it has
    not been told yet; so every child is told to stop. A worker that has not stopped after ``seconds`` says where its
    threads are, and ends: the lease of its job lapses.
    """

    def install(**_: object) -> None:
        from billiard import active_children  # noqa: PLC0415 - as Celery in main()

        previous = signal.getsignal(signal.SIGTERM)
        assert callable(previous)

        def stop(number: int, frame: FrameType | None) -> None:
            for child in active_children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGQUIT)
            with contextlib.suppress(RuntimeError):  # there is no stderr to say it
                faulthandler.dump_traceback_later(seconds, exit=True)
            previous(number, frame)

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)

    return install


if __name__ == "__main__":
    sys.exit(main())
