"""The queue before one part of a loaded version: runs of different requests become one where their shapes agree.

Greedy: whatever waits when the part is free is taken, and nothing waits for company unless ``queue_delay_seconds``
says so. Only runs of equal shape, the batch axis aside, are joined, so no answer depends on what it was computed
with; when a joint run is refused it is halved until each refusal has found the request it belongs to. A part that
takes less than ``INLINE_SECONDS`` runs on the event loop itself: going to a thread and back costs more. There runs are
joined that come in one turn of the loop; where the turn before brought only one, the first does not wait for others.

All of it lives on the event loop but the runs of dearer parts, which take threads of ``executor``.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial

import numpy as np

from app.serving.runs import Batch, Done, Item, Limits, Observer, Outputs, Timing
from app.serving.runtimes.runtime import Halt, Halted, LoadedPart, Refused
from app.serving.tickets import HIGHEST_PRIORITY, LOWEST_PRIORITY, ClientLeft, Ticket
from models.contract.errors import DeadlineExceeded, Overloaded, ValidationFailed
from models.contract.task import Arrays
from models.contract.tensors import PartSignature

INLINE_SECONDS = 1e-4
UNATTENDED_SECONDS = 0.005
"""Whoever waited for longer is asked whether they are still there before anything is computed for them."""

INLINE_RUNS = 32
"""So many of one shape are joined where that is cheap and no delay is set, although more might be: they and what they
need are still in the processor's caches, and none of them waits for those that are read later."""

INLINE_TURN_SECONDS = 0.025
"""How long joint runs follow one another on the event loop before it sees to its connections again."""

PIECES = 2
"""So many pieces of one large request wait for each run that can go on: the next is there when one is done."""

TOO_MANY = "Too many requests wait for this model; try again in a moment."


class Batcher:
    """The queue of one part."""

    def __init__(
        self,
        part: LoadedPart,
        signature: PartSignature,
        limits: Limits,
        executor: Executor,
        observer: Observer,
        run_seconds: float,
    ) -> None:
        """Hold an empty queue; ``run_seconds`` is what one row takes, as measured when the part was loaded."""
        self._part = part
        self._limits = limits
        self._executor = executor
        self._observer = observer
        self._inline = run_seconds < INLINE_SECONDS
        self._joins = is_joint(signature)
        self._inline_runs = limits.batch_size if limits.queue_delay_seconds else min(INLINE_RUNS, limits.batch_size)
        self._names = [tensor.name for tensor in signature.inputs]
        self._varying = any(isinstance(axis, str) for tensor in signature.inputs for axis in tensor.shape[1:])
        self._queues: dict[Hashable, tuple[deque[Item], ...]] = {}
        self._waiting = 0
        self._running = 0
        self._scheduled = False
        self._eager = self._inline and not limits.queue_delay_seconds
        self._brought = 0
        """Runs that this turn of the event loop has brought."""
        self._alone = False
        """Whether the turn before brought one only: the first of the next does not wait for others then."""
        self._delayed: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def pending(self) -> int:
        """Number of runs that wait."""
        return self._waiting

    @property
    def full(self) -> bool:
        """Whether the next run would be refused."""
        return self._waiting >= self._limits.queue_size

    async def run(self, arrays: Arrays, ticket: Ticket) -> Outputs:
        """Return the outputs for ``arrays``, which fit the signature.

        Raises:
            Overloaded: too much waits already.
            DeadlineExceeded: the deadline of the ticket passed first.
            ClientLeft: the client went while the run waited.
            ValidationFailed: the graph refuses these values.
            RuntimeUnavailable: what runs the part ended meanwhile.
        """
        if self.is_one_run(arrays):
            return (await self._awaited([arrays], ticket))[0]
        rows, most = len(arrays[self._names[0]]), self._limits.batch_size
        pieces = (
            {name: array[start : start + most] for name, array in arrays.items()} for start in range(0, rows, most)
        )
        found = await self._awaited(pieces, ticket)
        return {name: np.concatenate([outputs[name] for outputs in found]) for name in found[0]}

    def is_one_run(self, arrays: Arrays) -> bool:
        """Return whether ``arrays`` can be submitted as they are."""
        return not self._joins or len(arrays[self._names[0]]) <= self._limits.batch_size

    def submit(self, arrays: Arrays, ticket: Ticket, done: Done, *, admitted: bool = False) -> Item:
        """Let a run wait for its turn, or compute it at once; its rows must not be more than one run takes.

        ``done`` may be called before this returns. What is ``admitted`` is taken however much waits.

        Raises:
            Overloaded: too much waits already.
            DeadlineExceeded: the deadline has passed already.
        """
        if self.full and not admitted:
            raise too_many(self._observer)
        now = time.perf_counter()
        if ticket.deadline is not None and ticket.deadline <= now:
            raise too_late(self._observer, ticket.deadline)
        item = Item(arrays, len(arrays[self._names[0]]), ticket, done, now)
        first = not self._brought
        self._brought += 1
        if not self._scheduled:
            self._schedule()
        if first and self._alone and self._eager and not self._waiting:
            self._run_inline(Batch([item], Halt(), []))
            return item
        bucket = self._bucket(arrays)
        if ticket.deadline is not None:
            item.timer = self._loop.call_later(ticket.deadline - now, self._expire, item)
        queues = self._queues.get(bucket)
        if queues is None:
            queues = self._queues[bucket] = tuple(deque() for _ in range(HIGHEST_PRIORITY, LOWEST_PRIORITY + 1))
        queue = queues[ticket.priority - HIGHEST_PRIORITY]
        queue.append(item)
        self._waiting += 1
        full = self._joins and len(queue) >= self._inline_runs  # waiting for others would bring it nothing
        if self._inline and full and (longest := self._longest_waiting()) and (batch := self._take(longest)):
            self._run_inline(batch)
        return item

    def _run_inline(self, batch: Batch) -> None:
        """Compute here and now."""
        self._finish(batch, self._compute(batch, batch.items, None))

    async def _awaited(self, pieces: Iterable[Arrays], ticket: Ticket) -> list[Outputs]:
        """Return what came of each run, a few of which wait at a time, so that others have their turn between them.

        A request that has begun is not refused half-way; whoever is cancelled wants none of its runs any more.
        """
        most = 1 if self._inline else PIECES * self._limits.concurrency
        found: list[Outputs] = []
        waiting: deque[tuple[Item, asyncio.Future[Outputs]]] = deque()
        try:
            for arrays in pieces:
                if len(waiting) == most:
                    found.append(await self._first(waiting))
                future: asyncio.Future[Outputs] = self._loop.create_future()
                admitted = bool(found or waiting)
                waiting.append((self.submit(arrays, ticket, partial(_resolve, future), admitted=admitted), future))
            while len(waiting) > 1:
                found.append(await self._first(waiting))
            return [*found, await waiting[0][1]]
        finally:
            for item, future in waiting:
                if not future.cancel() and not future.cancelled():
                    future.exception()  # looked at, lest asyncio complains
                self._withdraw(item)

    async def _first(self, waiting: deque[tuple[Item, asyncio.Future[Outputs]]]) -> Outputs:
        """Return what came of the run that was submitted first."""
        outputs = await waiting[0][1]
        waiting.popleft()
        if self._inline:
            await asyncio.sleep(0)  # it may have been computed when it was submitted, and so may the next
        return outputs

    def _bucket(self, arrays: Arrays) -> Hashable:
        if not self._joins:
            return object()
        return tuple(arrays[name].shape[1:] for name in self._names) if self._varying else None

    def _schedule(self) -> None:
        """Have a batch formed once everything that has arrived by now is in the queue."""
        self._scheduled = True
        self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._scheduled = False
        self._alone, self._brought = self._brought == 1, 0
        turn_ends = time.perf_counter() + INLINE_TURN_SECONDS if self._inline else 0.0
        while self._waiting and self._running < self._limits.concurrency:
            queues = self._longest_waiting()
            if queues is None or self._waits_for_company(queues):
                return
            batch = self._take(queues)
            if batch is None:
                continue
            if self._inline:
                self._run_inline(batch)
                if self._waiting and time.perf_counter() > turn_ends:
                    if not self._scheduled:
                        self._schedule()  # connections and timers come first
                    return
                continue
            self._running += 1
            future = self._loop.run_in_executor(self._executor, self._compute, batch, batch.items, batch.halt)
            future.add_done_callback(lambda done, batch=batch: self._ran(batch, done))

    def _longest_waiting(self) -> tuple[deque[Item], ...] | None:
        """Return the bucket whose turn it is: that of the highest priority, and the oldest among those."""
        best: tuple[int, float] | None = None
        found: tuple[deque[Item], ...] | None = None
        for bucket, queues in list(self._queues.items()):
            for queue in queues:
                while queue and queue[0].settled:
                    self._leaves(queue.popleft())
            head = next((queue[0] for queue in queues if queue), None)
            if head is None:
                del self._queues[bucket]
            elif best is None or (head.ticket.priority, head.since) < best:
                best, found = (head.ticket.priority, head.since), queues
        return found

    def _waits_for_company(self, queues: tuple[deque[Item], ...]) -> bool:
        """Return whether a configured delay lets the part stay free for now; have it looked at again if so."""
        delay = self._limits.queue_delay_seconds
        if not delay or not self._joins:
            return False
        rows, oldest = 0, float("inf")
        for item in _live(queues):
            rows, oldest = rows + item.rows, min(oldest, item.since)
        until = oldest + delay
        left = until - time.perf_counter()
        if rows >= self._limits.batch_size or left <= 0:
            return False
        if self._delayed is not None:
            self._delayed.cancel()
        self._delayed = self._loop.call_later(left, self._dispatch)
        return True

    def _take(self, queues: tuple[deque[Item], ...]) -> Batch | None:
        """Take what runs together, highest priority first; those whose clients have gone are let go."""
        now, rows, items = time.perf_counter(), 0, list[Item]()
        for queue in queues:
            while queue and (not items or rows + queue[0].rows <= self._limits.batch_size):
                item = queue.popleft()
                self._leaves(item)
                if item.settled:
                    continue
                item.waited = now - item.since
                if item.waited > UNATTENDED_SECONDS and item.ticket.left():
                    self._observer.rejected("client_left")
                    self._settle(item, ClientLeft())
                    continue
                item.ticket.queue_seconds += item.waited
                items.append(item)
                rows += item.rows
            if queue and items:
                break
        if not items:
            return None
        batch = Batch(items, Halt(), [])
        for item in items:
            item.batch = batch
        return batch

    def _leaves(self, item: Item) -> None:
        if item.waiting:
            item.waiting = False
            self._waiting -= 1

    def _compute(self, batch: Batch, items: Sequence[Item], halt: Halt | None) -> list[Outputs | Exception]:
        """Return what each request gets. Runs in a thread unless the part is cheap."""
        started = time.perf_counter()
        try:
            arrays = items[0].arrays if len(items) == 1 else _joined(items)
            joined = time.perf_counter()
            outputs = self._part.run(arrays, halt)
            computed = time.perf_counter()
            found = [outputs] if len(items) == 1 else list(_divided(items, outputs))
        except Refused as error:
            if len(items) == 1:
                return [ValidationFailed.at("/inputs", f"the graph refused these values: {error}")]
            middle = len(items) // 2
            halves = (items[:middle], items[middle:])
            return [found for half in halves for found in self._compute(batch, half, halt)]
        except Halted:
            return [_too_late()] * len(items)
        except Exception as error:  # noqa: BLE001 - whatever it is, each of them gets an answer
            return [error] * len(items)
        waited, rows = [item.waited for item in items], sum(item.rows for item in items)
        seconds = (joined - started, computed - joined, time.perf_counter() - computed)
        batch.timings.append(Timing(waited, rows, *seconds))
        for item in items:
            item.ticket.infer_seconds += computed - joined
        return list(found)

    def _ran(self, batch: Batch, done: asyncio.Future[list[Outputs | Exception]]) -> None:
        self._running -= 1
        self._finish(batch, done.result())
        self._dispatch()

    def _finish(self, batch: Batch, found: Sequence[Outputs | Exception]) -> None:
        for timing in batch.timings:
            self._observer.ran(timing)
        for item, result in zip(batch.items, found, strict=True):
            item.batch = None  # no cycle is left to the collector
            self._settle(item, result)

    def _settle(self, item: Item, result: Outputs | Exception) -> None:
        if item.timer is not None:
            item.timer.cancel()
        if not item.settled:
            item.settled = True
            item.done(result)

    def _withdraw(self, item: Item) -> None:
        """Let a run go that nobody wants any more; settled ones are gone already."""
        if not item.settled:
            item.settled = True
            if item.timer is not None:
                item.timer.cancel()

    def _expire(self, item: Item) -> None:
        """Answer that it took too long; a run that nobody waits for any more is interrupted."""
        if item.settled or item.ticket.deadline is None:
            return
        self._leaves(item)
        self._settle(item, too_late(self._observer, item.ticket.deadline))
        if item.batch is not None and all(other.settled for other in item.batch.items):
            item.batch.halt()


def is_joint(signature: PartSignature) -> bool:
    """Return whether runs of the part can be joined: every input and output has the same first axis, of any size."""
    axes = {tensor.shape[0] if tensor.shape else None for tensor in (*signature.inputs, *signature.outputs)}
    return len(axes) == 1 and isinstance(axes.pop(), str)


def too_many(observer: Observer) -> Overloaded:
    """Return the error for a request that is not taken, and let ``observer`` know."""
    observer.rejected("overloaded")
    return Overloaded(TOO_MANY)


def _live(queues: Sequence[deque[Item]]) -> Iterator[Item]:
    return (item for queue in queues for item in queue if not item.settled)


def _resolve(future: asyncio.Future[Outputs], result: Outputs | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def _joined(items: Sequence[Item]) -> Arrays:
    return {name: np.concatenate([item.arrays[name] for item in items]) for name in items[0].arrays}


def _divided(items: Sequence[Item], outputs: Outputs) -> Iterator[Outputs]:
    start = 0
    for item in items:
        yield {name: array[start : start + item.rows] for name, array in outputs.items()}
        start += item.rows


def too_late(observer: Observer, deadline: float) -> DeadlineExceeded:
    """Return the error for a request whose deadline has passed, and let ``observer`` know."""
    observer.rejected("deadline_exceeded")
    observer.overran(time.perf_counter() - deadline)
    return _too_late()


def _too_late() -> DeadlineExceeded:
    return DeadlineExceeded("The answer was not ready by the deadline of the request.")
