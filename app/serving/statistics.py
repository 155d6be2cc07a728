"""What one loaded version has done since it was loaded: for Prometheus, and as the Open Inference Protocol counts it.

A run of a part that one request asked for counts once, however many were computed with it; a joint run is an
execution. So success, queue and the three compute counts are always equal. Lives on the event loop.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.serving.runs import Timing

STAGES = ("compute_input", "compute_infer", "compute_output")


class Meters(Protocol):
    """Where the figures of one version go for Prometheus."""

    def ran(self, timing: Timing) -> None:
        """Observe one joint run."""
        ...

    def rejected(self, reason: str, count: int = 1) -> None:
        """Count runs that were refused or given up."""
        ...

    def overran(self, seconds: float) -> None:
        """Observe how long after its deadline a run was given up."""
        ...

    def answered(self, verb: str, outcome: str, seconds: float, count: int = 1) -> None:
        """Count requests that took ``seconds`` each; ``outcome`` is ``ok`` or the code of their problem."""
        ...


@dataclass(slots=True)
class Duration:
    """How often, and how long in all."""

    count: int = 0
    seconds: float = 0.0

    def sent(self) -> dict[str, int]:
        """Return it as the protocol writes it."""
        return {"count": self.count, "ns": round(self.seconds * 1e9)}


@dataclass(slots=True)
class _Runs:
    """Joint runs of as many rows. What is asked for together takes each request as long: those times are added, too."""

    count: int = 0
    input: float = 0.0
    infer: float = 0.0
    output: float = 0.0
    requests: int = 0
    waited: float = 0.0
    requests_input: float = 0.0
    requests_infer: float = 0.0
    requests_output: float = 0.0


@dataclass
class Statistics:
    """The figures of one version. A run is noted with a few additions; what the protocol tells follows from them."""

    meters: Meters
    fail: Duration = field(default_factory=Duration)
    last: float = 0.0
    _runs: dict[int, _Runs] = field(default_factory=lambda: defaultdict(_Runs))
    """By rows."""

    @property
    def rows(self) -> int:
        """Number of rows computed."""
        return sum(rows * runs.count for rows, runs in self._runs.items())

    def ran(self, timing: Timing) -> None:
        """Learn of one joint run."""
        runs, requests = self._runs[timing.rows], len(timing.waited)
        runs.count += 1
        runs.input += timing.input
        runs.infer += timing.infer
        runs.output += timing.output
        runs.requests += requests
        runs.waited += sum(timing.waited)
        runs.requests_input += requests * timing.input
        runs.requests_infer += requests * timing.infer
        runs.requests_output += requests * timing.output
        self.last = time.time()
        self.meters.ran(timing)

    def rejected(self, reason: str, count: int = 1) -> None:
        """Learn of runs that were refused or given up."""
        self.meters.rejected(reason, count)

    def overran(self, seconds: float) -> None:
        """Learn how long after its deadline a run was given up."""
        self.meters.overran(seconds)

    def failed(self, seconds: float, count: int = 1) -> None:
        """Learn of requests that got an error, after ``seconds`` each."""
        self.fail.count += count
        self.fail.seconds += count * seconds

    def sent(self, name: str, version: int) -> dict[str, object]:
        """Return the figures as the protocol writes them."""
        runs, none = self._runs.values(), Duration().sent()
        requests, waited = sum(each.requests for each in runs), sum(each.waited for each in runs)
        stages = [
            sum(each.requests_input for each in runs),
            sum(each.requests_infer for each in runs),
            sum(each.requests_output for each in runs),
        ]
        return {
            "name": name,
            "version": str(version),
            "last_inference": round(self.last * 1000),
            "inference_count": self.rows,
            "execution_count": sum(each.count for each in runs),
            "inference_stats": {
                "success": Duration(requests, waited + sum(stages)).sent(),
                "fail": self.fail.sent(),
                "queue": Duration(requests, waited).sent(),
                **_stages(requests, stages),
                "cache_hit": none,
                "cache_miss": none,
            },
            "batch_stats": [
                {"batch_size": rows} | _stages(each.count, (each.input, each.infer, each.output))
                for rows, each in sorted(self._runs.items())
            ],
        }


def _stages(count: int, seconds: Sequence[float]) -> dict[str, dict[str, int]]:
    return {name: Duration(count, taken).sent() for name, taken in zip(STAGES, seconds, strict=True)}
