"""One job in one process: ``python -m workers.trainer``, started by the supervisor, which writes to its stdin.

It loads torch, then waits for its job. The first line of stdin says which, under which token; every byte after it is a
beat. When the beats stop (the supervisor is gone or stopped) or SIGTERM comes, a training writes its checkpoint and
the process ends with ``STOPPED``. Whatever else goes wrong is written into the job's record before the process ends.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import threading
import time
import traceback
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, NoReturn

import orjson
from redis.exceptions import RedisError

from models.contract.errors import LeaseLost, LecternError, OutOfMemory, StoreUnavailable, TrainerCrashed
from workers import loading
from workers.claims import PATIENT_RETRIES, Claim, JobRef, connect
from workers.logs import configure, say
from workers.settings import WorkerSettings
from workers.stop import FAILED, STOPPED, Stop

OUT_OF_MEMORY = ("can't allocate memory", "out of memory")


def main() -> int:
    """Train the job that stdin names; return the exit status."""
    stop = Stop()
    signal.signal(signal.SIGTERM, stop.ask)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings, orders = WorkerSettings(), SimpleQueue[dict[str, Any]]()
    threading.Thread(target=_listen, args=(orders, stop, settings), daemon=True).start()
    # Warnings for those who write programs would stand in the job's log; torch reads this when it is loaded.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    gc.disable()  # what is loaded stays: looking through it again and again would be a quarter of the time
    loading.load()  # takes more than a second; signals are heeded meanwhile
    from workers import job  # noqa: PLC0415 - with what needs torch

    gc.freeze()
    gc.enable()
    if orders.empty():
        job.warm_up()
    order = orders.get()
    configure(settings.log_level, order["log_descriptor"])
    redis = connect(settings.redis_url, PATIENT_RETRIES)
    claim = Claim(redis, JobRef(order["project"], order["job"]), order["token"], order["attempt"])
    try:
        return 0 if job.work(claim, settings, stop) else STOPPED
    except LeaseLost as error:
        say(error.detail)
        return STOPPED
    except StoreUnavailable as error:
        return _fail(claim.stumble, error)
    except LecternError as error:
        return _fail(claim.fail, error)
    except RedisError as error:
        say(f"Redis does not answer ({type(error).__name__}); the job goes on from its checkpoint when it does")
        return STOPPED
    except Exception as error:  # noqa: BLE001 - the boundary of the process: the job must learn of every failure
        say(traceback.format_exc())
        return _fail(claim.fail, crash(error))


def _fail(record: Callable[[LecternError], None], error: LecternError) -> int:
    say(f"{error.code}: {error.detail}")
    try:
        record(error)
    except (LeaseLost, RedisError) as lost:
        say(str(lost))
    return FAILED


def crash(error: Exception) -> LecternError:
    """Return what the owner of the job is told; torch reports missing memory by a ``RuntimeError``."""
    text = str(error)
    if isinstance(error, MemoryError) or any(mark in text for mark in OUT_OF_MEMORY):
        where = "GPU" if "CUDA" in text else "machine"
        return OutOfMemory(f"The {where} has too little memory; lower training.batch_size or the model's size.")
    first = text.splitlines()[0] if text else "no message"
    return TrainerCrashed(f"{type(error).__name__}: {first}. The job's log has the traceback.")


def _first_line() -> bytes:
    """Return the first line of stdin, read byte by byte so that no beat is swallowed by a buffer."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            os._exit(STOPPED)
        line += byte
    return bytes(line)


def _listen(orders: SimpleQueue[dict[str, Any]], stop: Stop, settings: WorkerSettings) -> NoReturn:
    """Pass on the order, then stop the training when the beats stop, and the process if it does not stop in time."""
    orders.put(orjson.loads(_first_line()))
    while True:
        ready, _, _ = select.select([0], [], [], settings.beat_timeout_seconds())
        if not ready or not os.read(0, 4096):
            break
    stop.ask()
    time.sleep(settings.stop_limit_seconds())
    os._exit(STOPPED)


if __name__ == "__main__":
    # Taking torch down in order costs up to a second, in which the next job would wait.
    os._exit(main())
