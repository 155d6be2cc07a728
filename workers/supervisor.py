"""One job's supervision: claim it, start its trainer, keep the lease, pass on cancellation, record the end.

Runs in a Celery child, which never imports torch. The trainer is a process of its own session, so memory is
given back when it ends and a stop reaches all of it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from typing import IO

import orjson
import structlog
from redis import Redis
from redis.exceptions import RedisError

from models.contract.errors import LeaseLost, LecternError, TrainerCrashed
from models.contract.jobs import JobState
from workers.claims import Claim, JobRef
from workers.settings import WorkerSettings

BEAT_SECONDS = 1.0
POLL_SECONDS = 0.1
LOG_LINE_LIMIT = 4_000

QUIET_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Idle OpenMP threads sleep instead of spinning: on a busy machine small nets train 1.6 times as fast."""

log = structlog.get_logger()


def supervise(ref: JobRef, settings: WorkerSettings, redis: Redis) -> JobState | None:
    """Work on a job if it is queued; return the state in which it was left, None when there was nothing to do."""
    claim = Claim.take(redis, ref, settings.lease_seconds)
    if claim is None:
        log.info("job_not_queued", job_id=ref.job_id)
        return None
    log.info("job_claimed", job_id=ref.job_id, attempt=claim.attempt)
    trainer = _start(claim)
    assert trainer.stdout is not None
    reader = threading.Thread(target=_forward_output, args=(trainer.stdout, claim), daemon=True)
    reader.start()
    try:
        status = _watch(trainer, claim, settings)
    finally:
        _kill(trainer)
    reader.join(timeout=5)
    state = _record(claim, status)
    log.info("job_left", job_id=ref.job_id, attempt=claim.attempt, status=status, state=state)
    return state


def _start(claim: Claim) -> subprocess.Popen[bytes]:
    trainer = subprocess.Popen(
        [sys.executable, "-m", "workers.trainer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        bufsize=0,
        env=os.environ | QUIET_THREADS,
    )
    order = {
        "project": claim.ref.project,
        "job": claim.ref.job_id,
        "token": claim.token,
        "attempt": claim.attempt,
    }
    _write(trainer, orjson.dumps(order) + b"\n")
    return trainer


def _watch(trainer: subprocess.Popen[bytes], claim: Claim, settings: WorkerSettings) -> int:
    """Beat, renew and look for cancellation until the trainer ends; return its exit status."""
    beat = renewal = 0.0
    kill_at: float | None = None
    while (status := trainer.poll()) is None:
        moment = time.monotonic()
        if moment - beat >= BEAT_SECONDS:
            beat = moment
            _write(trainer, b".")
        try:
            if moment - renewal >= settings.lease_seconds / 3:
                claim.renew(settings.lease_seconds)
                renewal = moment
            wanted = kill_at is None and claim.cancel_requested() and claim.field("publishing") != "1"
        except LeaseLost:
            _kill(trainer)
            break
        except RedisError as error:
            log.warning("queue_unreachable", job_id=claim.ref.job_id, error=str(error))
            wanted = False
        if wanted:
            log.info("job_cancelling", job_id=claim.ref.job_id)
            _signal(trainer, signal.SIGTERM)
            kill_at = moment + settings.stop_grace_seconds
        if kill_at is not None and moment >= kill_at:
            _kill(trainer)
        with contextlib.suppress(subprocess.TimeoutExpired):
            trainer.wait(POLL_SECONDS)
    return status if status is not None else trainer.wait()


def _record(claim: Claim, status: int) -> JobState | None:
    """Leave the job in a state that fits how its trainer ended; one that the trainer finished stays as it is."""
    detail = f"The trainer ended with status {status} without reporting why."
    if status < 0:
        detail = (
            f"The trainer was ended by signal {-status} ({signal.Signals(-status).name}). If the machine ran out of "
            "memory, lower training.batch_size or the model's size."
        )
    return claim.release(TrainerCrashed(detail))


def _forward_output(stream: IO[bytes], claim: Claim) -> None:
    """Keep the trainer's output with the job and show it in the worker's own."""
    for raw in stream:
        line = raw.decode(errors="replace").rstrip()[:LOG_LINE_LIMIT]
        if not line:
            continue
        with contextlib.suppress(RedisError, LecternError):
            claim.log(line)
        log.info("trainer", job_id=claim.ref.job_id, line=line)


def _write(trainer: subprocess.Popen[bytes], data: bytes) -> None:
    assert trainer.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        trainer.stdin.write(data)


def _signal(trainer: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(trainer.pid, number)


def _kill(trainer: subprocess.Popen[bytes]) -> None:
    """End the trainer and whatever it started."""
    _signal(trainer, signal.SIGKILL)
    trainer.wait()
    if trainer.stdin is not None:
        with contextlib.suppress(OSError):
            trainer.stdin.close()
