"""What every family's module and learner promise, whatever it learns and however."""

from __future__ import annotations

import copy
import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from conformance.bench import BATCH, STEPS, Bench
from workers.checkpoints import state_of

OVERFITTED_EXAMPLES = 8
COPIES = 4
"""Each example is there so often, so that a random sample of the batch misses hardly any."""
OVERFITTING_STEPS = 400
OVERFITTED_SHARE = 0.1
"""The loss of one batch, learnt by heart, falls below this share of what it was."""


def _equal(one: Any, other: Any) -> bool:  # noqa: ANN401 - a state is nested dicts and lists
    """Return whether two states are equal bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other) and one.dtype == other.dtype
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def _noise_replaced(state: Any, noise: torch.Tensor) -> Any:  # noqa: ANN401 - as above
    """Return the state with ``noise`` for those of generators, which alone are bytes."""
    if isinstance(state, torch.Tensor):
        return noise if state.dtype == torch.uint8 else state
    if isinstance(state, dict):
        return {key: _noise_replaced(value, noise) for key, value in state.items()}
    return state


def _attributes(module: nn.Module) -> dict[str, list[str]]:
    return {name: sorted(vars(item)) for name, item in module.named_modules()}


def test_building_is_deterministic_under_a_generator(bench: Bench) -> None:
    """One seed, one module; torch's global generator is neither read nor moved."""
    before = torch.get_rng_state()
    first = bench.family.build(bench.generator(3))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    second = bench.family.build(bench.generator(3))
    assert _equal(first.state_dict(), second.state_dict())


def test_epoch_visits_every_example_once(bench: Bench) -> None:
    """The batches of an epoch cut a permutation that the generator alone decides."""
    examples = bench.examples(bench.train)
    epochs = [examples.batches(BATCH, torch.Generator().manual_seed(seed)) for seed in (4, 4, 5)]
    visits = [torch.cat(list(batches)) for batches in epochs]
    assert sorted(visits[0].tolist()) == list(range(len(examples)))
    assert torch.equal(visits[0], visits[1])
    assert not torch.equal(visits[0], visits[2])


def test_steps_are_finite_and_move_every_trainable_parameter(bench: Bench) -> None:
    """A parameter that no step moves is dead weight, or cut off from the loss by mistake."""
    before = torch.get_rng_state()
    module, learner = bench.start(bench.train, epochs=1)
    start = copy.deepcopy(dict(module.named_parameters()))
    for batch in bench.batches(STEPS):
        metrics = learner.step(batch)
        assert metrics
        assert all(math.isfinite(float(value)) for value in metrics.values())
    still = [
        name
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and torch.equal(parameter, start[name])
    ]
    assert start
    assert still == []
    assert all(bool(parameter.isfinite().all()) for parameter in module.parameters())
    assert torch.equal(torch.get_rng_state(), before), "noise comes from the generator that build was given"


@pytest.mark.slow
def test_one_batch_can_be_learnt_by_heart(bench: Bench) -> None:
    """A learner that cannot fit eight examples learns nothing; the loss is the family's own."""
    bench = bench.for_few
    chosen = np.tile(np.arange(OVERFITTED_EXAMPLES), COPIES)
    split = {name: array[chosen] for name, array in bench.train.items()}
    module, learner = bench.start(split, epochs=OVERFITTING_STEPS, batch_size=len(chosen))
    examples = bench.examples(split)
    batch = examples.take(torch.arange(len(chosen)))
    before = bench.family.evaluate(module, examples)["loss"]
    for _ in range(OVERFITTING_STEPS):
        learner.step(batch)
    assert bench.family.evaluate(module, examples)["loss"] < OVERFITTED_SHARE * before


def test_evaluation_changes_nothing(bench: Bench) -> None:
    """Scoring twice gives the same numbers and leaves module, learner and global generator as they were."""
    module, learner = bench.start(bench.train, epochs=1)
    learner.step(next(bench.batches(1)))
    examples = bench.examples(bench.content.splits["validation"])
    saved, attributes, random = copy.deepcopy(learner.state()), _attributes(module), torch.get_rng_state()
    scores = [bench.family.evaluate(module, examples) for _ in range(2)]
    assert scores[0] == scores[1]
    assert math.isfinite(scores[0]["loss"])
    assert _equal(learner.state(), saved)
    assert _attributes(module) == attributes, "forward keeps nothing on self"
    assert torch.equal(torch.get_rng_state(), random)


def test_a_checkpoint_of_another_kind_of_device_can_be_continued(bench: Bench) -> None:
    """Its generator's state has another size: the parameters are taken over, the noise is new."""
    batches = list(bench.batches(2))
    module, learner = bench.start(bench.train, epochs=1)
    learner.step(batches[0])
    other_size = {"cpu": torch.zeros(16, dtype=torch.uint8), "cuda": torch.Generator().get_state()}[bench.device.type]
    checkpoint = io.BytesIO()
    torch.save(_noise_replaced(learner.state(), other_size), checkpoint)
    continued_module, continued = bench.start(bench.train, epochs=1, seed=2)
    continued.restore(state_of(checkpoint.getvalue(), bench.device))
    assert _equal(continued_module.state_dict(), module.state_dict())
    metrics = continued.step(batches[1])
    assert all(math.isfinite(float(value)) for value in metrics.values())


@pytest.mark.parametrize("interrupted_after", [1, 3])
def test_restored_learner_ends_bit_identical(bench: Bench, interrupted_after: int) -> None:
    """What is carried between steps is in the state: a learner of another seed, restored, ends the same."""
    batches = list(bench.batches(STEPS))
    module, learner = bench.start(bench.train, epochs=1, seed=1)
    checkpoint = io.BytesIO()
    for index, batch in enumerate(batches):
        if index == interrupted_after:
            torch.save(learner.state(), checkpoint)
        learner.step(batch)
    resumed_module, resumed = bench.start(bench.train, epochs=1, seed=2)
    resumed.restore(state_of(checkpoint.getvalue(), bench.device))
    for batch in batches[interrupted_after:]:
        resumed.step(batch)
    assert _equal(resumed_module.state_dict(), module.state_dict())
    assert _equal(resumed.state(), learner.state())
