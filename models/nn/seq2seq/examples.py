"""Pairs of a split, numbered and ready to be batched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from models.batching import SequenceExamples
from models.contract.task import Array
from models.data.padding import padded, padded_twice
from models.data.texts.segmentation import END_INDEX
from models.seq2seq.languages import Languages

Batch = dict[str, Tensor]
"""``sources`` and ``targets`` (batch, time) int64 with ``source_lengths`` and ``target_lengths`` (batch,); ``before``
are the targets one step later, an end token first. Where words are spelt, ``source_letters`` (batch, time, letters) are
those of unknown tokens, and ``target_letters`` (unknown tokens, letters) those of the targets', an end behind each."""


class PairExamples(SequenceExamples[Batch]):
    """Sources and targets as a network reads and writes them."""

    def __init__(
        self, languages: Languages, sources: Sequence[str], targets: Sequence[str], device: torch.device
    ) -> None:
        """Number every pair once. A source without a token is read as an end."""
        self._sources = [_some(languages.read(languages.source.cut(text))) for text in sources]
        self._targets = [languages.written(text) for text in targets]
        self._spelt = (
            [_spelt(languages, *pair) for pair in zip(sources, targets, strict=True)] if languages.letters else []
        )
        self._device = device
        lengths = [len(one) + len(other) for one, other in zip(self._sources, self._targets, strict=True)]
        super().__init__(torch.tensor(lengths))

    def take(self, indices: Tensor) -> Batch:
        """Return the pairs at ``indices``, each side padded to its longest."""
        chosen = cast("list[int]", indices.tolist())
        sources, source_lengths = self._padded([self._sources[index] for index in chosen])
        targets, target_lengths = self._padded([self._targets[index] for index in chosen])
        before = torch.cat([targets.new_full((len(chosen), 1), END_INDEX), targets[:, :-1]], dim=1)
        batch = {
            "sources": sources,
            "source_lengths": source_lengths,
            "targets": targets,
            "target_lengths": target_lengths,
            "before": before,
        }
        if self._spelt:
            letters = [self._spelt[index] for index in chosen]
            batch["source_letters"] = self._moved(padded_twice([source for source, _ in letters]))
            words = [word for _, target in letters for word in target]
            filled = padded(words)[0] if words else np.zeros((0, 1), np.int64)
            batch["target_letters"] = self._moved(filled)
        return batch

    def _padded(self, rows: Sequence[Array]) -> tuple[Tensor, Tensor]:
        filled, lengths = padded(rows)
        return self._moved(filled), self._moved(lengths)

    def _moved(self, array: Array) -> Tensor:
        return torch.from_numpy(array).to(self._device)


def _spelt(languages: Languages, source: str, target: str) -> tuple[list[Array], list[Array]]:
    """Return the letters of each source token, and of the target's unknown tokens, ends included."""
    tokens = languages.target.cut(target)
    spelling = languages.spelling(tokens, languages.target.indices(tokens))
    words = [np.append(letters, END_INDEX) for letters in spelling if len(letters)]
    return languages.read_letters(languages.source.cut(source)) or [np.zeros(0, np.int64)], words


def _some(indices: Array) -> Array:
    return indices if len(indices) else np.array([END_INDEX])
