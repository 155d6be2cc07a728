"""What measurements make of the samples they get."""

from __future__ import annotations

from benchmarks.serving.load import Sample
from benchmarks.serving.measuring import mixed, recovery_seconds


def _probes(latencies: list[float], statuses: list[int] | None = None) -> Sample:
    due = [30 + 0.01 * number for number in range(len(latencies))]
    return Sample(
        numbers=list(range(len(latencies))),
        statuses=statuses or [200] * len(latencies),
        latencies=latencies,
        ended=[moment + latency for moment, latency in zip(due, latencies, strict=True)],
    )


def test_bad_requests_stand_evenly_among_good_ones_and_none_is_left_out() -> None:
    requests, places = mixed([b"good"] * 248, [b"bad %d" % number for number in range(8)])
    assert [requests[place] for place in sorted(places)] == [b"bad %d" % number for number in range(8)]
    assert requests.count(b"good") == 248
    assert {right - left for left, right in zip(sorted(places), sorted(places)[1:], strict=False)} == {32}


def test_recovery_is_when_the_first_of_ten_calm_answers_was_due() -> None:
    slow, fast = 0.5, 0.001
    found = recovery_seconds(_probes([slow] * 20 + [fast] * 5 + [slow] + [fast] * 10), 30, 0.01)
    assert found is not None
    assert abs(found - 0.26) < 1e-9


def test_recovery_is_none_while_answers_are_slow_or_refused() -> None:
    assert recovery_seconds(_probes([0.5] * 50), 30, 0.01) is None
    assert recovery_seconds(_probes([0.001] * 50, [429] * 50), 30, 0.01) is None


def test_recovery_takes_the_probes_in_the_order_in_which_they_were_due() -> None:
    probes = _probes([0.001] * 10)
    for values in (probes.numbers, probes.statuses, probes.latencies, probes.ended):
        values.reverse()
    assert recovery_seconds(probes, 30, 0.01) == 0
