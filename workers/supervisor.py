"""One job's supervision: claim it, give it a trainer, keep the lease, pass on cancellation, record the end.

Runs in a Celery child, which never imports torch. The trainer is a process of its own session, so memory is
given back when it ends and a stop reaches all of it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from typing import IO

import orjson
import structlog
from redis import Redis
from redis.exceptions import RedisError

from models.contract.errors import LeaseLost, LecternError, TrainerCrashed
from models.contract.jobs import JobState
from workers.claims import Claim, JobRef
from workers.settings import WorkerSettings
from workers.spare import Spare, Trainer
from workers.stop import STOPPED

BEATS_PER_LEASE = 15
RENEWALS_PER_LEASE = 3
POLL_SECONDS = 0.1
LOG_LINE_LIMIT = 4_000
LAST_LINES_SECONDS = 5.0
RECORD_PAUSE_SECONDS = 1.0
RECORD_LIMIT_SECONDS = 600.0
"""How long a Redis that is away keeps a slot busy with the end of a job; after that the reaper records it."""

log = structlog.get_logger()


def supervise(
    ref: JobRef, settings: WorkerSettings, redis: Redis, spare: Spare, stopping: Callable[[], bool]
) -> JobState | None:
    """Work on a job if it is queued; return the state in which it was left, None when there was nothing to do.

    When ``stopping`` says so its trainer writes a checkpoint and the job goes back to the queue.
    """
    trainer = spare.take()
    claim = Claim.take(redis, ref, settings.lease_seconds, f"{socket.gethostname()}:{trainer.process.pid}")
    if claim is None:
        spare.give_back(trainer)
        log.info("job_not_queued", job_id=ref.job_id)
        return None
    return _Supervision(claim, trainer, settings, spare, stopping).run()


class _Supervision:
    """What goes on around one trainer."""

    def __init__(
        self, claim: Claim, trainer: Trainer, settings: WorkerSettings, spare: Spare, stopping: Callable[[], bool]
    ) -> None:
        self._claim = claim
        self._trainer = trainer
        self._process = trainer.process
        self._settings = settings
        self._spare = spare
        self._stopping = stopping
        self._kill_at: float | None = None
        self._over = threading.Event()

    def run(self) -> JobState | None:
        """See the trainer to its end and record it."""
        assert self._process.stdout is not None
        self._order()
        reader = threading.Thread(target=_forward_output, args=(self._process.stdout, self._claim), daemon=True)
        reader.start()
        threading.Thread(target=self._beat, daemon=True).start()
        try:
            status = self._watch()
        finally:
            self._over.set()
            _kill(self._process)
        reader.join(LAST_LINES_SECONDS)
        state = self._record(status)
        log.info("trainer_ended", job_id=self._claim.ref.job_id, attempt=self._claim.attempt, status=status)
        return state

    def _order(self) -> None:
        order = {
            "project": self._claim.ref.project,
            "job": self._claim.ref.job_id,
            "token": self._claim.token,
            "attempt": self._claim.attempt,
            "log_descriptor": self._trainer.log_descriptor,
        }
        _write(self._process, orjson.dumps(order) + b"\n")

    def _beat(self) -> None:
        """Let the trainer know that this process runs. In a thread of its own: a Redis that hangs stops no training."""
        while not self._over.wait(self._settings.lease_seconds / BEATS_PER_LEASE):
            _write(self._process, b".")

    def _watch(self) -> int:
        """Renew the lease and look for what ends the job until its trainer does; return the exit status."""
        lease = self._settings.lease_seconds
        renewal = -lease
        while (status := self._process.poll()) is None:
            moment = time.monotonic()
            if self._kill_at is None and self._stopping():  # told first, as Redis may keep everything below waiting
                self._stop(moment + self._settings.worker_grace_seconds, "the worker stops")
            try:
                if moment - renewal >= lease / RENEWALS_PER_LEASE:
                    self._claim.renew(lease)
                    renewal = moment
                self._heed(moment)
            except LeaseLost:
                _kill(self._process)
                break
            except RedisError as error:
                log.warning("queue_unreachable", job_id=self._claim.ref.job_id, error=str(error))
            if self._kill_at is not None and moment >= self._kill_at:
                _kill(self._process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(POLL_SECONDS)
        return status if status is not None else self._process.wait()

    def _heed(self, moment: float) -> None:
        """Stop the trainer once the owner of the job cancels it."""
        state, cancelled = self._claim.look()
        if self._kill_at is None and cancelled:
            self._stop(moment + self._settings.stop_grace_seconds, "cancelled")
        elif state is JobState.EXPORTING and not self._stopping():
            self._spare.prepare()  # training is over: the next job's trainer can load what it needs

    def _stop(self, kill_at: float, reason: str) -> None:
        log.info("trainer_stopping", job_id=self._claim.ref.job_id, reason=reason)
        _signal(self._process, signal.SIGTERM)
        self._kill_at = kill_at

    def _record(self, status: int) -> JobState | None:
        """Leave the job in a state that fits how its trainer ended; one that the trainer finished stays as it is."""
        detail = f"The trainer ended with status {status} without reporting why."
        if status < 0:
            detail = (
                f"The trainer was ended by signal {-status} ({signal.Signals(-status).name}). If the machine ran out "
                "of memory, lower training.batch_size or the model's size."
            )
        # Told to stop, or cut off from Redis: neither is a fault of the job.
        handed_back = self._stopping() or status == STOPPED
        give_up = time.monotonic() + RECORD_LIMIT_SECONDS
        while True:
            try:
                return self._claim.release(TrainerCrashed(detail), handed_back=handed_back)
            except RedisError as error:
                log.warning("queue_unreachable", job_id=self._claim.ref.job_id, error=str(error))
                if self._stopping() or time.monotonic() > give_up:
                    return None
                time.sleep(RECORD_PAUSE_SECONDS)


def _forward_output(stream: IO[bytes], claim: Claim) -> None:
    """Keep the trainer's output with the job and show it in the worker's own."""
    for raw in stream:
        line = raw.decode(errors="replace").rstrip()[:LOG_LINE_LIMIT]
        if not line:
            continue
        with contextlib.suppress(RedisError, LecternError):
            claim.log(line)
        log.info("trainer", job_id=claim.ref.job_id, line=line)


def _write(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ValueError):  # it ended, or was ended and its pipe closed
        process.stdin.write(data)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the trainer and whatever it started."""
    _signal(process, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
