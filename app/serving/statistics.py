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

    def add(self, seconds: float, count: int = 1) -> None:
        """Count ``count`` times that took ``seconds`` together."""
        self.count += count
        self.seconds += seconds

    def sent(self) -> dict[str, int]:
        """Return it as the protocol writes it."""
        return {"count": self.count, "ns": round(self.seconds * 1e9)}


@dataclass
class Statistics:
    """The figures of one version."""

    meters: Meters
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    stages: Sequence[Duration] = field(default_factory=lambda: [Duration() for _ in STAGES])
    rows: int = 0
    executions: int = 0
    last: float = 0.0
    by_rows: dict[int, Sequence[Duration]] = field(
        default_factory=lambda: defaultdict(lambda: [Duration() for _ in STAGES])
    )

    def ran(self, timing: Timing) -> None:
        """Learn of one joint run."""
        requests, waited = len(timing.waited), sum(timing.waited)
        seconds = (timing.input, timing.infer, timing.output)
        self.success.add(waited + requests * sum(seconds), requests)
        self.queue.add(waited, requests)
        for stage, taken in zip(self.stages, seconds, strict=True):
            stage.add(requests * taken, requests)
        for stage, taken in zip(self.by_rows[timing.rows], seconds, strict=True):
            stage.add(taken)
        self.rows += timing.rows
        self.executions += 1
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
        self.fail.add(count * seconds, count)

    def sent(self, name: str, version: int) -> dict[str, object]:
        """Return the figures as the protocol writes them."""
        none = Duration().sent()
        stages = {name: stage.sent() for name, stage in zip(STAGES, self.stages, strict=True)}
        return {
            "name": name,
            "version": str(version),
            "last_inference": round(self.last * 1000),
            "inference_count": self.rows,
            "execution_count": self.executions,
            "inference_stats": {
                "success": self.success.sent(),
                "fail": self.fail.sent(),
                "queue": self.queue.sent(),
                **stages,
                "cache_hit": none,
                "cache_miss": none,
            },
            "batch_stats": [
                {"batch_size": rows} | {name: stage.sent() for name, stage in zip(STAGES, found, strict=True)}
                for rows, found in sorted(self.by_rows.items())
            ],
        }
