"""Changes that one process asks for and all follow, and which models are unloaded. Lives in the parent.

All processes, the one that asks included, follow in the order in which the parent heard of the changes: if two ask for
opposite things at a time, all end up with the same.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import structlog

from app.processes.member import Member
from app.processes.messages import Message

FOLLOW_SECONDS = 1.0
"""How long a change waits for processes that are busy; one that hangs must not hold up who asked."""

log = structlog.get_logger()


class Changes:
    """Passes changes on."""

    def __init__(self) -> None:
        """Nothing is unloaded."""
        self._unloaded: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._ids = itertools.count(1)

    def join(self, member: Member, message: Message) -> None:
        """Tell a process that starts what is unloaded; from now on it follows."""
        member.follows = True
        for change in self._unloaded.values():
            member.tell("change", id=next(self._ids), change=change)
        member.tell("confirmed", id=message["id"])

    def begin(self, change: Mapping[str, Any], members: Iterable[Member]) -> dict[Member, asyncio.Event]:
        """Tell all ``members`` that follow of ``change``; return what is set when each has followed or ended."""
        place = (change["project"], change["model"])
        if change["what"] == "unload":
            self._unloaded[place] = change
        elif change["what"] == "load":
            self._unloaded.pop(place, None)
        number = next(self._ids)
        return {member: member.follow(number, change) for member in members if member.follows}

    async def confirm(self, asking: Member, message: Message, awaited: Mapping[Member, asyncio.Event]) -> None:
        """Tell ``asking`` when all have followed, or have had the time for it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FOLLOW_SECONDS):
                await asyncio.gather(*(followed.wait() for followed in awaited.values()))
        late = [each.number for each, followed in awaited.items() if not followed.is_set()]
        if late:
            log.warning("change_not_followed", processes=late, seconds=FOLLOW_SECONDS, **message["change"])
        asking.tell("confirmed", id=message["id"])
