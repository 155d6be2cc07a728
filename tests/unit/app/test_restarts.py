"""How soon a process is started again."""

from __future__ import annotations

from app.processes.restarts import LONGEST_PAUSE_SECONDS, failures_in_a_row, pause_seconds


def test_first_end_costs_no_time() -> None:
    assert pause_seconds(1) == 0


def test_pauses_double_up_to_a_limit() -> None:
    assert [pause_seconds(failures) for failures in (2, 3, 4)] == [0.5, 1.0, 2.0]
    assert pause_seconds(10**9) == LONGEST_PAUSE_SECONDS


def test_who_served_for_a_while_fails_for_the_first_time() -> None:
    assert failures_in_a_row(7, served_seconds=10.0) == 1
    assert failures_in_a_row(7, served_seconds=9.9) == 8
