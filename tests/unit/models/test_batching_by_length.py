"""Batches by length against what any epoch must be: each example once, little padding, decided by the generator."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from models.batching import by_length


def _lengths(count: int) -> torch.Tensor:
    return torch.randint(1, 61, (count,), generator=torch.Generator().manual_seed(1))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=200), st.integers(1, 40), st.integers(0, 2**31))
def test_every_example_is_visited_once_in_as_many_batches(lengths: list[int], batch_size: int, seed: int) -> None:
    """So that the plan of the training holds."""
    batches = by_length(torch.tensor(lengths), batch_size, torch.Generator().manual_seed(seed))
    assert sorted(torch.cat(batches).tolist()) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // batch_size)
    assert max(map(len, batches)) <= batch_size


def test_padding_is_a_small_share() -> None:
    """Of lengths 1 to 60 a batch drawn without regard to them is padded by more than its half again."""
    lengths = _lengths(4_000)

    def share(batches: list[torch.Tensor]) -> float:
        padded = sum(int(lengths[batch].max()) * len(batch) for batch in batches)
        return 1 - int(lengths.sum()) / padded

    assert share(by_length(lengths, 32, torch.Generator().manual_seed(1))) < 0.05
    assert share(list(torch.randperm(4_000, generator=torch.Generator().manual_seed(1)).split(32))) > 0.3


def test_batches_differ_from_epoch_to_epoch_and_not_from_run_to_run() -> None:
    """Both their order and who is in them."""
    first, again, other = (by_length(_lengths(3_000), 16, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert all(map(torch.equal, first, again))
    sets = [{frozenset(batch.tolist()) for batch in epoch} for epoch in (first, other)]
    assert len(sets[0] & sets[1]) < 5
    means = [float(_lengths(3_000)[batch].float().mean()) for batch in first]
    assert means != sorted(means)
