"""The likelihood of given targets, token by token, through the very graphs that search runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.contract.task import Array
from models.data.padding import padded
from models.data.texts.segmentation import END_INDEX
from models.seq2seq.beam import CELLS_TOGETHER
from models.seq2seq.running import Rows, Running, Source, read, step

TOGETHER = 64


@dataclass(frozen=True)
class Forced:
    """A target's tokens, its end included.

    Attributes:
        log_probabilities: (target,) in nats.
        attention: (target, source) in the order in which the source was read; None without, or where none was asked.
    """

    log_probabilities: Array
    attention: Array | None


def forced(sources: Sequence[Source], targets: Sequence[Array], *, attention: bool = False) -> Running[list[Forced]]:
    """Return what the model says of each of ``targets`` (tokens,) int64, ends included, behind its source.

    Attention is kept, all of it at once, only if asked for.
    """
    found: dict[int, Forced] = {}
    order = sorted(range(len(targets)), key=lambda number: -len(targets[number]))
    together = max(1, min(TOGETHER, CELLS_TOGETHER // max(map(len, sources))))
    for begin in range(0, len(order), together):
        chosen = order[begin : begin + together]
        own = yield from _together(
            [sources[number] for number in chosen], [targets[number] for number in chosen], attends=attention
        )
        found |= dict(zip(chosen, own, strict=True))
    return [found[number] for number in range(len(targets))]


def _together(sources: Sequence[Source], targets: Sequence[Array], *, attends: bool) -> Running[list[Forced]]:
    """Do so for targets by falling length."""
    rows = yield from read(sources)
    wanted, lengths = padded(targets)
    scores = np.zeros(wanted.shape)
    attention: list[Array] = []
    last = np.full(len(targets), END_INDEX, np.int64)
    for time in range(wanted.shape[1]):
        count = int((lengths > time).sum())
        rows = rows.take(np.arange(count))
        taken = yield from step(rows, last[:count], wanted[:count, time])
        scores[:count, time] = taken.log_probability
        if attends and taken.attention is not None:
            attention.append(taken.attention)
        rows, last = Rows(taken.state, rows.memory, rows.lengths), wanted[:count, time]
    return [
        Forced(
            scores[row, :length],
            np.stack([weights[row, : len(sources[row])] for weights in attention[:length]]) if attention else None,
        )
        for row, length in enumerate(lengths.tolist())
    ]
