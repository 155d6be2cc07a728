"""The separated attribute predictability score: how much better does one dimension predict a factor than all others?

Kumar, Sattigeri, Balakrishnan, "Variational Inference of Disentangled Latent Concepts" (2018), §3.
"""

from __future__ import annotations

import numpy as np

from models.contract.task import Array


def separated_attribute_predictability(codes: Array, factors: Array) -> float:
    """Return the mean over factors of the gap between the two largest R² of a line through one dimension.

    Args:
        codes: (examples, dimensions).
        factors: (examples, factors) classes, taken as numbers; one that never varies is left out.
    """
    centred = codes - codes.mean(axis=0)
    variances = (centred**2).mean(axis=0)
    gaps: list[float] = []
    for classes in factors.T:
        wanted = classes - classes.mean()
        if not wanted.any():
            continue
        covariances = (centred * wanted[:, None]).mean(axis=0)
        explained = np.where(variances > 0, covariances**2 / (np.where(variances > 0, variances, 1) * wanted.var()), 0)
        ordered = np.sort(explained)
        gaps.append(float(ordered[-1] - (ordered[-2] if len(ordered) > 1 else 0.0)))
    return float(np.mean(gaps)) if gaps else 0.0
