"""Beam search over many sources at once, with the penalties of Google's system; a beam of one is greedy search.

A source keeps as many hypotheses as its beam is wide; one that ends leaves, and the beam is narrower from then on, so
that what is finished costs nothing (Bahdanau, Cho, Bengio 2015, §5). Hypotheses are ranked by
log P(Y|X) / lp(Y) + cp(X; Y) with lp = (5 + |Y|)^α / 6^α and cp = β Σ_i log min(Σ_j p_ij, 1) (Wu et al. 2016, Eq. 14),
where |Y| counts the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.contract.task import Array
from models.data.texts.segmentation import END_INDEX
from models.data.vocabulary import PADDING, UNKNOWN
from models.seq2seq.running import Rows, Running, Source, Stepped, read, step

SOURCES_TOGETHER = 64
CELLS_TOGETHER = 16_384
"""Hypotheses × source tokens that are searched together at most, so that long sources take no more memory."""

BARRED = 4
"""Tokens that may be barred from targets, so many more of the best are looked at: padding, the unknown token, and two
that a task uses for marks of its own."""

LEAST_COVERED = 1e-10


@dataclass(frozen=True)
class Search:
    """How to search.

    Attributes:
        beam: hypotheses kept per source.
        length_penalty: α; 0 ranks by probability alone.
        coverage_penalty: β; used where there is attention.
        longest: most tokens of a target, by the number of tokens of its source.
        unknown: whether a target may hold the unknown token, which then is spelt, copied or shown as such.
        barred: further tokens that no target may hold.
        attention: whether all that the best hypothesis looked at is kept.
        returned: most hypotheses of a source that are returned; all of its beam if None.
    """

    beam: int
    length_penalty: float = 0.0
    coverage_penalty: float = 0.0
    longest: tuple[float, int] = (2.0, 10)
    unknown: bool = True
    barred: tuple[int, ...] = ()
    attention: bool = False
    returned: int | None = None

    def limit(self, source: int) -> int:
        """Return the most tokens of a target, its end not counted."""
        ratio, more = self.longest
        return max(1, int(ratio * source) + more)


@dataclass(frozen=True)
class Hypothesis:
    """One target.

    Attributes:
        indices: (target,) int64, without the end.
        log_probability: in nats, that of the end included.
        score: by which hypotheses are ranked.
        attention: (target, source) in the order in which the source was read; None where it is not kept.
        ended: whether it ends by itself, or was ended at the limit.
        spelling: (unknown tokens, spelling), from which these words are spelt; None where none is.
        looked: (target,) int64, the place in the source, as it was read, that a token looked at most; None without
            attention.
    """

    indices: Array
    log_probability: float
    score: float
    attention: Array | None
    ended: bool
    spelling: Array | None = None
    looked: Array | None = None


def length_penalty(length: int, alpha: float) -> float:
    """Return lp of a target of ``length`` tokens."""
    return ((5 + length) / 6) ** alpha


def coverage_penalty(covered: Array, beta: float) -> float:
    """Return cp of ``covered`` (source,), the attention that each source token got in all."""
    return beta * float(np.log(np.clip(covered, LEAST_COVERED, 1.0)).sum())


def beam_search(sources: Sequence[Source], search: Search) -> Running[list[list[Hypothesis]]]:
    """Return the finished hypotheses of each of ``sources``, the best first, at most a beam of them."""
    found: list[list[Hypothesis]] = [[] for _ in sources]
    order = sorted(range(len(sources)), key=lambda number: -len(sources[number]))
    while order:
        room = CELLS_TOGETHER // (search.beam * len(sources[order[0]]))
        chosen = order[: max(1, min(SOURCES_TOGETHER, room))]
        order = order[len(chosen) :]
        rows = yield from read([sources[number] for number in chosen])
        beams = _Beams(rows, [len(sources[number]) for number in chosen], search)
        while beams.live:
            taken = yield from step(beams.rows, beams.last, np.full(len(beams.last), END_INDEX))
            beams.extend(taken)
        for number, finished in zip(chosen, beams.finished, strict=True):
            best, *others = sorted(finished, key=lambda hypothesis: -hypothesis.score)[: search.returned]
            found[number] = [best, *(replace(other, attention=None) for other in others)]
    return found


def allowed(taken: Stepped, search: Search, wide: int | None = None) -> Array:
    """Return the log-probabilities (rows, wide) of a step's best candidates, −∞ for those that a target may not hold.

    That is padding, which no target was taught with, the unknown token if the search is without, and what it bars.
    """
    candidates = taken.candidates[:, :wide]
    likeliest = taken.likeliest[:, :wide].astype(np.float64)
    likeliest[candidates <= (PADDING if search.unknown else UNKNOWN)] = -np.inf
    for token in search.barred:
        likeliest[candidates == token] = -np.inf
    return likeliest


class _Beams:
    """The live hypotheses of some sources, those of a source beside one another, and the finished ones.

    What is small is kept in lists: a step of one source is a few dozen numbers, for which arrays take longer.
    """

    def __init__(self, rows: Rows, lengths: Sequence[int], search: Search) -> None:
        self.rows = rows
        self.finished: list[list[Hypothesis]] = [[] for _ in lengths]
        self.last = np.full(len(lengths), END_INDEX, np.int64)
        self._search = search
        self._lengths = lengths
        self._limits = [search.limit(length) for length in lengths]
        self._groups = [(source, source, source + 1) for source in range(len(lengths))]
        """Sources that have live hypotheses, and where the rows of each begin and end."""
        self._totals = np.zeros(len(lengths))
        self._covered: Array | None = None
        """(rows, source), the attention that each source token got in all."""
        self._parents: list[list[int]] = []
        """By step the row of it that each row of the next goes on from."""
        self._tokens: list[list[int]] = []
        """By step the token that each row of the next goes on with."""
        self._looked: list[Array] = []
        """By step (rows,), the source token that was looked at most."""
        self._attention: list[Array] = []
        """By step (rows, source), if it is kept."""
        self._spelling: list[Array] = []
        """By step (rows, spelling)."""

    @property
    def live(self) -> bool:
        """Whether a hypothesis goes on."""
        return bool(self._groups)

    def extend(self, taken: Stepped) -> None:
        """Go on with the best tokens of every source, and let go what ends."""
        wide = min(self._search.beam + BARRED, taken.candidates.shape[1])
        totals = self._totals[:, None] + allowed(taken, self._search, wide)
        self._look(taken)
        candidates, own = taken.candidates[:, :wide].tolist(), totals.tolist()
        following: list[tuple[int, int, int]] = []
        parents: list[int] = []
        tokens: list[int] = []
        scores: list[float] = []
        for (source, begin, end), places in zip(self._groups, self._ranked(totals), strict=True):
            if len(self._tokens) >= self._limits[source]:
                for row in range(begin, end):
                    self._finish(source, row, float(self._totals[row] + taken.log_probability[row]), ended=False)
                continue
            first = len(scores)
            for place in places[: self._search.beam - len(self.finished[source])]:
                row, rank = begin + place // wide, place % wide
                if row >= end or own[row][rank] == -math.inf:
                    break
                total, token = own[row][rank], candidates[row][rank]
                if token == END_INDEX:
                    self._finish(source, row, total, ended=True)
                else:
                    parents.append(row)
                    tokens.append(token)
                    scores.append(total)
            if len(scores) > first:
                following.append((source, first, len(scores)))
        self._go_on(taken, parents, following)
        self.last, self._totals = np.array(tokens, np.int64), np.array(scores)
        self._parents.append(parents)
        self._tokens.append(tokens)

    def _look(self, taken: Stepped) -> None:
        """Keep what the step shows beside its tokens."""
        if taken.attention is not None:
            self._covered = taken.attention if self._covered is None else self._covered + taken.attention
            self._looked.append(taken.attention.argmax(axis=1))
            if self._search.attention:
                self._attention.append(taken.attention)
        if taken.spelling is not None:
            self._spelling.append(taken.spelling)

    def _ranked(self, totals: Array) -> list[list[int]]:
        """Return the places in the rows of each source, laid end to end, of its best totals (rows, wide)."""
        sizes = [end - begin for _, begin, end in self._groups]
        if min(sizes) == max(sizes):
            flat = totals.reshape(len(sizes), -1)
        else:
            padded = np.full((len(sizes), max(sizes), totals.shape[1]), -np.inf)
            padded[np.arange(max(sizes)) < np.array(sizes)[:, None]] = totals
            flat = padded.reshape(len(sizes), -1)
        return np.argsort(-flat, axis=1, kind="stable")[:, : self._search.beam].tolist()

    def _go_on(self, taken: Stepped, parents: list[int], following: list[tuple[int, int, int]]) -> None:
        state, memory, lengths, chosen = taken.state, self.rows.memory, self.rows.lengths, np.array(parents, np.int64)
        if parents != list(range(len(lengths))):
            state = state[chosen]
            self._covered = None if self._covered is None else self._covered[chosen]
        # Rows of one source have the same memory: it is copied only when there are more or fewer of them.
        if following != self._groups:
            lengths = lengths[chosen]
            memory = None if memory is None else memory[chosen]
        self.rows, self._groups = Rows(state, memory, lengths), following

    def _finish(self, source: int, row: int, total: float, *, ended: bool) -> None:
        """Keep the hypothesis that is at ``row`` now."""
        length, penalty = self._lengths[source], 0.0
        if self._covered is not None:
            penalty = coverage_penalty(self._covered[row, :length], self._search.coverage_penalty)
        rows, tokens = [row], list[int]()
        for parents, picked in zip(reversed(self._parents), reversed(self._tokens), strict=True):
            tokens.append(picked[rows[-1]])
            rows.append(parents[rows[-1]])
        indices = np.array(tokens[::-1], np.int64)
        score = total / length_penalty(len(indices) + 1, self._search.length_penalty) + penalty
        looked, attention, spelling = (
            np.array([step[at] for step, at in zip(steps, rows[::-1], strict=True)])[: len(indices)] if steps else None
            for steps in (self._looked, self._attention, self._spelling)
        )
        attention = None if attention is None else attention[:, :length]
        spelling = None if spelling is None else spelling[indices == UNKNOWN]
        self.finished[source].append(Hypothesis(indices, total, score, attention, ended, spelling, looked))
