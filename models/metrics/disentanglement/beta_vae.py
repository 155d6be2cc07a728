"""The β-VAE score: which factor did two sets of images share? (Higgins et al. 2017, §3 and appendix A.4).

A point is the mean over pairs of |z₁ − z₂|, where both images of a pair have the same class of one factor; a linear
classifier says which factor it was. Stated, as the score depends on it: softmax regression with scikit-learn's own
regularisation (C = 1) on differences that are standardised, so that the scale of a code does not matter.
"""

from __future__ import annotations

import numpy as np

from models.contract.task import Array
from models.metrics.disentanglement.groups import Groups

TRAINED_POINTS, SCORED_POINTS = 10_000, 5_000
WIDE_CODE = 100
WIDE_SHARE = 5
"""Codes of more dimensions, such as raw pixels, get a fifth of the points."""

GATHERED_NUMBERS = 2**23
MOST_ITERATIONS = 2_000


def beta_vae_score(codes: Array, factors: Array, random: np.random.Generator, pairs: int = 64) -> float:
    """Return the share of points whose factor is found, 1 / factors by chance.

    Args:
        codes: (examples, dimensions).
        factors: (examples, factors) classes.
        random: draws points and pairs.
        pairs: over which a point is the mean; the more, the easier.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - see the package

    share = WIDE_SHARE if codes.shape[1] > WIDE_CODE else 1
    trained, scored = TRAINED_POINTS // share, SCORED_POINTS // share
    points, fixed = _points(codes, factors, random, trained + scored, pairs)
    mean, deviation = points[:trained].mean(axis=0), points[:trained].std(axis=0)
    points = (points - mean) / np.where(deviation > 0, deviation, 1.0)
    if len(np.unique(fixed[:trained])) < 2:  # one factor: there is nothing to tell apart
        return 1.0
    classifier = LogisticRegression(max_iter=MOST_ITERATIONS).fit(points[:trained], fixed[:trained])
    return float(classifier.score(points[trained:], fixed[trained:]))


def _points(codes: Array, factors: Array, random: np.random.Generator, count: int, pairs: int) -> tuple[Array, Array]:
    """Return the points (count, dimensions) and the factor that each shares (count,)."""
    groups, fixed = Groups(factors), random.integers(factors.shape[1], size=count)
    first = random.integers(len(codes), size=(count, pairs))
    second = np.empty_like(first)
    for factor in range(factors.shape[1]):
        own = fixed == factor
        second[own] = groups.alike(factor, factors[first[own], factor], random)
    points = np.empty((count, codes.shape[1]))
    rows = max(1, GATHERED_NUMBERS // (pairs * codes.shape[1]))
    for begin in range(0, count, rows):
        chosen = slice(begin, begin + rows)
        points[chosen] = np.abs(codes[first[chosen]] - codes[second[chosen]]).mean(axis=1)
    return points, fixed
