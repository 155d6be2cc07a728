"""What was found out about each row of the tables: filled by the measurements, read by ``targets`` and ``page``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.serving.figures import Spread


@dataclass(frozen=True)
class Closed:
    """A closed loop: every connection asks again as soon as it has its answer. Times in seconds."""

    rate: float
    p50: float
    p99: float
    cpu_per_thousand: float
    """Processor seconds of the server for 1,000 requests."""

    client_per_request: float
    """Processor seconds of the load client for one."""

    failed: Mapping[int, int]


@dataclass(frozen=True)
class Opened:
    """An open loop at a fixed rate; latencies of the good answers, in seconds from when each was to be sent."""

    rate: float
    sent: int
    good: int
    p50: float
    p99: float
    failed: Mapping[int, int]
    lost: int
    """Requests that found no free connection, or no answer."""


@dataclass(frozen=True)
class Overloaded:
    """Twice as many requests as can be answered."""

    opened: Opened
    saturation: float
    """Requests a second at 32 connections, the more of right before and right after."""

    connections: int
    seconds: float
    accepted_in_time: int
    """Good answers that came while requests were still sent."""

    retry_after: int
    resident_before: int
    resident_after: int
    recovered_seconds: float | None
    """Until single requests took as long as before; None if that did not come within the time given."""

    @property
    def accepted_rate(self) -> float:
        """Good answers a second while requests were sent."""
        return self.accepted_in_time / self.seconds

    @property
    def share(self) -> float:
        """What was answered, of what can be answered."""
        return self.accepted_rate / self.saturation


def longest_recovery(runs: Sequence[Overloaded]) -> float | None:
    """Return the longest of the recoveries of ``runs``, of which there is at least one; None if one did not come."""
    seconds = [run.recovered_seconds for run in runs if run.recovered_seconds is not None]
    return max(seconds) if len(seconds) == len(runs) else None


@dataclass(frozen=True)
class Poisoned:
    """Bad requests among good ones at the same moment, over and over."""

    repetitions: int
    good: int
    good_failed: int
    bad_statuses: Mapping[int, int]


@dataclass
class Finding:
    """Everything about one server asked in one form."""

    server: str
    form: str
    title: str
    peer: bool = False
    missing: str = ""
    """Why there is nothing to tell; empty where there is."""

    one: list[Closed] = field(default_factory=list[Closed])
    many: list[Closed] = field(default_factory=list[Closed])
    opened: dict[str, list[Opened]] = field(default_factory=dict[str, list[Opened]])
    """By the title of the row whose saturation the rate is a share of, a run per round."""

    overloaded: list[Overloaded] = field(default_factory=list[Overloaded])
    poisoned: Poisoned | None = None

    @property
    def measured(self) -> bool:
        """Whether the closed loops were run."""
        return bool(self.many)

    @property
    def saturation(self) -> float:
        """Requests a second at 32 connections, the median of the rounds."""
        return Spread.of([closed.rate for closed in self.many]).median

    def rate_against(self, other: Finding) -> float:
        """Return the saturation as a multiple of another's: the median of the ratios within rounds.

        Within a round both meet the same machine, which other work may slow down in the next.
        """
        return _against([closed.rate for closed in self.many], [closed.rate for closed in other.many])

    def one_p50_against(self, other: Finding) -> float:
        """Return the median latency at one client as a multiple of another's, in the same way."""
        return _against([closed.p50 for closed in self.one], [closed.p50 for closed in other.one])

    def cpu_against(self, other: Finding) -> float:
        """Return the processor time of a request at 32 connections as a multiple of another's, in the same way."""
        own = [closed.cpu_per_thousand for closed in self.many]
        return _against(own, [closed.cpu_per_thousand for closed in other.many])


def _against(own: Sequence[float], other: Sequence[float]) -> float:
    return Spread.of([mine / theirs if theirs else math.inf for mine, theirs in zip(own, other, strict=True)]).median
