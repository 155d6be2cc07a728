"""Pairs of a split, numbered and ready to be batched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from models.batching import SequenceExamples
from models.contract.task import Array
from models.data.padding import padded
from models.data.texts.segmentation import END_INDEX
from models.seq2seq.languages import Languages

Batch = dict[str, Tensor]
"""``sources`` and ``targets`` (batch, time) int64 with ``source_lengths`` and ``target_lengths`` (batch,); ``before``
are the targets one step later, an end token first."""


class PairExamples(SequenceExamples[Batch]):
    """Sources and targets as a network reads and writes them."""

    def __init__(
        self, languages: Languages, sources: Sequence[str], targets: Sequence[str], device: torch.device
    ) -> None:
        """Number every pair once. A source without a token is read as an end."""
        self._sources = [_some(languages.read(languages.source.cut(text))) for text in sources]
        self._targets = [languages.written(text) for text in targets]
        self._device = device
        lengths = [len(one) + len(other) for one, other in zip(self._sources, self._targets, strict=True)]
        super().__init__(torch.tensor(lengths))

    def take(self, indices: Tensor) -> Batch:
        """Return the pairs at ``indices``, each side padded to its longest."""
        chosen = cast("list[int]", indices.tolist())
        sources, source_lengths = self._padded([self._sources[index] for index in chosen])
        targets, target_lengths = self._padded([self._targets[index] for index in chosen])
        before = torch.cat([targets.new_full((len(chosen), 1), END_INDEX), targets[:, :-1]], dim=1)
        return {
            "sources": sources,
            "source_lengths": source_lengths,
            "targets": targets,
            "target_lengths": target_lengths,
            "before": before,
        }

    def _padded(self, rows: Sequence[Array]) -> tuple[Tensor, Tensor]:
        filled, lengths = padded(rows)
        return torch.from_numpy(filled).to(self._device), torch.from_numpy(lengths).to(self._device)


def _some(indices: Array) -> Array:
    return indices if len(indices) else np.array([END_INDEX])
