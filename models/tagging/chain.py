"""What a chain of tags says of emissions: the best sequences, log Z and marginals, with illegal tags left out if asked.

Numpy alone: the codec, the evaluator and the trainer's scores call it. For a decoder without transitions (softmax) all
scores of the chain are 0, and legality alone joins the tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self, cast

import numpy as np

from models.contract.task import Array
from models.data.tag_schemes import Scheme, legal

SAFE_NATS = 600.0
"""Products of probabilities that differ by less than this many nats are numbers of float64, exact but for rounding."""

LOOKED_AT_ONCE = 2**18
"""Ways from tag to tag that are looked at together, time × tags × tags."""


@dataclass(frozen=True)
class Chain:
    """Scores in nats of first tags (tags,), of pairs (before, tags) and of last tags (tags,); −inf where illegal."""

    start: Array
    transitions: Array
    end: Array

    @cached_property
    def range(self) -> float:
        """What one step can at most add between two legal sequences, and the logarithm of the number of tags."""
        scores = (self.start, self.transitions, self.end)
        finite = [score[np.isfinite(score)] for score in scores]
        return max(float(score.max() - score.min()) for score in finite) + float(np.log(len(self.start)))

    @classmethod
    def of(cls, scores: Mapping[str, object]) -> Self:
        """Return the chain that a model's assets hold."""
        return cls(*(np.asarray(scores[name], dtype=np.float64) for name in ("start", "transitions", "end")))

    @classmethod
    def neutral(cls, tags: int) -> Self:
        """Return a chain that scores nothing."""
        return cls(np.zeros(tags), np.zeros((tags, tags)), np.zeros(tags))

    def constrained(self, tags: Sequence[str], scheme: Scheme) -> Chain:
        """Return this chain with every sequence that ``scheme`` does not allow at −inf."""
        allowed = legal(tags, scheme)
        return Chain(
            np.where(allowed.start, self.start, -np.inf),
            np.where(allowed.pairs, self.transitions, -np.inf),
            np.where(allowed.end, self.end, -np.inf),
        )


@dataclass(frozen=True)
class Decoded:
    """The best tags (batch, time) int64, 0 behind each row's end, and their scores (batch,) in nats, not normalised."""

    tags: Array
    scores: Array


def viterbi(emissions: Array, lengths: Array, chain: Chain) -> Decoded:
    """Return the highest-scoring sequence of each row (Viterbi 1967); of equals the one of lower tags.

    Args:
        emissions: (batch, time, tags).
        lengths: (batch,) int, one at least.
        chain: its scores.
    """
    scores = emissions.astype(np.float64).swapaxes(0, 1)  # (time, batch, tags)
    (longest, rows, _), shortest = scores.shape, int(lengths.min())
    each = cast("Array", np.arange(rows))
    before = np.ascontiguousarray(chain.transitions.T)  # the largest is sought along what lies side by side in memory
    best = np.empty(scores.shape)
    best[0] = chain.start + scores[0]
    for time in range(1, longest):
        np.add((best[time - 1][:, None, :] + before).max(axis=2), scores[time], out=best[time])
    final = best[lengths - 1, each] + chain.end
    if rows == 1 and best.size * len(before) <= LOOKED_AT_ONCE:
        origins = cast("list[list[int]]", (best[:-1, 0, None, :] + before).argmax(axis=2).tolist())
        path = [int(final.argmax())]
        for origin in reversed(origins):
            path.append(origin[path[-1]])
        return Decoded(np.array([path[::-1]]), final.max(axis=1))
    found = np.zeros((longest, rows), dtype=np.int64)
    found[lengths - 1, each] = final.argmax(axis=1)
    for time in range(longest - 2, -1, -1):
        # Where each came from is asked only along the paths that are taken.
        origins = (best[time] + before[found[time + 1]]).argmax(axis=1)
        found[time] = origins if time + 1 < shortest else np.where(time + 1 < lengths, origins, found[time])
    return Decoded(found.T, final.max(axis=1))


def log_partition(emissions: Array, lengths: Array, chain: Chain) -> Array:
    """Return log Z (batch,) in nats; arguments as for :func:`viterbi`.

    By plain sums of products, in a third of the time that logarithms take, where none of them can underflow.
    """
    scores = emissions.astype(np.float64)
    by_time = scores.swapaxes(0, 1)  # (time, batch, tags)
    last, each = lengths - 1, np.arange(len(lengths))
    peaks = by_time.max(axis=2)
    range_ = float((peaks - by_time.min(axis=2)).sum(axis=0).max()) + (len(peaks) + 1) * chain.range
    if range_ > SAFE_NATS:
        return _log_sum(_forward(scores, chain)[last, each] + chain.end)
    weights, largest = _weights(chain.transitions)
    first, ending = chain.start.max(), chain.end.max()
    emitted = np.exp(by_time - peaks[:, :, None])
    forward = np.empty(by_time.shape)
    forward[0] = np.exp(chain.start - first) * emitted[0]
    for time in range(1, len(forward)):
        np.matmul(forward[time - 1], weights, out=forward[time])
        forward[time] *= emitted[time]
    shares = forward[last, each] @ np.exp(chain.end - ending)
    return np.log(shares) + peaks.cumsum(axis=0)[last, each] + last * largest + first + ending


def marginals(emissions: Array, lengths: Array, chain: Chain) -> Array:
    """Return p(y_t) (batch, time, tags), zero behind each row's end, by the forward-backward recursion."""
    scores = emissions.astype(np.float64)
    forward = _forward(scores, chain)
    found = np.zeros_like(scores)
    backward = np.broadcast_to(chain.end, forward.shape[1:])
    weights, largest = _weights(chain.transitions.T)
    total = _log_sum(forward[lengths - 1, np.arange(len(lengths))] + chain.end)
    for time in range(scores.shape[1] - 1, -1, -1):
        inside = time < lengths
        if time + 1 < scores.shape[1]:
            with np.errstate(divide="ignore"):
                ahead = _log_product(backward + scores[:, time + 1], weights) + largest
            backward = np.where((time + 1 < lengths)[:, None], ahead, chain.end)
        found[inside, time] = np.exp(forward[time] + backward - total[:, None])[inside]
    return found


def n_best(emissions: Array, chain: Chain, count: int) -> list[tuple[list[int], float]]:
    """Return the ``count`` best sequences of one row ``emissions`` (time, tags) with their scores, best first.

    There are fewer where there are not so many legal ones. Viterbi with the k best per tag (Schwartz and Chow 1990).
    """
    scores = emissions.astype(np.float64)
    tags = scores.shape[1]
    best = np.full((count, tags), -np.inf)  # (rank, tag)
    best[0] = chain.start + scores[0]
    origins: list[Array] = []
    for emitted in scores[1:]:
        paths = (best[:, :, None] + chain.transitions).reshape(count * tags, tags)
        order = np.argsort(-paths, axis=0, kind="stable")[:count]
        origins.append(order)
        best = np.take_along_axis(paths, order, axis=0) + emitted
    final = (best + chain.end).ravel()
    found: list[tuple[list[int], float]] = []
    for index in np.argsort(-final, kind="stable")[:count].tolist():
        if not np.isfinite(final[index]):
            break
        rank, tag = divmod(index, tags)
        path = [tag]
        for order in reversed(origins):
            rank, tag = divmod(int(order[rank, tag]), tags)
            path.append(tag)
        found.append((path[::-1], float(final[index])))
    return found


def _forward(scores: Array, chain: Chain) -> Array:
    """Return α (time, batch, tags) of Rabiner (1989), Eq. 19 and 20, in log space."""
    weights, largest = _weights(chain.transitions)
    found = scores.swapaxes(0, 1) + largest
    found[0] += chain.start - largest
    with np.errstate(divide="ignore"):
        for time in range(1, len(found)):
            found[time] += _log_product(found[time - 1], weights)
    return found


def _weights(transitions: Array) -> tuple[Array, float]:
    """Return exp(transitions) over the largest of them, and the logarithm of that."""
    largest = float(transitions.max())
    return np.exp(transitions - largest), largest


def _log_product(left: Array, weights: Array) -> Array:
    """Return log Σ_i exp(left_bi) · weights_ij (batch, j); −inf where nothing leads."""
    peak = left.max(axis=1, keepdims=True)
    return np.log(np.exp(left - peak) @ weights) + peak


def _log_sum(scores: Array) -> Array:
    peak = scores.max(axis=1)
    return cast("Array", peak + np.log(np.exp(scores - peak[:, None]).sum(axis=1)))
