"""Runs of a network's graphs for a codec: sources are read together, rows of the target take steps together."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from models.contract.task import Array, Arrays, Call
from models.data.padding import padded_twice
from models.data.texts.segmentation import END_INDEX
from models.data.vocabulary import PADDING
from models.seq2seq.parts import ENCODER, SPELLER, STEP

LETTER_STEP = 8
SOURCE_STEP = 8
"""Sources are padded to whole steps of so many tokens, so that steps of different requests run together."""

LETTERS_A_RUN = 2**17
"""Sources × tokens × letters that are read at once, padding included: some hundred megabytes of vectors."""

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
        spelling: (rows, spelling), the state from which an unknown word is spelt; None where none is.
    """

    likeliest: Array
    candidates: Array
    log_probability: Array
    state: Array
    attention: Array | None
    spelling: Array | None


@dataclass(frozen=True)
class Source:
    """What is read.

    Attributes:
        indices: (tokens,) int64; without a token it is read as an end.
        letters: of each token (letters,) int64, none of known ones; None where words are not spelt.
    """

    indices: Array
    letters: Sequence[Array] | None = None

    def __len__(self) -> int:
        return max(1, len(self.indices))


def read(sources: Sequence[Source]) -> Running[Rows]:
    """Return a row for each of ``sources``."""
    lengths = np.array([len(source) for source in sources], np.int64)
    tokens = np.full((len(sources), -(-int(lengths.max()) // SOURCE_STEP) * SOURCE_STEP), PADDING, np.int64)
    for row, source in enumerate(sources):
        tokens[row, : lengths[row]] = source.indices if len(source.indices) else END_INDEX
    arrays = {"tokens": tokens, "lengths": lengths}
    if sources[0].letters is None:
        outputs = yield Call(ENCODER, arrays)
        return Rows(outputs["start"], outputs.get("memory"), lengths)
    longest = max((len(word) for source in sources for word in source.letters or []), default=1)
    letters = max(1, -(-longest // LETTER_STEP)) * LETTER_STEP
    together = max(1, LETTERS_A_RUN // (tokens.shape[1] * letters))
    found: list[Arrays] = []
    for begin in range(0, len(sources), together):
        chosen = slice(begin, begin + together)
        run = {name: array[chosen] for name, array in arrays.items()}
        run["letters"] = np.zeros((*run["tokens"].shape, letters), np.int64)
        spelt = padded_twice([source.letters or [] for source in sources[chosen]], LETTER_STEP)
        run["letters"][:, : spelt.shape[1], : spelt.shape[2]] = spelt
        found.append((yield Call(ENCODER, run)))
    joined = {name: np.concatenate([outputs[name] for outputs in found]) for name in found[0]}
    return Rows(joined["start"], joined.get("memory"), lengths)


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
        outputs.get("spelling"),
    )


def spelt(states: Array, longest: int) -> Running[list[list[int]]]:
    """Return the likeliest letters of the words begun from ``states`` (words, spelling), ends left out."""
    words: list[list[int]] = [[] for _ in states]
    rows, letters = np.arange(len(states)), np.full(len(states), END_INDEX, np.int64)
    for _ in range(longest):
        if not len(rows):
            break
        outputs = yield Call(SPELLER, {"letters": letters, "state": states})
        best = outputs["candidates"][:, 0]  # padding ends a word as well: none was ever taught
        on = (best != END_INDEX) & (best != PADDING)
        for row, letter in zip(rows[on].tolist(), best[on].tolist(), strict=True):
            words[row].append(letter)
        rows, letters, states = rows[on], best[on], outputs["next_state"][on]
    return words
