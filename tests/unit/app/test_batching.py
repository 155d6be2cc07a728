"""The queue before a part: joint runs, whose answers and whose faults stay each request's own."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.serving import batching
from app.serving.batching import Batcher, is_joint
from app.serving.runs import Limits
from app.serving.runtimes.runtime import Halt
from app.serving.tickets import ClientLeft, Ticket
from models.contract.errors import DeadlineExceeded, Overloaded, RuntimeUnavailable, ValidationFailed
from models.contract.task import Array, Arrays
from models.contract.tensors import PartSignature, TensorSignature
from unit.app.batchers import CHEAP, DEAR, SIGNATURE, Make, Seen, Sums, held, rows


@pytest.mark.parametrize("cost", [DEAR, CHEAP])
async def test_what_waits_is_computed_together_and_each_gets_its_own(make: Make, part: Sums, cost: float) -> None:
    batcher = make(cost)
    found = await asyncio.gather(*(batcher.run(rows(number, number + 1), Ticket()) for number in range(10)))
    assert [outputs["sums"].tolist() for outputs in found] == [[2 * n, 2 * n + 2] for n in range(10)]
    assert sum(part.runs) == 20
    assert max(part.runs) > 2
    assert batcher.pending == 0


async def test_lengths_are_not_mixed(make: Make, part: Sums) -> None:
    batcher = make()
    first = await held(batcher, part)
    waiting = [asyncio.create_task(batcher.run(rows(1, length=n), Ticket())) for n in (2, 3, 2, 3)]
    await asyncio.sleep(0.01)
    part.free.set()
    assert [(await task)["sums"].tolist() for task in waiting] == [[2], [3], [2], [3]]
    await first
    assert part.runs == [1, 2, 2]


@given(
    sizes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=20),
    batch_size=st.integers(1, 8),
    cost=st.sampled_from([DEAR, CHEAP]),
    order=st.randoms(use_true_random=False),
)
def test_an_answer_does_not_depend_on_what_it_was_computed_with(
    sizes: list[tuple[int, int]], batch_size: int, cost: float, order: object
) -> None:
    """Nor on order and arrival; requests larger than a batch come back whole."""

    async def go() -> None:
        part = Sums()
        part.free.set()
        with ThreadPoolExecutor(2) as threads:
            batcher = Batcher(part, SIGNATURE, Limits(batch_size=batch_size, concurrency=2), threads, Seen(), cost)
            asked = [
                {"values": np.random.default_rng(n).normal(size=size).astype(np.float32) ** 2}
                for n, size in enumerate(sizes)
            ]
            tickets = [Ticket(priority=1 + n % 3) for n in range(len(asked))]
            pairs = list(zip(asked, tickets, strict=True))
            order.shuffle(pairs)  # type: ignore[attr-defined]
            found = await asyncio.gather(*(batcher.run(*pair) for pair in pairs))
            for (arrays, _), outputs in zip(pairs, found, strict=True):
                np.testing.assert_array_equal(outputs["sums"], arrays["values"].sum(axis=1))
            assert max(part.runs) <= batch_size

    asyncio.run(go())


@pytest.mark.parametrize("cost", [DEAR, CHEAP])
async def test_a_poisoned_batch_fails_only_those_who_poisoned_it(make: Make, cost: float) -> None:
    batcher = make(cost)
    bad = set(range(3, 256, 32))
    tasks = [batcher.run(rows(-1 if n in bad else n), Ticket()) for n in range(256)]
    found = await asyncio.gather(*tasks, return_exceptions=True)
    for number, result in enumerate(found):
        if number in bad:
            assert isinstance(result, ValidationFailed)
        else:
            assert isinstance(result, dict)
            assert result["sums"].tolist() == [2 * number]


async def test_higher_priorities_go_first(make: Make, part: Sums) -> None:
    batcher = make(batch_size=1)
    first, done = await held(batcher, part), list[int]()

    async def ask(priority: int) -> None:
        await batcher.run(rows(priority), Ticket(priority=priority))
        done.append(priority)

    tasks = [asyncio.create_task(ask(priority)) for priority in (3, 2, 1, 3, 1)]
    await asyncio.sleep(0.01)
    part.free.set()
    await asyncio.gather(first, *tasks)
    assert done == [1, 1, 2, 3, 3]


async def test_a_full_queue_refuses(make: Make, part: Sums, seen: Seen) -> None:
    batcher = make(queue_size=2)
    first = await held(batcher, part)
    waiting = [asyncio.create_task(batcher.run(rows(1), Ticket())) for _ in range(2)]
    await asyncio.sleep(0.01)
    assert (batcher.full, batcher.pending) == (True, 2)
    with pytest.raises(Overloaded):
        await batcher.run(rows(1), Ticket())
    waiting[0].cancel()
    part.free.set()
    await asyncio.gather(first, waiting[1])
    assert (batcher.full, batcher.pending, seen.reasons) == (False, 0, ["overloaded"])


async def test_a_deadline_ends_waiting_and_running(make: Make, part: Sums, seen: Seen) -> None:
    """The run that nobody waits for any more is interrupted, and the queue goes on."""
    batcher = make()
    part.free.clear()
    started = time.perf_counter()
    running = asyncio.create_task(batcher.run(rows(1), Ticket(deadline=started + 0.05)))
    await asyncio.to_thread(part.begun.wait)
    waiting = asyncio.create_task(batcher.run(rows(2), Ticket(deadline=started + 0.03)))
    with pytest.raises(DeadlineExceeded):
        await waiting
    assert 0.025 <= time.perf_counter() - started < 0.045
    with pytest.raises(DeadlineExceeded):
        await running
    assert 0.045 <= time.perf_counter() - started < 0.5
    assert (await batcher.run(rows(3), Ticket()))["sums"].tolist() == [6]
    assert seen.reasons == ["deadline_exceeded"] * 2
    with pytest.raises(DeadlineExceeded):
        await batcher.run(rows(1), Ticket(deadline=started))
    assert len(seen.overruns) == 3
    assert all(0 <= seconds < 0.5 for seconds in seen.overruns)


async def test_nothing_is_computed_for_who_left(make: Make, part: Sums, seen: Seen) -> None:
    batcher = make()
    first = await held(batcher, part)
    left = asyncio.create_task(batcher.run(rows(1), Ticket(left=lambda: True)))
    cancelled = asyncio.create_task(batcher.run(rows(1), Ticket()))
    await asyncio.sleep(0.02)
    cancelled.cancel()
    part.free.set()
    with pytest.raises(ClientLeft):
        await left
    await first
    assert (part.runs, seen.reasons, batcher.pending) == ([1], ["client_left"], 0)


async def test_a_delay_waits_for_company_and_not_longer(make: Make, part: Sums) -> None:
    batcher = make(CHEAP, queue_delay_seconds=0.05, batch_size=3)
    started = time.perf_counter()
    await asyncio.gather(*(batcher.run(rows(n), Ticket()) for n in range(3)))
    assert time.perf_counter() - started < 0.045
    await batcher.run(rows(1), Ticket())
    assert time.perf_counter() - started >= 0.045
    assert part.runs == [3, 1]


async def test_a_runtime_that_ends_is_said_to_all_of_the_run(make: Make, part: Sums) -> None:
    def gone(arrays: Arrays, halt: Halt | None = None) -> dict[str, Array]:
        del arrays, halt
        raise RuntimeUnavailable("gone")

    part.run = gone  # type: ignore[method-assign]
    batcher = make()
    found = await asyncio.gather(*(batcher.run(rows(n), Ticket()) for n in range(3)), return_exceptions=True)
    assert [type(result) for result in found] == [RuntimeUnavailable] * 3


async def test_what_runs_took_is_told(make: Make, seen: Seen) -> None:
    tickets = [Ticket() for _ in range(3)]
    batcher = make()
    await asyncio.gather(*(batcher.run(rows(1, 2), ticket) for ticket in tickets))
    assert sum(timing.rows for timing in seen.timings) == 6
    assert sum(len(timing.waited) for timing in seen.timings) == 3
    assert all(ticket.infer_seconds > 0 for ticket in tickets)


def test_parts_without_a_common_batch_axis_are_not_joined() -> None:
    free, fixed = TensorSignature(name="a", shape=("batch", 3)), TensorSignature(name="b", shape=(1, 3))
    assert is_joint(PartSignature(inputs=(free,), outputs=(free,)))
    assert not is_joint(PartSignature(inputs=(free,), outputs=(fixed,)))
    assert not is_joint(PartSignature(inputs=(fixed,), outputs=(fixed,)))
    assert not is_joint(PartSignature(inputs=(free,), outputs=(TensorSignature(name="c", shape=()),)))


async def test_a_full_run_of_a_cheap_part_waits_for_nothing(make: Make, part: Sums) -> None:
    """It is computed as soon as its last row is there; what is left over is computed in the next turn of the loop."""
    batcher = make(CHEAP, batch_size=4)
    found: list[object] = []
    for number in range(6):
        batcher.submit(rows(number), Ticket(), found.append)
    assert (part.runs, len(found), batcher.pending) == ([4], 4, 2)
    await asyncio.sleep(0)
    assert (part.runs, len(found), batcher.pending) == ([4, 2], 6, 0)


@pytest.mark.parametrize(("delay", "at_once"), [(0.0, [32]), (1e-4, list[int]())])
async def test_many_cheap_runs_are_no_reason_to_wait_for_more(
    make: Make, part: Sums, delay: float, at_once: list[int]
) -> None:
    """Unless a delay says so."""
    batcher = make(CHEAP, queue_delay_seconds=delay)
    done: list[object] = []
    for number in range(40):
        batcher.submit(rows(number), Ticket(), done.append)
    assert part.runs == at_once
    await asyncio.sleep(0.01)
    assert (sum(part.runs), len(done)) == (40, 40)


async def test_cheap_runs_of_many_lengths_are_joined_as_those_of_one_are(make: Make, part: Sums) -> None:
    batcher = make(CHEAP)
    done: list[object] = []
    for number in range(80):
        batcher.submit(rows(number, length=1 + number % 20), Ticket(), done.append)
    await asyncio.sleep(0)
    assert part.runs == [4] * 20


async def test_a_cheap_run_that_comes_alone_again_waits_for_no_turn(make: Make, part: Sums) -> None:
    """Others of its turn are computed together; and when many come, or a delay is set, nobody is computed alone."""
    for batcher, wanted in ((make(CHEAP), [1, 1, 1, 2, 3]), (make(CHEAP, queue_delay_seconds=1e-4), [1, 1, 3, 3])):
        part.runs.clear()
        for turn, count in enumerate((1, 1, 3, 3)):
            done: list[object] = []
            for value in range(count):
                batcher.submit(rows(value), Ticket(), done.append)
                assert len(done) == (turn in (1, 2) and len(wanted) == 5)
            await asyncio.sleep(0.01)
            assert len(done) == count
        assert part.runs == wanted


async def test_who_comes_alone_does_not_pass_those_who_wait(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "INLINE_TURN_SECONDS", -1.0)  # one joint run a turn
    batcher = make(CHEAP)
    done: list[int] = []

    def submit(length: int) -> None:
        batcher.submit(rows(1, length=length), Ticket(), lambda _: done.append(length))

    for length in (1, 2, 3):
        submit(length)
    await asyncio.sleep(0)
    submit(4)
    await asyncio.sleep(0)
    submit(5)
    assert done == [1, 2]
    await asyncio.sleep(0.01)
    assert done == [1, 2, 3, 4, 5]
