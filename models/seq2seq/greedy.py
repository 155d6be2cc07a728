"""Greedy search of one target, told token by token: what a stream of an answer is made of."""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np

from models.contract.task import Array, Arrays, Call, Piece
from models.data.texts.segmentation import END_INDEX
from models.data.vocabulary import UNKNOWN
from models.seq2seq.beam import Hypothesis, Search, coverage_penalty, length_penalty
from models.seq2seq.running import ResultT, Rows, Running, Source, read, step

Told = Callable[[Array, Array | None], str]
"""Returns what can be told of a target's indices so far (target,) and their attention (target, source)."""


def greedy_stream(
    source: Source, search: Search, told: Told, *, spells: bool = False
) -> Generator[Call | Piece, Arrays | None, Hypothesis]:
    """Yield runs, and pieces of what ``told`` returns as it grows; return the target that a beam of one finds.

    With ``spells`` nothing is told from the first unknown token on: its letters are not there yet.
    """
    rows = yield from driven(read([source]))
    length, total, said = len(source), 0.0, ""
    last, indices, ended = np.array([END_INDEX]), np.zeros(0, np.int64), False
    attention, spelling = list[Array](), list[Array]()
    while True:
        taken = yield from driven(step(rows, last, np.array([END_INDEX])))
        if taken.attention is not None:
            attention.append(taken.attention[0, :length])
        if taken.spelling is not None:
            spelling.append(taken.spelling[0])
        if len(indices) >= search.limit(length):
            total += float(taken.log_probability[0])
            break
        total += float(taken.likeliest[0, 0])
        last = taken.candidates[:, 0]
        if int(last[0]) == END_INDEX:
            ended = True
            break
        indices, rows = np.append(indices, last), Rows(taken.state, rows.memory, rows.lengths)
        if spells and UNKNOWN in indices:
            continue
        text = told(indices, np.stack(attention) if attention else None)
        if len(text) > len(said):
            yield Piece({"text": text[len(said) :]})
            said = text
    looked = np.stack(attention) if attention else None
    penalty = 0.0 if looked is None else coverage_penalty(looked.sum(axis=0), search.coverage_penalty)
    score = total / length_penalty(len(indices) + 1, search.length_penalty) + penalty
    states = np.stack(spelling)[: len(indices)] if spelling else None
    return Hypothesis(indices, total, score, None if looked is None else looked[: len(indices)], ended, states)


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
