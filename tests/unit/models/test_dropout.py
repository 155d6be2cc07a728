"""Dropout: masks of mean one, identity in evaluation, noise from its own generator alone."""

from __future__ import annotations

import pytest
import torch

from models.nn.dropout import Dropout

COUNT = 200_000


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.9])
def test_mask_has_mean_one(rate: float) -> None:
    """Each entry is 0 or 1/keep, and the mean is 1 within five standard errors."""
    mask = Dropout(rate, torch.Generator().manual_seed(1)).train()(torch.ones(COUNT))
    torch.testing.assert_close(mask.unique(), torch.tensor([0.0, 1 / (1 - rate)]))
    error = (rate / (1 - rate) / COUNT) ** 0.5
    assert float(mask.mean()) == pytest.approx(1.0, abs=5 * error)


def test_evaluation_is_the_identity() -> None:
    activations = torch.rand(3, 4)
    assert Dropout(0.5, torch.Generator()).eval()(activations) is activations


def test_rate_of_zero_is_the_identity_in_training() -> None:
    activations = torch.rand(3, 4)
    assert Dropout(0.0, torch.Generator()).train()(activations) is activations


def test_masks_come_from_the_generator_alone() -> None:
    """One seed gives one mask, the next call another, and the global generator is not touched."""
    before = torch.get_rng_state()
    first, second = (Dropout(0.5, torch.Generator().manual_seed(2)).train() for _ in range(2))
    ones = torch.ones(64)
    mask = first(ones)
    assert torch.equal(mask, second(ones))
    assert not torch.equal(mask, first(ones))
    assert torch.equal(torch.get_rng_state(), before)
