"""Percentiles, spreads and times to send."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.serving.figures import Spread, percentile, poisson_seconds


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (0.999, 100), (0.01, 1), (1.0, 100)])
def test_percentile_is_the_smallest_value_that_the_share_does_not_exceed(share: float, expected: float) -> None:
    values = [float(value) for value in np.random.default_rng(0).permutation(np.arange(1, 101))]
    assert percentile(values, share) == expected


def test_percentile_of_one_value_is_that_value_and_of_none_is_no_number() -> None:
    assert percentile([3.0], 0.99) == 3.0
    assert math.isnan(percentile([], 0.5))


def test_poisson_times_come_in_order_within_the_time_at_the_rate_with_exponential_gaps() -> None:
    """Of exponential gaps, the standard deviation is the mean, and a share of 1/e is longer than the mean."""
    times = np.array(poisson_seconds(2000, 20, seed=1))
    gaps = np.diff(times)
    assert (gaps > 0).all()
    assert times[-1] < 20
    assert len(times) == pytest.approx(40_000, rel=0.02)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.03)
    assert (gaps > gaps.mean()).mean() == pytest.approx(math.exp(-1), rel=0.03)


def test_poisson_times_are_those_of_their_seed() -> None:
    assert poisson_seconds(100, 1, seed=1) == poisson_seconds(100, 1, seed=1)
    assert poisson_seconds(100, 1, seed=1) != poisson_seconds(100, 1, seed=2)


def test_poisson_times_reach_the_end_of_short_runs_too() -> None:
    """Too few gaps drawn would leave the end of a run empty."""
    assert all(max(poisson_seconds(5, 10, seed)) > 7 for seed in range(200))


def test_spread_shows_the_extremes_only_where_they_differ() -> None:
    assert Spread.of([3.0, 1.0, 2.0]).show(lambda value: f"{value:.0f}") == "2 (1 to 3)"
    assert Spread.of([2.1, 2.2, 1.9]).show(lambda value: f"{value:.0f}") == "2"
