"""The first runs of a part, before it answers anybody: memory is taken, kernels are chosen, its cost is measured."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from app.serving.batching import INLINE_SECONDS, is_joint
from app.serving.runtimes.runtime import LoadedPart
from models.contract.task import Arrays
from models.contract.tensors import PartSignature

TIMED_RUNS = 20
DOUBTFUL = 3.0
"""A part that takes less than so many times what a cheap one may is timed again until it is found cheap, for
``DOUBT_SECONDS`` at most: whoever shares the processor and its caches may have made it slow for a moment, and it is
judged for as long as it is loaded."""

DOUBT_SECONDS = 0.3
PAUSE_SECONDS = 0.02
LIMIT_SECONDS = 2.0
"""A part that is still not through with it by then is warm enough."""


def warm_up(
    part: LoadedPart, signature: PartSignature, cases: Sequence[Arrays], largest_batch: int, *, in_process: bool
) -> float:
    """Run each of ``cases``, inputs of different lengths, in batches of 1, 2, 4 … rows; return the seconds of one row.

    Where there is nothing to run it with, what it costs is not known: infinity. So it is where another process computes
    (not ``in_process``): however quick that is, it may be busy with another part or hang, and the event loop with it.
    """
    if not cases:
        return float("inf")
    joint, started = is_joint(signature), time.perf_counter()
    singles = [_rows(case, 1) if joint else case for case in cases]
    seconds = _least_seconds(part, singles[0], started)
    if not in_process:
        seconds = float("inf")
    while INLINE_SECONDS <= seconds < DOUBTFUL * INLINE_SECONDS and time.perf_counter() < started + DOUBT_SECONDS:
        time.sleep(PAUSE_SECONDS)
        seconds = min(seconds, _least_seconds(part, singles[0], started))
    size = 2
    while joint and size <= largest_batch:
        for single in singles:
            if time.perf_counter() - started > LIMIT_SECONDS:
                return seconds
            part.run(_rows(single, size))
        size *= 2
    return seconds


def _least_seconds(part: LoadedPart, arrays: Arrays, started: float) -> float:
    return min(_seconds(part, arrays, started) for _ in range(TIMED_RUNS))


def _seconds(part: LoadedPart, arrays: Arrays, started: float) -> float:
    begun = time.perf_counter()
    if begun - started > LIMIT_SECONDS:
        return float("inf")
    part.run(arrays)
    return time.perf_counter() - begun


def _rows(case: Arrays, count: int) -> Arrays:
    return {name: np.repeat(array[:1], count, axis=0) for name, array in case.items()}
