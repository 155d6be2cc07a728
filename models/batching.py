"""Batches of sequences of like length, so that little is computed on padding; torch-side, called by families."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from models.family import BatchT, Examples

POOL_BATCHES = 50
"""Batches whose examples are drawn together before they are sorted: enough for even lengths, few enough to mix."""


class SequenceExamples(Examples[BatchT]):
    """Examples of different lengths. An epoch's batches hold examples of like length; which ones is drawn anew."""

    def __init__(self, lengths: Tensor) -> None:
        """Keep the ``lengths`` (examples,) int64."""
        self.lengths = lengths

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.lengths)

    def batches(self, batch_size: int, generator: torch.Generator) -> Sequence[Tensor]:
        """Return a permutation, sorted by length within pools, cut into batches, whose order is drawn."""
        return by_length(self.lengths, batch_size, generator)

    def in_order_of_length(self, batch_size: int) -> Sequence[Tensor]:
        """Return all indices by rising length, ``batch_size`` at a time: for scoring, where the order is free."""
        return cast("Sequence[Tensor]", self.lengths.argsort(stable=True).split(batch_size))


def by_length(lengths: Tensor, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """Return index tensors that visit each of ``lengths`` (examples,) once, as many as without sorting."""
    batches: list[Tensor] = []
    order = torch.randperm(len(lengths), generator=generator)
    for pool in cast("Sequence[Tensor]", order.split(batch_size * POOL_BATCHES)):
        ordered = pool[lengths[pool].argsort(stable=True)]
        batches += cast("Sequence[Tensor]", ordered.split(batch_size))
    return [batches[index] for index in cast("list[int]", torch.randperm(len(batches), generator=generator).tolist())]
