"""Numbers out of samples: percentiles, medians with their spread, and times at which to send."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of ``values`` that at least ``share`` of them do not exceed; NaN of none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def poisson_seconds(rate: float, seconds: float, seed: int) -> list[float]:
    """Return when to send: ``rate`` times a second on average, with independent gaps, before ``seconds``."""
    generator = np.random.default_rng(seed)
    count = int(rate * seconds + 6 * math.sqrt(rate * seconds) + 10)
    times = np.cumsum(generator.exponential(1 / rate, count))
    return [float(time) for time in times[times < seconds]]


@dataclass(frozen=True)
class Spread:
    """The median of several measurements, and the least and the largest of them."""

    median: float
    least: float
    largest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of ``values``, of which there is at least one."""
        return cls(statistics.median(values), min(values), max(values))

    def show(self, write: Callable[[float], str]) -> str:
        """Return the median and, where they differ, the extremes, each as ``write`` says."""
        middle, low, high = write(self.median), write(self.least), write(self.largest)
        return middle if low == high else f"{middle} ({low} to {high})"
