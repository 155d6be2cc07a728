"""Disentanglement, completeness and informativeness (Eastwood and Williams 2018, §2), from random forests (§4.1).

How important each dimension is to predict each factor makes a table; its rows with few entries are disentangled
dimensions, its columns with few entries are factors that are complete in one dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from models.contract.task import Array

TRAINED, SCORED = 4_000, 2_000
TREES = 10
WIDE_CODE = 100
"""Of codes of more dimensions a tree sees the square root of their number at each split, else all."""


@dataclass(frozen=True)
class Dci:
    """The three scores, each from 0 to 1, the larger the better; ``informativeness`` is the mean accuracy."""

    disentanglement: float
    completeness: float
    informativeness: float


def dci(codes: Array, factors: Array, random: np.random.Generator) -> Dci:
    """Return the scores of forests that predict each factor from the code.

    Args:
        codes: (examples, dimensions).
        factors: (examples, factors) classes; one that never varies is left out.
        random: draws the examples and seeds the forests.
    """
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415 - see the package

    order = random.permutation(len(codes))
    trained = order[: min(TRAINED, len(order) * 2 // 3)]
    scored = order[len(trained) : len(trained) + SCORED]
    importance, accuracies = list[Array](), list[float]()
    for classes in factors.T:
        if len(np.unique(classes[trained])) < 2:
            continue
        features = "sqrt" if codes.shape[1] > WIDE_CODE else None
        seed = int(cast("int", random.integers(2**31)))
        forest = RandomForestClassifier(TREES, max_features=features, random_state=seed)
        forest.fit(codes[trained], classes[trained])
        importance.append(forest.feature_importances_)
        accuracies.append(float(forest.score(codes[scored], classes[scored])))
    if not importance:
        return Dci(0.0, 0.0, 0.0)
    table = np.stack(importance, axis=1)  # (dimensions, factors)
    return Dci(_concentration(table), _concentration(table.T), float(np.mean(accuracies)))


def _concentration(table: Array) -> float:
    """Return the mean of 1 − entropy of each row, to the base of its length, weighted by the row's importance."""
    totals = table.sum(axis=1)
    if table.shape[1] < 2 or totals.sum() == 0:
        return 1.0 if totals.sum() > 0 else 0.0
    shares = table / np.where(totals > 0, totals, 1)[:, None]
    logarithms = np.log(np.where(shares > 0, shares, 1)) / np.log(table.shape[1])
    concentration = 1 + (shares * logarithms).sum(axis=1)
    return float((concentration * totals).sum() / totals.sum())
