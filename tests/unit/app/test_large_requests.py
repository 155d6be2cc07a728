"""Requests of more rows than one run takes: computed in several, between which others have their turn."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest

from app.serving.tickets import Ticket
from models.contract.errors import DeadlineExceeded, Overloaded
from unit.app.batchers import CHEAP, Make, Seen, Sums, held, rows


async def test_a_request_larger_than_the_queue_is_computed_in_several_runs(make: Make, part: Sums, seen: Seen) -> None:
    """And whoever asks for little meanwhile does not wait for all of them."""
    batcher = make(queue_size=4, batch_size=2)
    first = await held(batcher, part)
    large = asyncio.create_task(batcher.run(rows(*range(100)), Ticket()))
    await asyncio.sleep(0.01)
    assert batcher.pending < 4
    small = asyncio.create_task(batcher.run(rows(7), Ticket()))
    small.add_done_callback(lambda _: computed.append(len(part.runs)))
    computed: list[int] = []
    await asyncio.sleep(0.01)
    part.free.set()
    assert (await large)["sums"].tolist() == [2 * value for value in range(100)]
    await asyncio.gather(first, small)
    assert (sum(part.runs), seen.reasons) == (102, [])
    assert computed[0] < 10


async def test_a_request_that_has_begun_is_not_refused_half_way(make: Make, part: Sums) -> None:
    """Whoever comes while it is computed, and the queue is full, is."""
    batcher = make(queue_size=3, batch_size=1)
    first = await held(batcher, part)
    large = asyncio.create_task(batcher.run(rows(*range(9)), Ticket()))
    await asyncio.sleep(0.01)
    other = asyncio.create_task(batcher.run(rows(1), Ticket()))
    await asyncio.sleep(0.01)
    with pytest.raises(Overloaded):
        await batcher.run(rows(1), Ticket())
    part.free.set()
    await asyncio.gather(first, other)
    assert (await large)["sums"].tolist() == [2 * value for value in range(9)]


async def test_a_large_request_of_a_cheap_part_leaves_the_event_loop_to_others(make: Make) -> None:
    """Between two of its runs."""
    batcher, turns = make(CHEAP, batch_size=2), 0
    large = asyncio.create_task(batcher.run(rows(*range(100)), Ticket()))
    while not large.done():
        await asyncio.sleep(0)
        turns += 1
    assert (await large)["sums"].tolist() == [2 * value for value in range(100)]
    assert turns >= 50


async def test_of_a_large_request_whose_deadline_passes_nothing_is_left(make: Make, part: Sums) -> None:
    """No run in the queue, and no exception that nobody has looked at."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    batcher = make(batch_size=1)
    first = await held(batcher, part)
    with pytest.raises(DeadlineExceeded):
        await batcher.run(rows(*range(9)), Ticket(deadline=time.perf_counter() + 0.02))
    assert batcher.pending == 0
    part.free.set()
    await first
    assert part.runs == [1]
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
