"""A part to stand queues before, and what goes through them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from app.serving.batching import Batcher
from app.serving.runs import Timing
from app.serving.runtimes.runtime import Halt, Halted, Refused
from app.serving.tickets import Ticket
from models.contract.task import Array, Arrays
from models.contract.tensors import PartSignature, TensorSignature

SIGNATURE = PartSignature(
    inputs=(TensorSignature(name="values", shape=("batch", "time")),),
    outputs=(TensorSignature(name="sums", shape=("batch",)),),
)
DEAR, CHEAP = 1.0, 0.0
"""Seconds of one row, as measured when a part was loaded: in a thread, or on the event loop."""


@dataclass
class Sums:
    """A part that adds up each row, refuses negative values, and can be held up."""

    runs: list[int] = field(default_factory=list)
    free: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)

    def run(self, arrays: Arrays, halt: Halt | None = None) -> dict[str, Array]:
        stopped = threading.Event()
        if halt is not None:

            def stop() -> None:
                stopped.set()
                self.free.set()

            halt.arm(stop)
        self.begun.set()
        assert self.free.wait(10)
        if stopped.is_set():
            raise Halted
        values = arrays["values"]
        if (values < 0).any():
            raise Refused("negative")
        self.runs.append(len(values))
        return {"sums": values.sum(axis=1)}


@dataclass
class Seen:
    """What an observer was told."""

    timings: list[Timing] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    overruns: list[float] = field(default_factory=list)

    def ran(self, timing: Timing) -> None:
        self.timings.append(timing)

    def rejected(self, reason: str) -> None:
        self.reasons.append(reason)

    def overran(self, seconds: float) -> None:
        self.overruns.append(seconds)


Make = Callable[..., Batcher]


def rows(*values: float, length: int = 2) -> Mapping[str, Array]:
    """Return one row per value, of ``length`` equal values."""
    return {"values": np.repeat(np.array(values, np.float32)[:, None], length, axis=1)}


async def held(batcher: Batcher, part: Sums) -> asyncio.Task[dict[str, Array]]:
    """Occupy the part with one run; what is sent meanwhile waits."""
    part.free.clear()
    part.begun.clear()
    task = asyncio.create_task(batcher.run(rows(100), Ticket()))
    await asyncio.to_thread(part.begun.wait)
    return task
