"""Runs of a network's graphs for a codec: sources are read together, rows of the target take steps together."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from models.contract.task import Array, Arrays, Call
from models.data.texts.segmentation import END_INDEX
from models.data.vocabulary import PADDING
from models.seq2seq.parts import ENCODER, STEP

SOURCE_STEP = 8
"""Sources are padded to whole steps of so many tokens, so that steps of different requests run together."""

ResultT = TypeVar("ResultT")
Running = Generator[Call, Arrays, ResultT]


@dataclass(frozen=True)
class Rows:
    """Rows of targets in the making.

    Attributes:
        state: (rows, state).
        memory: (rows, source, memory), None without attention.
        lengths: (rows,) int64, real tokens of each row's source.
    """

    state: Array
    memory: Array | None
    lengths: Array

    def take(self, rows: Array) -> Rows:
        """Return the rows at the indices ``rows``, each as often as it is named."""
        if len(rows) == len(self.lengths) and bool((rows == np.arange(len(rows))).all()):
            return self
        return Rows(self.state[rows], None if self.memory is None else self.memory[rows], self.lengths[rows])


@dataclass(frozen=True)
class Stepped:
    """What a step gives.

    Attributes:
        likeliest: (rows, top) log-probabilities in nats, falling.
        candidates: (rows, top) int64, the tokens that have them.
        log_probability: (rows,), of the tokens that were wanted.
        state: (rows, state).
        attention: (rows, source), None without attention.
    """

    likeliest: Array
    candidates: Array
    log_probability: Array
    state: Array
    attention: Array | None


def read(sources: Sequence[Array]) -> Running[Rows]:
    """Return a row for each of ``sources`` (tokens,) int64; one without a token is read as an end."""
    lengths = np.array([max(1, len(source)) for source in sources], np.int64)
    tokens = np.full((len(sources), -(-int(lengths.max()) // SOURCE_STEP) * SOURCE_STEP), PADDING, np.int64)
    for row, source in enumerate(sources):
        tokens[row, : lengths[row]] = source if len(source) else END_INDEX
    outputs = yield Call(ENCODER, {"tokens": tokens, "lengths": lengths})
    return Rows(outputs["start"], outputs.get("memory"), lengths)


def step(rows: Rows, tokens: Array, wanted: Array | None = None) -> Running[Stepped]:
    """Return what follows on ``tokens`` (rows,) int64."""
    arrays = {"tokens": tokens, "wanted": tokens if wanted is None else wanted, "state": rows.state}
    if rows.memory is not None:
        arrays |= {"memory": rows.memory, "lengths": rows.lengths}
    outputs = yield Call(STEP, arrays)
    return Stepped(
        outputs["likeliest"],
        outputs["candidates"],
        outputs["log_probability"],
        outputs["next_state"],
        outputs.get("attention"),
    )
