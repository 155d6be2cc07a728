"""The mutual information gap: how much more does the best dimension know of a factor than the second?

Chen, Li, Grosse, Duvenaud, "Isolating Sources of Disentanglement in Variational Autoencoders" (2018), Eq. 6.
"""

from __future__ import annotations

import numpy as np

from models.contract.task import Array

BINS = 20


def mutual_information_gap(codes: Array, factors: Array, bins: int = BINS) -> float:
    """Return the mean over factors of (I(z₁; v) − I(z₂; v)) / H(v), z₁ and z₂ the two dimensions that know most of v.

    Args:
        codes: (examples, dimensions), each cut into ``bins`` of equal width.
        factors: (examples, factors) classes; one that never varies is left out.
        bins: per dimension.
    """
    binned = np.stack([_binned(column, bins) for column in codes.T], axis=1)
    gaps: list[float] = []
    for classes in factors.T:
        entropy = _entropy(np.bincount(classes))
        if entropy == 0:
            continue
        known = np.sort([_information(column, classes, bins) for column in binned.T])
        second = known[-2] if len(known) > 1 else 0.0
        gaps.append(float(known[-1] - second) / entropy)
    return float(np.mean(gaps)) if gaps else 0.0


def _binned(column: Array, bins: int) -> Array:
    low, high = float(column.min()), float(column.max())
    if high <= low:
        return np.zeros(len(column), np.int64)
    return np.clip(((column - low) / (high - low) * bins).astype(np.int64), 0, bins - 1)


def _information(binned: Array, classes: Array, bins: int) -> float:
    """Return I(z; v) in nats of two discrete variables."""
    count = int(classes.max()) + 1
    joint = np.bincount(binned * count + classes, minlength=bins * count).reshape(bins, count)
    return _entropy(joint.sum(axis=1)) + _entropy(joint.sum(axis=0)) - _entropy(joint.ravel())


def _entropy(counts: Array) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
