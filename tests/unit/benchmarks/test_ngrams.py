"""The n-gram control against the definition worked out with dictionaries, and as a probability."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from benchmarks.ngrams import witten_bell


def _by_definition(train: list[int], test: list[int], order: int, vocabulary: int) -> float:
    after: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for position in range(len(train)):
        for length in range(min(order, position + 1)):
            after[tuple(train[position - length : position])][train[position]] += 1

    def probability(context: tuple[int, ...], token: int) -> float:
        lower = probability(context[1:], token) if context else 1 / vocabulary
        counts = after.get(context)
        if counts is None:
            return lower
        return (counts[token] + len(counts) * lower) / (counts.total() + len(counts))

    nats = [
        -math.log(probability(tuple(test[max(0, position - order + 1) : position]), test[position]))
        for position in range(len(test))
    ]
    return sum(nats) / len(nats)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_equals_the_definition(order: int) -> None:
    random = np.random.default_rng(order)
    train, test = random.integers(6, size=400), random.integers(7, size=80)
    wanted = _by_definition(train.tolist(), test.tolist(), order, 7)
    assert witten_bell(train, test, order, 7) == pytest.approx(wanted, rel=1e-12)


def test_probabilities_sum_to_one() -> None:
    """Of each possible last token after one context."""
    train = np.random.default_rng(1).integers(5, size=200)
    context = np.array([1, 3])
    rest = witten_bell(train, context, 3, 6) * 2
    total = sum(math.exp(-(witten_bell(train, np.append(context, token), 3, 6) * 3 - rest)) for token in range(6))
    assert total == pytest.approx(1)
