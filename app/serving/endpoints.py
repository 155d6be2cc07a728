"""A loaded version with a queue before each of its parts: what requests are sent through."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar, TypeVarTuple

from app.serving.batching import Batcher, too_late, too_many
from app.serving.oip.requests import Reader
from app.serving.runs import Done, Limits, Outputs
from app.serving.sessions import LoadedModel
from app.serving.statistics import Meters, Statistics
from app.serving.tensors import check_arrays
from app.serving.tickets import Ticket
from models.contract.manifest import Manifest
from models.contract.task import Arrays

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

FULL_RUNS = 4
"""So many runs' worth of requests may be on their way however long they take."""


class Endpoint:
    """One version that answers. Belongs to the event loop it was made on."""

    def __init__(self, loaded: LoadedModel, limits: Limits, executor: Executor, meters: Meters) -> None:
        """Open a queue for each part; ``executor`` has the threads for runs."""
        self.loaded = loaded
        self.limits = limits
        self.meters = meters
        self._under_way: dict[Ticket, None] = {}
        """Oldest first."""
        self.reader = Reader(loaded, limits.tensor_elements)
        self._split: set[asyncio.Task[Outputs]] = set()
        self.statistics = Statistics(meters)
        self._batchers = {
            name: Batcher(
                part, loaded.served.signatures[name], limits, executor, self.statistics, loaded.run_seconds[name]
            )
            for name, part in loaded.parts.items()
        }
        self.headers = [
            (b"lectern-model-version", str(loaded.manifest.version).encode()),
            (b"lectern-artifact-digest", loaded.digest.encode()),
        ]

    @property
    def manifest(self) -> Manifest:
        """What is known of the version."""
        return self.loaded.manifest

    @property
    def pending(self) -> int:
        """Number of runs that wait."""
        return sum(batcher.pending for batcher in self._batchers.values())

    def admit(self) -> None:
        """Return if one more request is taken.

        Raises:
            Overloaded: as many as may wait are on their way, or a part's queue is full.
        """
        if self.crowded:
            raise too_many(self.statistics)

    @property
    def crowded(self) -> bool:
        """Whether one more request would be too many."""
        limits, count = self.limits, len(self._under_way)
        return (
            count >= limits.queue_size
            or (count >= FULL_RUNS * limits.batch_size and self._is_slow())
            or any(batcher.full for batcher in self._batchers.values())
        )

    @property
    def in_flight(self) -> int:
        """Number of requests whose body is read and whose answer is not sent."""
        return len(self._under_way)

    def begin(self, ticket: Ticket) -> None:
        """Learn that the body of a request is read."""
        ticket.begun = time.perf_counter()
        self._under_way[ticket] = None

    def _is_slow(self) -> bool:
        longest = self.limits.queue_wait_seconds
        return bool(longest) and time.perf_counter() - next(iter(self._under_way)).begun > longest

    def answered(self, ticket: Ticket | None, verb: str, outcome: str, seconds: float, count: int = 1) -> None:
        """Learn that requests were answered after ``seconds`` each; they have no ticket if they were not taken."""
        if ticket is not None:
            self._under_way.pop(ticket, None)
        self.meters.answered(verb, outcome, seconds, count)
        if outcome != "ok":
            self.statistics.failed(seconds, count)

    def submit(self, part: str, arrays: Arrays, ticket: Ticket, done: Done) -> None:
        """Have a run of arrays that are known to fit computed; ``done`` is called on the event loop, perhaps at once.

        Raises:
            Overloaded: too much waits already.
            DeadlineExceeded: the deadline of the ticket has passed.
        """
        batcher = self._batchers[part]
        if batcher.is_one_run(arrays):
            batcher.submit(arrays, ticket, done)
            return
        task = asyncio.ensure_future(batcher.run(arrays, ticket))
        self._split.add(task)
        task.add_done_callback(partial(self._joined, done))

    def _joined(self, done: Done, task: asyncio.Task[Outputs]) -> None:
        self._split.discard(task)
        if not task.cancelled():
            error = task.exception()
            done(error if isinstance(error, Exception) else task.result())

    async def in_thread(
        self, executor: Executor, ticket: Ticket, function: Callable[[*Arguments], T], *arguments: *Arguments
    ) -> T:
        """Return what a function returns for a request in a thread, which it may have to wait for.

        Raises:
            DeadlineExceeded: the deadline of the ticket passed first; the function is not called if it has not been.
        """
        work = asyncio.get_running_loop().run_in_executor(executor, function, *arguments)
        if ticket.deadline is None:
            return await work
        limit = asyncio.timeout(ticket.deadline - time.perf_counter())
        try:
            async with limit:
                return await work
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise too_late(self.statistics, ticket.deadline) from error

    async def run(self, part: str, arrays: Arrays, ticket: Ticket) -> Outputs:
        """Return the outputs of one run of ``part``; arrays that do not fit never join those of others.

        Raises:
            ValidationFailed: the arrays do not fit the part, or the graph refuses them.
            Overloaded: too much waits already.
            DeadlineExceeded: the deadline of the ticket passed first.
            ClientLeft: the client went while the run waited.
            RuntimeUnavailable: what runs the part ended meanwhile.
        """
        check_arrays(part, self.loaded.served.signatures[part], arrays)
        return await self.run_checked(part, arrays, ticket)

    async def run_checked(self, part: str, arrays: Arrays, ticket: Ticket) -> Outputs:
        """Return the same for arrays that are known to fit."""
        return await self._batchers[part].run(arrays, ticket)
