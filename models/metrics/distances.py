"""Euclidean distances between rows of numbers, many at once."""

from __future__ import annotations

import numpy as np

from models.contract.task import Array

ROWS_AT_ONCE = 500


def nearest_distances(rows: Array, others: Array) -> Array:
    """Return for each of ``rows`` (count, pixels) the Euclidean distance to the nearest of ``others``."""
    nearest = [
        squared_distances(rows[begin : begin + ROWS_AT_ONCE], others).min(axis=1)
        for begin in range(0, len(rows), ROWS_AT_ONCE)
    ]
    return np.sqrt(np.concatenate(nearest))


def squared_distances(rows: Array, others: Array) -> Array:
    """Return (rows, others) float32, never below zero."""
    rows, others = rows.astype(np.float32), others.astype(np.float32)
    squares = np.square(rows).sum(axis=1)[:, None] + np.square(others).sum(axis=1)[None, :]
    squares -= 2 * (rows @ others.T)
    return squares.clip(min=0, out=squares)
