"""One token drawn from logits: temperature, the k likeliest, and never one that has no text."""

from __future__ import annotations

from typing import cast

import numpy as np

from models.contract.task import Array
from models.data.vocabulary import RESERVED


class Sampler:
    """Draws tokens from a generator of its own, so that no other request has a part in it."""

    def __init__(self, temperature: float, top_k: int | None, seed: int) -> None:
        """Keep how to draw."""
        self._temperature = temperature
        self._top_k = top_k
        self._random = np.random.Generator(np.random.Philox(seed))

    def draw(self, logits: Array) -> int:
        """Return the index of a token, from ``logits`` (vocabulary,); of equal ones the first at temperature 0."""
        scores = logits.astype(np.float64)
        scores[:RESERVED] = -np.inf
        if self._temperature == 0:
            return int(scores.argmax())
        if self._top_k is not None and self._top_k < len(scores) - RESERVED:
            scores[np.argsort(-scores, kind="stable")[self._top_k :]] = -np.inf
        scores = (scores - scores.max()) / self._temperature
        ends = cast("Array", np.cumsum(np.exp(scores)))
        drawn = int((ends <= self._random.random() * ends[-1]).sum())
        return min(max(drawn, RESERVED), len(ends) - 1)


def log_probability(logits: Array, index: int) -> float:
    """Return the log-probability of a token among all, in nats."""
    scores = logits.astype(np.float64) - logits.max()
    return float(scores[index] - np.log(np.exp(scores).sum()))
