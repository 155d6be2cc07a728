"""Beam search over many sources at once, with the penalties of Google's system; a beam of one is greedy search.

A source keeps as many hypotheses as its beam is wide; one that ends leaves, and the beam is narrower from then on, so
that what is finished costs nothing (Bahdanau, Cho, Bengio 2015, §5). Hypotheses are ranked by
log P(Y|X) / lp(Y) + cp(X; Y) with lp = (5 + |Y|)^α / 6^α and cp = β Σ_i log min(Σ_j p_ij, 1) (Wu et al. 2016, Eq. 14),
where |Y| counts the end.
"""

from __future__ import annotations

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


def allowed(taken: Stepped, search: Search) -> Array:
    """Return the log-probabilities (rows, top) of a step's candidates, −∞ for those that a target may not hold.

    That is padding, which no target was taught with, the unknown token if the search is without, and what it bars.
    """
    likeliest = taken.likeliest.astype(np.float64)
    likeliest[taken.candidates <= (PADDING if search.unknown else UNKNOWN)] = -np.inf
    if search.barred:
        likeliest[np.isin(taken.candidates, search.barred)] = -np.inf
    return likeliest


class _Beams:
    """The live hypotheses of some sources, those of a source beside one another, and the finished ones."""

    def __init__(self, rows: Rows, lengths: Sequence[int], search: Search) -> None:
        count = len(lengths)
        self.rows = rows
        self.finished: list[list[Hypothesis]] = [[] for _ in lengths]
        self.last = np.full(count, END_INDEX, np.int64)
        self._search = search
        self._lengths = lengths
        self._owners = np.arange(count)
        self._totals = np.zeros(count)
        self._tokens = np.zeros((count, 0), np.int64)
        self._covered: Array | None = None
        """(rows, source), the attention that each source token got in all."""
        self._looked: list[Array] = []
        """By step (rows,), the source token that was looked at most."""
        self._attention: list[Array] = []
        """By step (rows, source), if it is kept."""
        self._spelling: list[Array] = []
        """By step (rows, spelling)."""
        self._parents: list[Array] = []
        """By step the row of it that each row of the next goes on from."""

    @property
    def live(self) -> bool:
        """Whether a hypothesis goes on."""
        return len(self._owners) > 0

    def extend(self, taken: Stepped) -> None:
        """Go on with the best tokens of every source, and let go what ends."""
        likeliest = allowed(taken, self._search)
        wide = min(self._search.beam + BARRED, likeliest.shape[1])
        totals = self._totals[:, None] + likeliest[:, :wide]
        if taken.attention is not None:
            self._covered = taken.attention if self._covered is None else self._covered + taken.attention
            self._looked.append(taken.attention.argmax(axis=1))
            if self._search.attention:
                self._attention.append(taken.attention)
        if taken.spelling is not None:
            self._spelling.append(taken.spelling)
        parents: list[int] = []
        picked: list[int] = []
        for begin, end in self._groups():
            source = int(self._owners[begin])
            if self._tokens.shape[1] >= self._search.limit(self._lengths[source]):
                for row in range(begin, end):
                    self._finish(source, row, float(self._totals[row] + taken.log_probability[row]), ended=False)
                continue
            room = self._search.beam - len(self.finished[source])
            own = totals[begin:end].ravel()
            for place in np.argsort(-own, kind="stable")[:room].tolist():
                row, rank = begin + place // wide, place % wide
                if own[place] == -np.inf:
                    break
                if int(taken.candidates[row, rank]) == END_INDEX:
                    self._finish(source, row, float(own[place]), ended=True)
                else:
                    parents.append(row)
                    picked.append(rank)
        self._go_on(taken, totals, np.array(parents, np.int64), np.array(picked, np.int64))

    def _groups(self) -> list[tuple[int, int]]:
        """Return where the rows of each source begin and end."""
        borders = (np.flatnonzero(np.diff(self._owners)) + 1).tolist()
        return list(zip([0, *borders], [*borders, len(self._owners)], strict=True))

    def _go_on(self, taken: Stepped, totals: Array, parents: Array, ranks: Array) -> None:
        tokens = taken.candidates[parents, ranks]
        same = len(parents) == len(self._owners) and bool((parents == np.arange(len(parents))).all())
        memory = self.rows.memory
        moved = Rows(taken.state, memory, self.rows.lengths)
        # Rows of one source have the same memory: it is copied only when there are more or fewer of them.
        if not same and memory is not None and np.array_equal(self._owners[parents], self._owners):
            moved = Rows(taken.state[parents], memory, self.rows.lengths)
        else:
            moved = moved.take(parents)
        self.rows, self.last = moved, tokens
        self._totals = totals[parents, ranks]
        self._tokens = np.concatenate([self._tokens[parents], tokens[:, None]], axis=1)
        self._parents.append(parents)
        if self._covered is not None and not same:
            self._covered = self._covered[parents]
        self._owners = self._owners[parents]

    def _finish(self, source: int, row: int, total: float, *, ended: bool) -> None:
        indices, length = self._tokens[row], self._lengths[source]
        penalty = 0.0
        if self._covered is not None:
            penalty = coverage_penalty(self._covered[row, :length], self._search.coverage_penalty)
        score = total / length_penalty(len(indices) + 1, self._search.length_penalty) + penalty
        looked, attention, spelling = (
            self._traced(steps, row)[: len(indices)] if steps else None
            for steps in (self._looked, self._attention, self._spelling)
        )
        attention = None if attention is None else attention[:, :length]
        spelling = None if spelling is None else spelling[indices == UNKNOWN]
        self.finished[source].append(Hypothesis(indices, total, score, attention, ended, spelling, looked))

    def _traced(self, steps: Sequence[Array], row: int) -> Array:
        """Return what the hypothesis at ``row`` of the last of ``steps`` (rows, …) had at each of them (steps, …)."""
        found = [steps[-1][row]]
        for number in range(len(steps) - 2, -1, -1):
            row = int(self._parents[number][row])
            found.append(steps[number][row])
        return np.stack(found[::-1])
