"""What a served graph answers does not depend on what it is computed with: every family's export, through the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.serving.batching import Batcher, Limits, Outputs, Timing
from app.serving.runtimes.onnx import OnnxRuntime
from app.serving.runtimes.runtime import LoadedPart, Source
from app.serving.tensors import largest_difference
from app.serving.tickets import Ticket
from conformance.bench import Bench, ExportedBench
from models.contract.task import Arrays, Codec, Prediction, Verb, answer
from models.contract.tensors import TOLERANCES
from models.contract.ties import without_ties

pytestmark = pytest.mark.slow

DEAR, CHEAP = 1.0, 0.0
"""Seconds of one row, as measured when a part was loaded: in threads, or on the event loop."""

LENGTHS = (4, 7, 11)
"""Sizes of all axes but the first."""


@dataclass
class Seen:
    """What an observer of the queue was told."""

    rows: list[int] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def ran(self, timing: Timing) -> None:
        self.rows.append(len(timing.waited))

    def rejected(self, reason: str) -> None:
        self.reasons.append(reason)

    def overran(self, seconds: float) -> None:
        del seconds


@dataclass(frozen=True)
class Arrival:
    """One request: its rows and their length, what is in it, after how many turns of the loop it comes, priority."""

    rows: int
    length: int
    seed: int
    turns: int
    priority: int


ARRIVALS = st.lists(
    st.builds(
        Arrival,
        rows=st.integers(1, 4),
        length=st.integers(0, 2),
        seed=st.integers(0, 2**16),
        turns=st.integers(0, 3),
        priority=st.integers(1, 3),
    ),
    min_size=1,
    max_size=12,
)
COSTS = st.sampled_from([DEAR, CHEAP])
LIMITS = st.builds(
    Limits,
    batch_size=st.integers(1, 16),
    queue_delay_seconds=st.sampled_from([0.0, 0.001]),
    concurrency=st.integers(1, 2),
)


@dataclass(frozen=True)
class Serving:
    """The parts of one family as the gateway serves them."""

    bench: Bench
    parts: Mapping[str, LoadedPart]

    def queues(self, limits: Limits, cost: float, threads: ThreadPoolExecutor, seen: Seen) -> dict[str, Batcher]:
        """Return a queue before each part; of the running event loop."""
        signatures = self.bench.served.signatures
        return {name: Batcher(part, signatures[name], limits, threads, seen, cost) for name, part in self.parts.items()}

    def example(self, name: str, arrival: Arrival) -> Arrays:
        """Return inputs of a part, as many rows and as long as the request says."""
        first, *others = self.bench.served.signatures[name].symbols()
        sizes = {first: arrival.rows, **dict.fromkeys(others, LENGTHS[arrival.length])}
        tensors = self.bench.family.example(name, sizes, torch.Generator().manual_seed(arrival.seed))
        inputs = self.bench.served.signatures[name].inputs
        return {item.name: tensor.numpy() for item, tensor in zip(inputs, tensors, strict=True)}

    def question(self) -> tuple[Verb, Any]:
        """Return what the evaluation asks first, and the request."""
        query = next(self.bench.task.evaluation(self.bench.served, self.bench.content.splits["test"]))
        return self.bench.task.verbs[query.verb], query.request


@pytest.fixture(scope="session")
def serving(exported: ExportedBench) -> Serving:
    """Every family in turn, its ONNX graphs loaded as by the gateway."""
    runtime, signatures = OnnxRuntime(), exported.bench.served.signatures
    graphs = exported.graphs.items()
    return Serving(
        exported.bench,
        {name: runtime.load(Source(signatures[name], partial(bytes, graph))) for name, graph in graphs},
    )


ONNX = pytest.mark.parametrize("exported", ["onnx"], indirect=True, scope="session")
UNHURRIED = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@ONNX
@UNHURRIED
@given(arrivals=ARRIVALS, limits=LIMITS, cost=COSTS)
def test_a_run_does_not_depend_on_what_it_is_computed_with(
    serving: Serving, arrivals: Sequence[Arrival], limits: Limits, cost: float
) -> None:
    """Whatever its batch mates, their order and arrival, it gives the lone outputs within the manifest's tolerance."""
    for name, part in serving.parts.items():
        requests = [serving.example(name, arrival) for arrival in arrivals]

        async def ask(queues: Mapping[str, Batcher], number: int, name: str = name) -> Outputs:
            return await queues[name].run(requests[number], Ticket(priority=arrivals[number].priority))  # noqa: B023 - awaited within the loop's turn

        for request, outputs in zip(requests, asked(serving, arrivals, limits, cost, ask), strict=True):
            alone = part.run(request)
            settled = without_ties(serving.bench.served.signatures[name], alone, outputs)
            for tensor in serving.bench.served.signatures[name].outputs:
                difference = largest_difference(settled[tensor.name], alone[tensor.name])
                assert difference <= TOLERANCES[tensor.quantity], (name, tensor.name)


@ONNX
@UNHURRIED
@given(arrivals=ARRIVALS, limits=LIMITS, cost=COSTS)
def test_a_prediction_does_not_depend_on_what_it_is_asked_with(
    serving: Serving, arrivals: Sequence[Arrival], limits: Limits, cost: float
) -> None:
    """Nor on the padding that inputs of other sizes in the same request bring with them."""
    verb, request = serving.question()
    if "inputs" not in type(request).model_fields:
        return  # what is asked for without inputs has nothing to be computed with
    chosen = [
        [(arrival.seed + step * (1 + arrival.length)) % len(request.inputs) for step in range(arrival.rows)]
        for arrival in arrivals
    ]

    async def ask(queues: Mapping[str, Batcher], number: int) -> Sequence[Prediction]:
        inputs = tuple(request.inputs[index] for index in chosen[number])
        codec = verb.codec(serving.bench.served, request.model_copy(update={"inputs": inputs}))
        return await predicted(codec, queues, arrivals[number].priority)

    for indices, predictions in zip(chosen, asked(serving, arrivals, limits, cost, ask), strict=True):
        for index, prediction in zip(indices, predictions, strict=True):
            lone = request.model_copy(update={"inputs": (request.inputs[index],)})
            alone = answer(verb.codec(serving.bench.served, lone), lambda part, arrays: serving.parts[part].run(arrays))
            assert near(prediction, alone[0]), (prediction, alone[0])


Asked = TypeVar("Asked")


def asked(
    serving: Serving,
    arrivals: Sequence[Arrival],
    limits: Limits,
    cost: float,
    ask: Callable[[Mapping[str, Batcher], int], Awaitable[Asked]],
) -> list[Asked]:
    """Return what ``ask`` gets for each request, when they come as ``arrivals`` says."""
    seen = Seen()

    async def late(queues: Mapping[str, Batcher], number: int) -> Asked:
        for _ in range(arrivals[number].turns):
            await asyncio.sleep(0)
        return await ask(queues, number)

    async def all_of_them() -> list[Asked]:
        with ThreadPoolExecutor(limits.concurrency) as threads:
            queues = serving.queues(limits, cost, threads, seen)
            return list(await asyncio.gather(*(late(queues, number) for number in range(len(arrivals)))))

    found = asyncio.run(all_of_them())
    assert seen.reasons == []
    return found


async def predicted(codec: Codec, queues: Mapping[str, Batcher], priority: int) -> Sequence[Prediction]:
    """Return the predictions of a codec whose runs wait in the queues."""
    try:
        call = next(codec)
        while True:
            call = codec.send(await queues[call.part].run(call.arrays, Ticket(priority=priority)))
    except StopIteration as stop:
        return stop.value


def near(found: Any, wanted: Any) -> bool:  # noqa: ANN401 - any JSON
    """Return whether two predictions differ by no more than rounding."""
    if isinstance(wanted, dict):
        return set(found) == set(wanted) and all(near(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list | tuple):
        return len(found) == len(wanted) and all(map(near, found, wanted))
    if isinstance(wanted, float | np.floating | np.ndarray):
        return largest_difference(np.atleast_1d(found), np.atleast_1d(wanted)) <= TOLERANCES["logits"]
    return found == wanted
