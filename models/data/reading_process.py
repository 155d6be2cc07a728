"""The process that reads an upload: ``python -m models.data.reading_process``, within limits, at low priority.

It takes one line of JSON, a :class:`Task`, on standard input, writes the content into the task's folder, and answers
with one JSON object, an :class:`Outcome`, on standard output. Input that ends before that means that nobody waits any
more: it ends itself. It knows no web, no queue and no torch. Started by the gateway.
"""

from __future__ import annotations

import errno
import math
import os
import resource
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from models.catalog import Catalog
from models.contract.config import Options
from models.contract.datasets import DatasetRecord
from models.contract.errors import LecternError
from models.data.reading import Order, read

NICENESS = 10
KILL_AFTER_SECONDS = 5
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})

Limit = Literal["memory", "file", "disk"]


class Task(Options):
    """What to read, where to, and within which limits."""

    order: Order
    families: tuple[str, ...]
    folder: Path
    memory_bytes: int = Field(gt=0, description="Address space, and the largest file written.")
    cpu_seconds: float = Field(gt=0)


class Outcome(Options):
    """How it went: exactly one of these is there."""

    record: DatasetRecord | None = None
    problem: dict[str, JsonValue] | None = Field(default=None, description="An error of ours, as its problem.")
    limit: Limit | None = Field(default=None, description="What was not enough.")


def main() -> None:
    """Read what standard input says."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints, prints to stderr
    warnings.simplefilter("ignore")
    line = sys.stdin.buffer.readline()
    threading.Thread(target=_leave_with_the_caller, daemon=True).start()
    task = Task.model_validate_json(line)
    _bound(task)
    print(_outcome(task).model_dump_json(), file=answers, flush=True)


def _outcome(task: Task) -> Outcome:
    try:
        return Outcome(record=read(task.order, Catalog(task.families), task.folder))
    except LecternError as error:
        return Outcome.model_validate({"problem": error.problem()})
    except MemoryError:
        return Outcome(limit="memory")
    except OSError as error:
        if error.errno == errno.EFBIG:
            return Outcome(limit="file")
        if error.errno in NO_ROOM:
            return Outcome(limit="disk")
        if error.errno == errno.ENOMEM:
            return Outcome(limit="memory")
        raise


def _bound(task: Task) -> None:
    """Take what the task allows and no more."""
    os.nice(NICENESS)
    seconds = math.ceil(task.cpu_seconds)
    if sys.platform != "darwin":  # which reserves more address space than any limit and refuses to set one
        _limit(resource.RLIMIT_AS, task.memory_bytes)
    _limit(resource.RLIMIT_FSIZE, task.memory_bytes)
    _limit(resource.RLIMIT_CPU, seconds, seconds + KILL_AFTER_SECONDS)
    _limit(resource.RLIMIT_CORE, 0)


def _limit(kind: int, soft: int, hard: int | None = None) -> None:
    _, most = resource.getrlimit(kind)
    wanted = (soft, soft if hard is None else hard)
    soft, hard = (value if most == resource.RLIM_INFINITY else min(value, most) for value in wanted)
    resource.setrlimit(kind, (soft, hard))


def _leave_with_the_caller() -> None:
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
