"""What one loaded version has done since it was loaded: for Prometheus, and as the Open Inference Protocol counts it.

A run of a part that one request asked for counts once, however many were computed with it; a joint run is an
execution. So success, queue and the three compute counts are always equal. Lives on the event loop.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
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
    """Joint runs of as many rows for as many requests; ``waited`` is the time of all requests together."""

    count: int = 0
    waited: float = 0.0
    input: float = 0.0
    infer: float = 0.0
    output: float = 0.0

    @property
    def stages(self) -> tuple[float, float, float]:
        return self.input, self.infer, self.output


@dataclass
class Statistics:
    """The figures of one version. A run is noted with a few additions; what the protocol tells follows from them."""

    meters: Meters
    fail: Duration = field(default_factory=Duration)
    last: float = 0.0
    _runs: dict[tuple[int, int], _Runs] = field(default_factory=lambda: defaultdict(_Runs))
    """By rows and by requests."""

    @property
    def rows(self) -> int:
        """Number of rows computed."""
        return sum(rows * runs.count for (rows, _), runs in self._runs.items())

    def ran(self, timing: Timing) -> None:
        """Learn of one joint run."""
        runs = self._runs[timing.rows, len(timing.waited)]
        runs.count += 1
        runs.waited += sum(timing.waited)
        runs.input += timing.input
        runs.infer += timing.infer
        runs.output += timing.output
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
        """Return the figures as the protocol writes them: every request has taken as long as its run."""
        none = Duration().sent()
        requests = sum(each * runs.count for (_, each), runs in self._runs.items())
        waited = sum(runs.waited for runs in self._runs.values())
        stages = [sum(taken) for taken in zip(*self._by_request(), strict=True)] or [0.0] * len(STAGES)
        return {
            "name": name,
            "version": str(version),
            "last_inference": round(self.last * 1000),
            "inference_count": self.rows,
            "execution_count": sum(runs.count for runs in self._runs.values()),
            "inference_stats": {
                "success": Duration(requests, waited + sum(stages)).sent(),
                "fail": self.fail.sent(),
                "queue": Duration(requests, waited).sent(),
                **_stages(requests, stages),
                "cache_hit": none,
                "cache_miss": none,
            },
            "batch_stats": [{"batch_size": rows} | self._of(rows) for rows in sorted({rows for rows, _ in self._runs})],
        }

    def _by_request(self) -> Iterator[Sequence[float]]:
        for (_, requests), runs in self._runs.items():
            yield [requests * taken for taken in runs.stages]

    def _of(self, size: int) -> dict[str, dict[str, int]]:
        """Return how long runs of ``size`` rows took."""
        found = [runs for (rows, _), runs in self._runs.items() if rows == size]
        stages = [sum(taken) for taken in zip(*(runs.stages for runs in found), strict=True)]
        return _stages(sum(runs.count for runs in found), stages)


def _stages(count: int, seconds: Sequence[float]) -> dict[str, dict[str, int]]:
    return {name: Duration(count, taken).sent() for name, taken in zip(STAGES, seconds, strict=True)}
