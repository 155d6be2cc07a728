"""One target token by token, the likeliest each time or a drawn one, told as it grows: what a stream is made of."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np

from models.contract.task import Array, Arrays, Call, Piece
from models.data.texts.segmentation import END_INDEX
from models.data.vocabulary import UNKNOWN
from models.seq2seq.beam import Hypothesis, Search, allowed, coverage_penalty, length_penalty
from models.seq2seq.running import ResultT, Rows, Running, Source, read, step

Told = Callable[[Array, "Array | None"], str]
"""Returns what can be told of a target's indices so far (target,) and of where each looked most (target,)."""


@dataclass(frozen=True)
class Likeliest:
    """Takes the best token each time; of equal ones the first."""

    def rank(self, likeliest: Array) -> int:
        """Return which of ``likeliest`` (top,) is taken, log-probabilities with −∞ for what may not be."""
        return int(likeliest.argmax())


class Drawn:
    """Draws among the ``top_k`` best that may be, whose log-probabilities are divided by ``temperature``."""

    def __init__(self, temperature: float, top_k: int | None, seed: int) -> None:
        """Keep how to draw; a generator of its own, so that no other request has a part in it."""
        self._temperature = temperature
        self._top_k = top_k
        self._random = np.random.Generator(np.random.Philox(seed))

    def rank(self, likeliest: Array) -> int:
        """Return which of ``likeliest`` (top,) is drawn."""
        ranks = np.flatnonzero(np.isfinite(likeliest))[: self._top_k]
        scores = likeliest[ranks]
        shares = np.exp((scores - scores.max()) / self._temperature)
        return int(self._random.choice(ranks, p=shares / shares.sum()))


def target_told(
    source: Source, search: Search, told: Told, choice: Likeliest | Drawn, *, spells: bool = False
) -> Generator[Call | Piece, Arrays | None, Hypothesis]:
    """Yield runs, and pieces of what ``told`` returns as it grows; return the target that ``choice`` makes.

    With ``spells`` nothing is told from the first unknown token on: its letters are not there yet.
    """
    rows = yield from driven(read([source]))
    length, total, said = len(source), 0.0, ""
    last, indices, ended = np.array([END_INDEX]), np.zeros(0, np.int64), False
    attention, spelling, looked = list[Array](), list[Array](), list[int]()
    covered: Array | None = None
    while True:
        taken = yield from driven(step(rows, last, np.array([END_INDEX])))
        if taken.attention is not None:
            weights = taken.attention[0, :length]
            covered = weights if covered is None else covered + weights
            looked.append(int(weights.argmax()))
            if search.attention:
                attention.append(weights)
        if taken.spelling is not None:
            spelling.append(taken.spelling[0])
        if len(indices) >= search.limit(length):
            total += float(taken.log_probability[0])
            break
        rank = choice.rank(allowed(taken, search)[0])
        total += float(taken.likeliest[0, rank])
        last = taken.candidates[:, rank]
        if int(last[0]) == END_INDEX:
            ended = True
            break
        indices, rows = np.append(indices, last), Rows(taken.state, rows.memory, rows.lengths)
        if spells and bool((indices == UNKNOWN).any()):
            continue
        text = told(indices, np.array(looked) if looked else None)
        if len(text) > len(said):
            yield Piece({"text": text[len(said) :]})
            said = text
    penalty = 0.0 if covered is None else coverage_penalty(covered, search.coverage_penalty)
    score = total / length_penalty(len(indices) + 1, search.length_penalty) + penalty
    states = np.stack(spelling)[: len(indices)][indices == UNKNOWN] if spelling else None
    kept = np.stack(attention)[: len(indices)] if attention else None
    places = np.array(looked[: len(indices)], np.int64) if looked else None
    return Hypothesis(indices, total, score, kept, ended, states, places)


def driven(running: Running[ResultT]) -> Generator[Call | Piece, Arrays | None, ResultT]:
    """Pass runs on whose outputs are always sent."""
    outputs: Arrays | None = None
    while True:
        try:
            call = next(running) if outputs is None else running.send(outputs)
        except StopIteration as stop:
            return stop.value
        outputs = yield call
        assert outputs is not None


def whole(telling: Generator[Call | Piece, Arrays | None, ResultT]) -> Running[ResultT]:
    """Return what a telling comes to, its pieces left out."""
    outputs: Arrays | None = None
    while True:
        try:
            item = next(telling) if outputs is None else telling.send(outputs)
        except StopIteration as stop:
            return stop.value
        outputs = (yield item) if isinstance(item, Call) else None
