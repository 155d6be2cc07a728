"""Energy distance between two sets of rows (Székely and Rizzo 2013), zero only if both distributions are the same."""

from __future__ import annotations

import numpy as np

from models.contract.task import Array
from models.metrics.distances import squared_distances


def energy_distance(one: Array, other: Array) -> float:
    """Return 2 E‖x − y‖ − E‖x − x′‖ − E‖y − y′‖ of rows (count, dimensions), by the root of the number of dimensions.

    A row may be its own x′, so the distance of finite sets is never below zero and falls with their size.
    """
    between, within = _mean(one, other), _mean(one, one) + _mean(other, other)
    return max(0.0, 2 * between - within) / one.shape[1] ** 0.5


def _mean(one: Array, other: Array) -> float:
    return float(np.sqrt(squared_distances(one, other)).mean(dtype=np.float64))
