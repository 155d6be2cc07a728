"""A vector that becomes a sequence, and recurrence through the output: told apart by what depends on what."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.nn.output_recurrence import OutputRecurrence
from models.nn.recurrent import Cell
from models.nn.vector_to_sequence import Told, VectorToSequence


def _generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _depends(output: Tensor, source: Tensor) -> bool:
    (gradient,) = torch.autograd.grad(output.sum(), source, retain_graph=True, materialize_grads=True)
    return bool(gradient.any())


@pytest.mark.parametrize("told", get_args(Told))
@pytest.mark.parametrize("cell", get_args(Cell))
def test_generating_equals_teacher_forcing_on_what_was_generated(told: Told, cell: Cell) -> None:
    """Fed with its own outputs as if they were the truth, the network says the same again."""
    module = VectorToSequence(told, cell, 3, 2, 5, _generator())
    vector = torch.randn(4, 3, generator=_generator(2))
    generated = module.generate(vector, 6)
    previous = functional.pad(generated, (0, 0, 1, 0))[:, :-1]
    torch.testing.assert_close(module(vector, previous), generated)


@pytest.mark.parametrize("told", get_args(Told))
def test_vector_enters_where_it_is_said_to(told: Told) -> None:
    """As the initial state it reaches the first step through the state alone; as an input it reaches each by itself."""
    module = VectorToSequence(told, "gru", 3, 2, 5, _generator())
    vector = torch.randn(1, 3, generator=_generator(2), requires_grad=True)
    outputs = module(vector, torch.zeros(1, 6, 2))
    assert all(_depends(outputs[:, step], vector) for step in range(6))
    with torch.no_grad():
        module.recurrent.weight_hidden.zero_()
        module.recurrent.bias_input.fill_(-1e4)  # the update gate forgets the state at once
        module.recurrent.bias_input[10:] = 0
    later = module(vector, torch.zeros(1, 6, 2))[:, 3]
    assert _depends(later, vector) == (told != "state")


@pytest.mark.parametrize("told", get_args(Told))
def test_learns_to_write_out_a_vector(told: Told) -> None:
    """Step t is to be the t-th number of the vector, whichever way it enters; the control has no vector."""
    module = VectorToSequence(told, "gru", 4, 1, 32, _generator())
    optimizer = torch.optim.Adam(module.parameters(), 0.02)
    draws = _generator(3)
    loss = torch.zeros(())
    for _ in range(250):
        vector = torch.rand(64, 4, generator=draws) * 2 - 1
        loss = functional.mse_loss(module(vector, torch.zeros(64, 4, 1)).squeeze(2), vector)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.03
    vector = torch.rand(500, 4, generator=draws) * 2 - 1
    control = functional.mse_loss(module(torch.zeros(500, 4), torch.zeros(500, 4, 1)).squeeze(2), vector)
    assert control.item() > 0.25  # the variance of what is to be written is 1/3


def test_output_recurrence_forced_equals_generated() -> None:
    module = OutputRecurrence(3, 2, 5, _generator())
    inputs = torch.randn(4, 6, 3, generator=_generator(2))
    generated = module.generate(inputs)
    torch.testing.assert_close(module(inputs, functional.pad(generated, (0, 0, 1, 0))[:, :-1]), generated)


def test_output_recurrence_forced_has_no_path_through_time() -> None:
    """Given the truth, a step depends on its own input alone; generating, it depends on all before (Figure 10.4)."""
    module = OutputRecurrence(3, 2, 5, _generator())
    inputs = torch.randn(1, 6, 3, generator=_generator(2), requires_grad=True)
    (forced,) = torch.autograd.grad(module(inputs, torch.zeros(1, 6, 2))[:, 4].sum(), inputs)
    (free,) = torch.autograd.grad(module.generate(inputs)[:, 4].sum(), inputs)
    assert [bool(step.any()) for step in forced[0]] == [False] * 4 + [True, False]
    assert [bool(step.any()) for step in free[0]] == [True] * 5 + [False]


def test_output_recurrence_remembers_what_its_output_says_and_nothing_else() -> None:
    """Running parity is its own output before: learnt. The input before is not in the output, so it cannot be."""
    draws = _generator(4)

    def train(target_of: str) -> float:
        module, loss = OutputRecurrence(1, 1, 16, _generator(5)), torch.zeros(())
        optimizer = torch.optim.Adam(module.parameters(), 0.02)
        for _ in range(500):
            bits = torch.randint(2, (64, 10, 1), generator=draws).float()
            delayed = functional.pad(bits, (0, 0, 1, 0))[:, :-1]
            truth = bits.cumsum(dim=1) % 2 if target_of == "parity" else (bits + delayed) % 2
            previous = functional.pad(truth, (0, 0, 1, 0))[:, :-1]
            loss = functional.binary_cross_entropy_with_logits(module(bits, previous), truth)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()

    assert train("parity") < 0.05
    assert train("change") > 0.5
