"""How soon a process that ended is started again: at once, but later each time if it never does well."""

from __future__ import annotations

STEADY_SECONDS = 10.0
"""A process that took requests for this long was well: if it ends, that is the first time."""

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0


def failures_in_a_row(before: int, served_seconds: float) -> int:
    """Return how often in a row a process ended too soon, this time included."""
    return 1 if served_seconds >= STEADY_SECONDS else before + 1


def pause_seconds(failures: int) -> float:
    """Return the time before the next start: none after one failure, then twice as long each time."""
    if failures <= 1:
        return 0.0
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 2, 16), LONGEST_PAUSE_SECONDS)
