"""What is done at one process of a gateway and must be done at all, and how a process reaches the others.

``processes/link.py`` has the one way there is. A gateway of one process has no peers, and needs none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from app.telemetry import Merging

What = Literal["forget", "unload", "load"]
"""``forget`` what the store said of the model, as that has changed; ``unload`` it; let it ``load`` again."""


@dataclass(frozen=True)
class Change:
    """What every process does to a model."""

    project: str
    model: str
    what: What


class Peers(Merging, Protocol):
    """The other processes of the gateway."""

    async def pass_on(self, change: Change) -> None:
        """Return when all have followed; after about a second also when one has not."""
        ...
