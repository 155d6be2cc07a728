"""A process that trains beside a trainer: ``python -m workers.parallel.replica``, which ``replicas`` starts.

The first line of stdin says for which job and as which rank. It loads the same dataset, builds the same module and does
what the trainer says, step by step. It speaks to the trainer and the store alone: no queue, no record, no checkpoint.
When stdin ends, so does the process.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from typing import Any, NoReturn

import orjson

from models.artifacts.store import ArtifactStore
from models.contract.jobs import JobRequest
from workers.assembly import Assembly
from workers.devices import equipped
from workers.logs import say
from workers.parallel.meeting import Meeting
from workers.settings import WorkerSettings
from workers.stop import FAILED, STOPPED
from workers.trainer import crash


def main() -> int:
    """Train beside the process that stdin names; return the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    order = orjson.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_watch_trainer, daemon=True).start()
    meeting = Meeting.visited(order["port"], order["size"])
    try:
        _follow(order, meeting)
    except Exception as error:  # noqa: BLE001 - the boundary of the process: the trainer must learn of every failure
        say(traceback.format_exc())
        meeting.complain(crash(error).detail)
        return FAILED
    return 0


def _follow(order: dict[str, Any], meeting: Meeting) -> None:
    rank, settings = order["rank"], WorkerSettings()
    assembly = Assembly.of(JobRequest.model_validate(order["request"]), settings)
    data = assembly.data(ArtifactStore(settings.store_url))
    run = assembly.run(data, {"train": data.content.splits["train"]}, rank)
    meeting.join(run.device, rank)
    _, together = equipped(run, rank)
    assert together is not None
    together.follow()
    meeting.leave()


def _watch_trainer() -> NoReturn:
    """End the process when the trainer has ended, in whatever way: its end of the pipe is closed then."""
    while os.read(0, 4096):
        pass
    os._exit(STOPPED)


if __name__ == "__main__":
    os._exit(main())
