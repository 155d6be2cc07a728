"""What a chain of tags says of emissions: the best sequences, log Z and marginals, with illegal tags left out if asked.

Numpy alone: the codec, the evaluator and the trainer's scores call it. For a decoder without transitions (softmax) all
scores of the chain are 0, and legality alone joins the tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self, cast

import numpy as np

from models.contract.task import Array
from models.data.tag_schemes import Scheme, legal


@dataclass(frozen=True)
class Chain:
    """Scores in nats of first tags (tags,), of pairs (before, tags) and of last tags (tags,); −inf where illegal."""

    start: Array
    transitions: Array
    end: Array

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
    scores = emissions.astype(np.float64)
    rows, longest, tags = scores.shape
    best = chain.start + scores[:, 0]
    origins = np.empty((longest, rows, tags), dtype=np.int64)
    before = np.ascontiguousarray(chain.transitions.T)  # the largest is sought along what lies side by side in memory
    for time in range(1, longest):
        paths = best[:, None, :] + before  # (batch, tags, before)
        origins[time] = paths.argmax(axis=2)
        following = np.take_along_axis(paths, origins[time][:, :, None], axis=2)[:, :, 0] + scores[:, time]
        best = np.where((time < lengths)[:, None], following, best)
    final = best + chain.end
    found = np.zeros((rows, longest), dtype=np.int64)
    current: Array = final.argmax(axis=1)
    each = cast("Array", np.arange(rows))
    for time in range(longest - 1, -1, -1):
        inside = time < lengths
        found[inside, time] = current[inside]
        if time > 0:
            current = np.where(inside, origins[time, each, current], current)
    return Decoded(found, final.max(axis=1))


def log_partition(emissions: Array, lengths: Array, chain: Chain) -> Array:
    """Return log Z (batch,) in nats; arguments as for :func:`viterbi`."""
    forward = _forward(emissions.astype(np.float64), chain)
    last = forward[lengths - 1, np.arange(len(lengths))]  # (batch, tags)
    return _log_sum(last + chain.end)


def marginals(emissions: Array, lengths: Array, chain: Chain) -> Array:
    """Return p(y_t) (batch, time, tags), zero behind each row's end, by the forward-backward recursion."""
    scores = emissions.astype(np.float64)
    forward = _forward(scores, chain)
    found = np.zeros_like(scores)
    backward = np.broadcast_to(chain.end, forward.shape[1:])
    total = _log_sum(forward[lengths - 1, np.arange(len(lengths))] + chain.end)
    for time in range(scores.shape[1] - 1, -1, -1):
        inside = time < lengths
        if time + 1 < scores.shape[1]:
            ahead = _log_product(backward + scores[:, time + 1], chain.transitions.T)
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
    found = [chain.start + scores[:, 0]]
    for time in range(1, scores.shape[1]):
        found.append(_log_product(found[-1], chain.transitions) + scores[:, time])
    return np.stack(found)


def _log_product(left: Array, right: Array) -> Array:
    """Return log Σ_i exp(left_bi + right_ij) (batch, j)."""
    peak = left.max(axis=1, keepdims=True)
    largest = right.max()
    with np.errstate(divide="ignore"):
        return np.log(np.exp(left - peak) @ np.exp(right - largest)) + peak + largest


def _log_sum(scores: Array) -> Array:
    peak = scores.max(axis=1)
    return cast("Array", peak + np.log(np.exp(scores - peak[:, None]).sum(axis=1)))
