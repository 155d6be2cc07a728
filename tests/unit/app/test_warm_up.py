"""What a part costs, as it is found out before the part answers anybody."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from app.serving import warm_up
from app.serving.runtimes.runtime import Halt
from models.contract.task import Array, Arrays
from models.contract.tensors import PartSignature, TensorSignature

SIGNATURE = PartSignature(
    inputs=(TensorSignature(name="values", shape=("batch", 2)),),
    outputs=(TensorSignature(name="values", shape=("batch", 2)),),
)
CASE = {"values": np.ones((1, 2), np.float32)}


class Machine:
    """A clock, and a part on it; ``cost`` says what a run takes at a time."""

    def __init__(self, cost: Callable[[float], float]) -> None:
        self.now = 0.0
        self.sizes = list[int]()
        self._cost = cost

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def run(self, arrays: Arrays, halt: Halt | None = None) -> dict[str, Array]:
        assert halt is None
        self.now += self._cost(self.now)
        self.sizes.append(len(arrays["values"]))
        return dict(arrays)


@pytest.mark.parametrize(
    ("cost", "seconds", "longest"),
    [
        (lambda _: 5e-5, 5e-5, 0.01),
        (lambda now: 2e-4 if now < 0.1 else 5e-5, 5e-5, 0.15),
        (lambda _: 2e-4, 2e-4, 0.4),
        (lambda _: 5e-4, 5e-4, 0.1),
    ],
    ids=["cheap", "cheap on a busy machine", "not quite cheap", "dear"],
)
def test_a_doubtful_part_is_timed_until_it_is_quick(
    monkeypatch: pytest.MonkeyPatch, cost: Callable[[float], float], seconds: float, longest: float
) -> None:
    """And no other part is waited for."""
    machine = Machine(cost)
    monkeypatch.setattr(warm_up, "time", machine)
    assert warm_up.warm_up(machine, SIGNATURE, [CASE], 64, in_process=True) == pytest.approx(seconds)
    assert machine.now < longest
    assert machine.sizes[-6:] == [2, 4, 8, 16, 32, 64]


def test_a_slow_part_is_not_run_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(lambda _: 1.5)
    monkeypatch.setattr(warm_up, "time", machine)
    assert warm_up.warm_up(machine, SIGNATURE, [CASE], 64, in_process=True) == pytest.approx(1.5)
    assert machine.now == pytest.approx(3.0)


def test_without_inputs_the_cost_is_not_known() -> None:
    assert warm_up.warm_up(Machine(lambda _: 0.0), SIGNATURE, [], 64, in_process=True) == float("inf")


def test_what_another_process_computes_is_never_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it waited for; it is warmed up as any other."""
    machine = Machine(lambda _: 2e-4)
    monkeypatch.setattr(warm_up, "time", machine)
    assert warm_up.warm_up(machine, SIGNATURE, [CASE], 64, in_process=False) == float("inf")
    assert machine.now < 0.01
    assert machine.sizes[-6:] == [2, 4, 8, 16, 32, 64]
