"""How evenly drawn examples are spread over the classes, or modes, that the data has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.contract.task import Array

COVERED = 0.3
"""A class is covered when its share of the samples is this part of its share of the data: 3 % of ten equal ones."""


@dataclass(frozen=True)
class Coverage:
    """Of all classes that the data has.

    Attributes:
        covered: how many of them the samples have, at :data:`COVERED` of their share or more.
        least_share: the share of the samples of the class that they have least of.
        divergence: KL divergence of the samples' shares from the data's, in nats; 0 is perfect.
    """

    covered: int
    least_share: float
    divergence: float


def coverage(drawn: Array, data: Array, classes: int) -> Coverage:
    """Return how the classes of samples, ``drawn`` (count,), are spread beside those of the data (count,)."""
    wanted = np.bincount(data, minlength=classes) / len(data)
    found = np.bincount(drawn, minlength=classes)[wanted > 0] / len(drawn)
    wanted = wanted[wanted > 0]
    terms = found[found > 0] * np.log(found[found > 0] / wanted[found > 0])
    # What a class that the data lacks takes away is not in the sum, so it can fall below zero by that much.
    return Coverage(int((found >= COVERED * wanted).sum()), float(found.min()), float(max(0.0, terms.sum())))
