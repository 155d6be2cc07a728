"""What clients did and saw, in the order in which they came to know it, and what was done to the cluster meanwhile.

Times are seconds of the monotonic clock: an answer lies between ``began`` and ``ended``. :class:`History` collects
from many threads; ``checker`` reads it when all is over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from models.contract.jobs import JobState


@dataclass(frozen=True)
class Acknowledged:
    """A submission that was answered 202: from here on the job must not be lost."""

    began: float
    ended: float
    client: str
    job_id: str
    key: str
    purpose: str
    """What the job is for, as ``workload.Purpose`` says."""
    resumed_from: str | None = None


@dataclass(frozen=True)
class Seen:
    """A state of a job as a client was told it; ``event_id`` if an event stream told it."""

    began: float
    ended: float
    client: str
    job_id: str
    state: JobState
    attempt: int
    event_id: str | None = None


@dataclass(frozen=True)
class CancelAcknowledged:
    """A request to cancel that was answered 202."""

    began: float
    ended: float
    client: str
    job_id: str


@dataclass(frozen=True)
class Refused:
    """A request that got no answer (``status`` 0) or a problem."""

    began: float
    ended: float
    client: str
    request: str
    job_id: str
    status: int
    code: str
    detail: str


@dataclass(frozen=True)
class Strike:
    """One fault: what was hit, and which jobs were in its way."""

    fault: str
    began: float
    """When it began to look for something to hit."""
    hit: float
    """When it hit it."""
    ended: float
    target: str
    jobs: tuple[str, ...]
    happened: bool = True
    """False when there was nothing to hit for as long as the fault waited."""


Entry: TypeAlias = Acknowledged | Seen | CancelAcknowledged | Refused


@dataclass
class History:
    """Everything that happened, kept by whoever saw it."""

    entries: list[Entry] = field(default_factory=list[Entry])
    strikes: list[Strike] = field(default_factory=list[Strike])
    clock_offset: float = field(default_factory=lambda: time.time() - time.monotonic())
    """Seconds between the monotonic clock and that of Redis, which is this machine's."""

    def __post_init__(self) -> None:
        """Make what threads need."""
        self._lock = threading.Lock()

    def add(self, entry: Entry | Strike) -> None:
        """Keep what happened."""
        with self._lock:
            if isinstance(entry, Strike):
                self.strikes.append(entry)
            else:
                self.entries.append(entry)

    @property
    def happened(self) -> int:
        """Number of faults that hit something."""
        return sum(strike.happened for strike in self.strikes)

    def figures(self) -> str:
        """Return how far it has come, in a few words."""
        ended = {entry.job_id for entry in list(self.entries) if isinstance(entry, Seen) and entry.state.final}
        return f"{len(self.acknowledged())} jobs submitted, {len(ended)} ended, {self.happened} faults"

    def acknowledged(self) -> dict[str, Acknowledged]:
        """Return the first acknowledgement of each job, by its id."""
        found: dict[str, Acknowledged] = {}
        for entry in list(self.entries):
            if isinstance(entry, Acknowledged):
                found.setdefault(entry.job_id, entry)
        return found

    def cancelled(self) -> dict[str, CancelAcknowledged]:
        """Return the first acknowledged cancellation of each job, by its id."""
        found: dict[str, CancelAcknowledged] = {}
        for entry in list(self.entries):
            if isinstance(entry, CancelAcknowledged):
                found.setdefault(entry.job_id, entry)
        return found

    def of(self, job_id: str) -> Sequence[Entry]:
        """Return the entries that concern one job."""
        return [entry for entry in list(self.entries) if entry.job_id == job_id]
