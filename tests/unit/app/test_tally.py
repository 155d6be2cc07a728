"""Counting many values at a time is counting each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from app.tally import Tally

BOUNDS = (2**-10, 0.5, 1.0, 10.0)


@given(st.lists(st.lists(st.sampled_from([0.0, 2**-10, 0.25, 0.5, 0.75, 1.0, 8.0, 10.0, 64.0]))))
def test_it_counts_as_the_histogram_does(rounds: list[list[float]]) -> None:
    """Bounds belong to their buckets, and nothing is counted twice."""
    found: list[bytes] = []
    for tallied in (False, True):
        registry = CollectorRegistry()
        histogram = Histogram("seconds", "Seconds.", ("a",), buckets=BOUNDS, registry=registry).labels("x")
        tally = Tally(histogram)
        for values in rounds:
            for value in values:
                (tally if tallied else histogram).observe(value)
            if tallied:
                tally.observe(0.25, count=3)
                tally.extend(values)
            else:
                for value in [0.25] * 3 + values:
                    histogram.observe(value)
            tally.count()
        found.append(b"".join(line for line in generate_latest(registry).splitlines() if b"_created" not in line))
    assert found[0] == found[1]
