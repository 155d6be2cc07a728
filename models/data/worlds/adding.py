"""The adding problem: of a long row of numbers two are marked, and their sum is asked at the end.

Hochreiter and Schmidhuber (1997), §5.4, in the form of Martens and Sutskever (2011): numbers from U(0, 1), one mark in
each half, no end marks. Whoever always answers 1 has a mean squared error of 1/6.
"""

from __future__ import annotations

import numpy as np

from models.contract.task import Array

TRIVIAL_ERROR = 1 / 6
"""The variance of the sum of two independent draws from U(0, 1)."""


def adding(count: int, time: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Return inputs (count, time, 2) float32, numbers and marks, and their sums (count,) float32."""
    numbers = random.random((count, time), np.float32)
    marks = np.zeros((count, time), np.float32)
    rows, half = np.arange(count), time // 2
    first, second = random.integers(half, size=count), random.integers(half, time, size=count)
    marks[rows, first] = marks[rows, second] = 1
    return np.stack([numbers, marks], axis=2), numbers[rows, first] + numbers[rows, second]
