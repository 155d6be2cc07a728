"""One job in one process: ``python -m workers.trainer``, started by the supervisor, which writes to its stdin.

The first line of stdin says which job, under which token; every byte after it is a beat. When the beats stop
(the supervisor is gone or stopped) or SIGTERM comes, a training writes its checkpoint and the process ends
with ``STOPPED``. Everything else that can go wrong is written into the job's record before the process ends.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
import traceback
from typing import NoReturn

import orjson
from redis.exceptions import RedisError

from models.contract.errors import LeaseLost, LecternError, TrainerCrashed
from workers.claims import Claim, JobRef, connect
from workers.logs import say
from workers.settings import WorkerSettings
from workers.stop import STOPPED, Stop

BEAT_TIMEOUT_SECONDS = 10.0
STOP_LIMIT_SECONDS = 5.0
OUT_OF_MEMORY = ("can't allocate memory", "out of memory")


def main() -> int:
    """Train the job that stdin names; return the exit status."""
    stop = Stop()
    signal.signal(signal.SIGTERM, stop.ask)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    order = orjson.loads(_first_line())
    threading.Thread(target=_watch_beats, args=(stop,), daemon=True).start()
    settings = WorkerSettings()
    claim = Claim(connect(settings.redis_url), JobRef(order["project"], order["job"]), order["token"], order["attempt"])
    try:
        from workers.job import work  # noqa: PLC0415 - torch takes a second and a half; signals are heeded meanwhile

        return 0 if work(claim, settings, stop) else STOPPED
    except LeaseLost as error:
        say(error.detail)
        return STOPPED
    except LecternError as error:
        return _fail(claim, error)
    except RedisError as error:
        say(f"Redis does not answer ({type(error).__name__}); the job goes on from its checkpoint when it does")
        return STOPPED
    except Exception as error:  # noqa: BLE001 - the boundary of the process: the job must learn of every failure
        say(traceback.format_exc())
        return _fail(claim, _crash(error))


def _fail(claim: Claim, error: LecternError) -> int:
    say(f"{error.code}: {error.detail}")
    try:
        claim.fail(error)
    except (LeaseLost, RedisError) as lost:
        say(str(lost))
    return 1


def _crash(error: Exception) -> TrainerCrashed:
    """Return what the owner of the job is told; torch reports missing memory by a ``RuntimeError``."""
    text = str(error)
    if isinstance(error, MemoryError) or any(mark in text for mark in OUT_OF_MEMORY):
        return TrainerCrashed("The trainer ran out of memory; lower training.batch_size or the model's size.")
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


def _watch_beats(stop: Stop) -> NoReturn:
    """Stop the training when the supervisor's beats stop, and the process if it does not stop in time."""
    while True:
        ready, _, _ = select.select([0], [], [], BEAT_TIMEOUT_SECONDS)
        if not ready or not os.read(0, 4096):
            break
    stop.ask()
    time.sleep(STOP_LIMIT_SECONDS)
    os._exit(STOPPED)


if __name__ == "__main__":
    # Taking torch down in order costs up to a second, in which the next job would wait.
    os._exit(main())
