"""The parent of several gateway processes: ``python -m app.processes.parent LISTENER SETTINGS``, two descriptors.

``entry.py`` becomes it. It holds the listening socket and serves nothing: it starts the children, starts again those
that end, passes on that the gateway is to stop and what one child changes for all, restarts one after the other on
SIGHUP, and adds up their metrics.
Imports neither FastAPI nor what computes.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import sys
from asyncio import TaskGroup
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from app.listening import url_of
from app.logs import configure_logs
from app.processes.changes import Changes
from app.processes.ledger import Ledger
from app.processes.member import COMMAND, Member
from app.processes.messages import Message
from app.processes.restarts import failures_in_a_row, pause_seconds

START_SECONDS = 120.0
"""For a child of a rolling restart to become ready: a cold disk is slow."""

LAST_SECONDS = 1.5
"""Beyond the grace time, for a child to end what it cut off, before it is killed."""

POLL_SECONDS = 0.5
"""How long a scrape waits for the others' snapshots; of one that is late the last one counts."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Plan:
    """What the parent itself needs of the settings, and all of them for the children."""

    processes: int
    grace_seconds: float
    url: str
    settings: Mapping[str, Any]
    command: Sequence[str] = COMMAND


class Parent:
    """Keeps ``plan.processes`` children on one listening socket."""

    def __init__(self, plan: Plan, listener: socket.socket) -> None:
        """Start nothing yet."""
        self._plan = plan
        self._listener = listener
        self._ledger = Ledger()
        self._changes = Changes()
        self._members: dict[int, Member] = {}
        self._numbers: set[int] = set()
        self._to_come = 0
        self._tasks = TaskGroup()
        self._stopping = asyncio.Event()
        self._forced = asyncio.Event()
        self._rolling = asyncio.Event()
        self._unproven: set[Member] = set()
        self._announced = False
        self._refusal: str | None = None

    async def run(self) -> int:
        """Keep the children until told to stop; return the exit code."""
        async with self._tasks:
            self._tasks.create_task(self._roll_when_told())
            for _ in range(self._plan.processes):
                self._unproven.add(await self._start(0))
            await self._stopping.wait()
            await self._end_all()
        if self._refusal is None:
            log.info("gateway_stopped")
            return 0
        print(self._refusal, file=sys.stderr)  # noqa: T201 - the one thing that the person who starts it must see
        return 1

    def stop(self, *, by_hand: bool = False) -> None:
        """Stop the children, then return from ``run``; asked twice ``by_hand``, at once."""
        if by_hand and self._stopping.is_set():
            self._forced.set()
        self._stopping.set()

    def roll(self) -> None:
        """Put a new child in the place of each, one at a time."""
        self._rolling.set()

    async def _start(self, failures: int) -> Member:
        number = next(each for each in itertools.count(1) if each not in self._numbers)
        self._numbers.add(number)
        self._to_come += 1
        plan = self._plan
        try:
            member = await Member.start(number, failures, plan.command, self._listener, plan.settings)
        except OSError:
            self._numbers.discard(number)
            raise
        finally:
            self._to_come -= 1
        self._members[number] = member
        log.info("process_started", process=number, pid=member.pid)
        self._tasks.create_task(self._attend(member))
        if self._stopping.is_set():
            member.terminate()
            self._tasks.create_task(self._gone(member))
        return member

    async def _attend(self, member: Member) -> None:
        """Do as the child says until it is gone, then see to another."""
        async for message in member.said():
            self._hear(member, message)
        del self._members[member.number]
        self._numbers.discard(member.number)
        self._ledger.bury(member.number)
        failures = failures_in_a_row(member.failures, member.served_seconds)
        again = not self._stopping.is_set() and self._present() < self._plan.processes
        facts = {**member.outcome(), **({"reason": member.refusal} if member.refusal else {})}
        if again:
            facts["again_in_seconds"] = pause_seconds(failures)
        (log.warning if again else log.info)("process_ended", process=member.number, pid=member.pid, **facts)
        member.gone.set()
        member.settled.set()
        if member in self._unproven and not self._proven(member):
            return
        if again:
            await self._start_again(failures)

    def _proven(self, member: Member) -> bool:
        """Return whether any of the first children was or may become ready; else the gateway cannot start."""
        self._unproven.discard(member)
        if self._unproven or self._stopping.is_set():
            return True
        how = " ".join(f"{name.replace('_', ' ')} {value}" for name, value in member.outcome().items())
        self._refusal = member.refusal or (
            f"Lectern cannot start: its processes ended before they were ready ({how}); the lines above say more."
        )
        self.stop()
        return False

    async def _start_again(self, failures: int) -> None:
        while not await self._stopped_within(pause_seconds(failures)):
            try:
                await self._start(failures)
            except OSError as error:
                failures += 1
                log.error("process_not_started", reason=str(error))  # noqa: TRY400 - the system's, told in full
            else:
                return

    async def _stopped_within(self, seconds: float) -> bool:
        self._to_come += 1
        try:
            return await _within(self._stopping, seconds)
        finally:
            self._to_come -= 1

    def _present(self) -> int:
        return self._to_come + sum(not member.leaving for member in self._members.values())

    def _hear(self, member: Member, message: Message) -> None:
        match message["word"]:
            case "ready":
                member.became_ready()
                log.info("process_ready", process=member.number, pid=member.pid)
                self._unproven.clear()
                self._announce()
            case "refused":
                member.refusal = message["sentence"]
            case "snapshot":
                self._ledger.record(member.number, message["series"])
                member.heard.set()
            case "scrape":
                self._ledger.record(member.number, message["series"])
                self._tasks.create_task(self._answer(member, message["id"]))
            case "join":
                self._changes.join(member, message)
            case "change":
                awaited = self._changes.begin(message["change"], self._members.values())
                self._tasks.create_task(self._changes.confirm(member, message, awaited))
            case "followed":
                member.has_followed(message["id"])
            case word:
                log.error("unknown_message", process=member.number, word=word)

    def _announce(self) -> None:
        if not self._announced and sum(each.ready for each in self._members.values()) >= self._plan.processes:
            self._announced = True
            log.info("gateway_ready", url=self._plan.url, processes=self._plan.processes)

    async def _answer(self, asking: Member, number: int) -> None:
        """Tell ``asking`` what all counted until now."""
        others = [each for each in self._members.values() if each.ready and each is not asking]
        for other in others:
            other.heard.clear()
            other.tell("poll")
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await asyncio.gather(*(_either(other.heard, other.gone) for other in others))
        asking.tell("merged", id=number, series=self._ledger.merged())

    async def _roll_when_told(self) -> None:
        while True:
            await _either(self._rolling, self._stopping)
            if self._stopping.is_set():
                return
            self._rolling.clear()
            log.info("rolling_restart_started")
            done = await self._roll()
            (log.info if done else log.error)("rolling_restart_ended", done=done)

    async def _roll(self) -> bool:
        for old in list(self._members.values()):
            if old.gone.is_set():
                continue
            if self._stopping.is_set():
                return False
            try:
                new = await self._start(0)
            except OSError as error:
                log.error("process_not_started", reason=str(error))  # noqa: TRY400 - as above
                return False
            if not await _within(new.settled, START_SECONDS) or not new.ready:
                new.kill()
                return False
            old.leaving = True
            old.tell("leave")
            await self._gone(old)
        return True

    async def _end_all(self) -> None:
        """Let every child drain; nobody waits in vain meanwhile, as this process listens no more."""
        self._listener.close()
        members = list(self._members.values())
        for member in members:
            member.terminate()
        await asyncio.gather(*(self._gone(member) for member in members))

    async def _gone(self, member: Member) -> None:
        """Return when a child that was told to go is gone; kill it if it takes too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._plan.grace_seconds + LAST_SECONDS):
                await _either(member.gone, self._forced)
        member.kill()
        await member.gone.wait()


async def _within(event: asyncio.Event, seconds: float) -> bool:
    """Return whether ``event`` is set within the time."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True


async def _either(one: asyncio.Event, other: asyncio.Event) -> None:
    """Return when one of the two is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in (one, other)]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()


async def _keep(plan: Plan, listener: socket.socket) -> int:
    parent = Parent(plan, listener)
    terminal = os.isatty(sys.stderr.fileno())

    def hang_up() -> None:
        # A terminal that was closed says so by the signal that otherwise asks for a rolling restart.
        if terminal and not os.isatty(sys.stderr.fileno()):
            parent.stop()
        else:
            parent.roll()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, parent.stop)
    loop.add_signal_handler(signal.SIGINT, lambda: parent.stop(by_hand=True))
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    return await parent.run()


def main(listening: int, settings: int) -> int:
    """Run the gateway on the socket ``listening``; the pipe ``settings`` has its settings."""
    with open(settings, "rb") as pipe:
        fields = orjson.loads(pipe.read())
    configure_logs(Logging(fields["log_level"], fields["log_format"]))
    os.set_inheritable(listening, False)  # noqa: FBT003 - the standard library's own signature
    with socket.socket(fileno=listening) as listener:
        plan = Plan(fields["processes"], fields["shutdown_grace_seconds"], url_of(listener), fields)
        return asyncio.run(_keep(plan, listener))


@dataclass(frozen=True)
class Logging:
    """How this process logs."""

    log_level: str
    log_format: str


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
