"""A worker as it shows itself in Redis: a key of its own that lapses soon after the worker stops beating.

Written by the worker's own loop (``workers/presence.py``), so a worker that hangs is not believed alive. The sorted set
``WORKERS`` lists the keys, some of which may have lapsed, so that nobody has to search all of Redis for them.
"""

from __future__ import annotations

from pydantic import Field

from models.contract.config import Options

PRESENCE_SECONDS = 10.0
"""How long a beat is believed. Workers beat every two seconds."""

WORKERS = "lectern:workers"
"""Keys of workers by the second of their newest beat (Redis clock)."""


class WorkerPresence(Options):
    """What a worker says of itself with every beat."""

    host: str = Field(description="Name of its machine.")
    pid: int = Field(description="Its process there.")
    queues: tuple[str, ...] = Field(description="Queues that it takes jobs from.")
    slots: int = Field(description="Jobs that it trains at a time.")
    version: str = Field(description="Version of Lectern that it runs.")

    @property
    def key(self) -> str:
        """Its key in Redis; the value is this record as JSON."""
        return f"{presence_keys(self.host)[:-1]}{self.pid}"


def presence_keys(host: str = "*") -> str:
    """Return the pattern of the keys of all workers, or of those on one machine."""
    return f"lectern:worker:{host}:*"
