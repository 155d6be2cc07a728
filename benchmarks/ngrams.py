"""n-gram models with Witten-Bell smoothing, the control of language models: what counting alone can do.

p(w | h) = (c(h w) + t(h) p(w | h')) / (c(h) + t(h)), where c counts, t(h) is the number of different tokens seen after
h and h' is h without its first token; below one token it is uniform (Witten and Bell 1991;
Chen and Goodman 1998, §2.5).
"""

from __future__ import annotations

import numpy as np

from models.contract.task import Array


def witten_bell(train: Array, test: Array, order: int, vocabulary: int) -> float:
    """Return the mean negative log-probability of a token of ``test`` in nats.

    Args:
        train: (tokens,) int64 below ``vocabulary``.
        test: (tokens,) int64; the first has no context, each other all those before it that the order allows.
        order: length of an n-gram, 1 or more.
        vocabulary: number of different tokens; ``vocabulary`` to the power ``order`` must fit 63 bits.
    """
    probabilities = np.full(len(test), 1 / vocabulary)
    for length in range(1, order + 1):
        seen, counts = np.unique(_codes(train, length, vocabulary), return_counts=True)
        contexts, first = np.unique(seen // vocabulary, return_index=True)
        totals = np.add.reduceat(counts, first)
        kinds = np.diff([*first.tolist(), len(seen)])
        asked = _codes(test, length, vocabulary)  # the first length − 1 tokens have no such context
        total, kind = (_found(contexts, values, asked // vocabulary) for values in (totals, kinds))
        lower = probabilities[length - 1 :]
        count = _found(seen, counts, asked)
        known = total > 0
        lower[known] = ((count + kind * lower) / np.maximum(total + kind, 1))[known]
    return float(-np.log(probabilities).mean())


def _codes(tokens: Array, length: int, vocabulary: int) -> Array:
    """Return (tokens − length + 1,) one number per n-gram, its context being the number divided by ``vocabulary``."""
    codes = np.zeros(len(tokens) - length + 1, np.int64)
    for offset in range(length):
        codes = codes * vocabulary + tokens[offset : offset + len(codes)]
    return codes


def _found(keys: Array, values: Array, asked: Array) -> Array:
    """Return the value of each key in ``asked``, 0 where it is not among the sorted ``keys``."""
    places = np.searchsorted(keys, asked).clip(max=len(keys) - 1)
    return np.where(keys[places] == asked, values[places], 0)
