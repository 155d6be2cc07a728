"""What passes through the queue before a part: single runs, joint runs, and what is told of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.serving.runtimes.runtime import Halt
from app.serving.tickets import Ticket
from models.contract.task import Array, Arrays

Outputs = dict[str, Array]
Done = Callable[[Outputs | Exception], None]
"""Is told once what came of a run; it must not raise."""


@dataclass(frozen=True)
class Limits:
    """How much is taken at a time, and how much may wait.

    Attributes:
        batch_size: most rows of one run; a request with more is computed in several.
        queue_size: most runs that wait; more are refused.
        queue_wait_seconds: while the oldest request has taken longer, no more than four full runs may be on their way;
            0 is any time.
        queue_delay_seconds: how long a run waits for others to join it when the part is free.
        concurrency: most runs at a time.
        tensor_elements: most elements of one tensor of a request.
    """

    batch_size: int = 64
    queue_size: int = 1024
    queue_wait_seconds: float = 0.0
    queue_delay_seconds: float = 0.0
    concurrency: int = 1
    tensor_elements: int = 2**26


@dataclass(slots=True, frozen=True)
class Timing:
    """One joint run: seconds that each request waited, its rows, and the seconds of joining, computing, dividing."""

    waited: Sequence[float]
    rows: int
    input: float
    infer: float
    output: float


class Observer(Protocol):
    """Is told what happens in the queue."""

    def ran(self, timing: Timing) -> None:
        """Learn of one joint run."""
        ...

    def rejected(self, reason: str) -> None:
        """Learn of a run that was refused or given up before it was computed."""
        ...

    def overran(self, seconds: float) -> None:
        """Learn how long after its deadline a run was given up."""
        ...


@dataclass(slots=True, eq=False)
class Item:
    """One run on its way."""

    arrays: Arrays
    rows: int
    ticket: Ticket
    done: Done
    since: float
    waited: float = 0.0
    waiting: bool = True
    settled: bool = False
    timer: asyncio.TimerHandle | None = None
    batch: Batch | None = None


@dataclass(slots=True, eq=False)
class Batch:
    """Runs that are computed together."""

    items: list[Item]
    halt: Halt
    timings: list[Timing]
