"""Sequences of different lengths as one array, and in runs of like length. Torch-free: trainer and codecs pad alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from models.contract.task import Array
from models.data.vocabulary import PADDING


def padded(sequences: Sequence[Array]) -> tuple[Array, Array]:
    """Return ``sequences`` (tokens,) as (batch, time) int64, filled up with padding, and their lengths (batch,)."""
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    filled = np.full((len(sequences), int(lengths.max())), PADDING, np.int64)
    for row, sequence in enumerate(sequences):
        filled[row, : len(sequence)] = sequence
    return filled, lengths


def padded_twice(rows: Sequence[Sequence[Array]], step: int = 1) -> Array:
    """Return ``rows`` of sequences as (batch, time, items) int64, filled up with padding; ``items`` is whole steps."""
    longest = max((len(sequence) for row in rows for sequence in row), default=0)
    width = max(1, -(-longest // step)) * step
    filled = np.full((len(rows), max(map(len, rows)), width), PADDING, np.int64)
    for number, row in enumerate(rows):
        for time, sequence in enumerate(row):
            filled[number, time, : len(sequence)] = sequence
    return filled


def runs_of_like_length(sequences: Sequence[Array], most_tokens: int) -> Iterator[list[int]]:
    """Yield the positions of all sequences, by falling length, as many at once as are padded to ``most_tokens``."""
    order = sorted(range(len(sequences)), key=lambda position: -len(sequences[position]))
    begin = 0
    while begin < len(order):
        rows = max(1, most_tokens // max(1, len(sequences[order[begin]])))
        yield order[begin : begin + rows]
        begin += rows
