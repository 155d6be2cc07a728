"""The parent of several processes, with children that are programs without a gateway."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
from structlog.typing import EventDict

from app.processes import changes
from app.processes.member import Member
from app.processes.parent import Parent, Plan

COMMAND = (sys.executable, str(Path(__file__).with_name("fake_process.py")))
ROOT = str(Path(__file__).resolve().parents[3])
SECONDS = 20.0


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


@pytest.fixture
def log(quiet: None) -> Iterator[list[EventDict]]:  # noqa: ARG001 - this one goes inside it
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", ROOT)


class Family:
    """A parent, and where its children say that they start."""

    def __init__(self, listener: socket.socket, folder: Path, *does: str, grace_seconds: float = 5.0) -> None:
        self.starts = folder / "starts"
        settings = {"starts": str(self.starts), "does": does}
        self.parent = Parent(Plan(2, grace_seconds, "http://here", settings, COMMAND), listener)
        self.port = listener.getsockname()[1]

    @property
    def pids(self) -> list[int]:
        return [member.pid for member in self.parent._members.values() if member.ready]

    def started(self) -> int:
        return len(self.starts.read_text().splitlines()) if self.starts.exists() else 0

    async def ask(self) -> int:
        """Return the process id of who answers."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        answer = await asyncio.wait_for(reader.read(), SECONDS)
        writer.close()
        return int(answer)

    def followed(self, pid: int) -> list[str]:
        """Return the changes that a child followed."""
        lines = self.starts.with_name(f"followed.{pid}")
        return lines.read_text().splitlines() if lines.exists() else []

    async def change(self, what: str, model: str = "tiny", by: int = 0) -> None:
        """Have a child ask for a change; return when it is told that all have followed."""
        asking = list(self.parent._members.values())[by]
        told: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        tell = asking.tell

        def hear(word: str, **fields: object) -> None:
            if word == "confirmed":
                told.put_nowait(fields)
            tell(word, **fields)

        asking.tell = hear  # type: ignore[method-assign]
        change = {"project": "default", "model": model, "what": what}
        self.parent._hear(asking, {"word": "change", "id": 5, "change": change})
        assert await asyncio.wait_for(told.get(), SECONDS) == {"id": 5}

    async def count(self) -> float:
        """Return what the parent tells of all."""
        asking = next(iter(self.parent._members.values()))
        for member in self.parent._members.values():
            member.heard.clear()
            member.tell("poll")
        await asyncio.gather(*(member.heard.wait() for member in self.parent._members.values()))
        await self.parent._answer(asking, 0)
        return sum(numbers[0] for series in self.parent._ledger.merged() for _, numbers in series["rows"])


@asynccontextmanager
async def running(family: Family) -> AsyncGenerator[asyncio.Task[int]]:
    task = asyncio.create_task(family.parent.run())
    try:
        await until(lambda: len(family.pids) == 2 or task.done())
        yield task
    finally:
        family.parent.stop()
        await asyncio.wait_for(task, SECONDS)


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not reached():  # noqa: ASYNC110 - what happens in other processes sets no event
            await asyncio.sleep(0.02)


def events(log: list[EventDict], event: str) -> list[EventDict]:
    return [line for line in log if line["event"] == event]


async def test_ready_is_said_once_when_all_children_are(
    listener: socket.socket, tmp_path: Path, log: list[EventDict]
) -> None:
    family = Family(listener, tmp_path, "serve")
    async with running(family) as task:
        assert await family.ask() in family.pids
    assert task.result() == 0
    assert len(events(log, "gateway_ready")) == 1
    assert [line["process"] for line in events(log, "process_started")] == [1, 2]
    assert len(events(log, "process_ended")) == 2


async def test_killed_child_is_started_again_and_its_answers_stay_counted(
    listener: socket.socket, tmp_path: Path, log: list[EventDict]
) -> None:
    """The others go on, and the log says what ended it and when there will be another."""
    family = Family(listener, tmp_path, "serve")
    async with running(family):
        asked = Counter([await family.ask() for _ in range(10)])
        assert await family.count() == 10
        killed, other = family.pids
        os.kill(killed, signal.SIGKILL)
        await until(lambda: killed not in family.pids and len(family.pids) == 2)
        assert other in family.pids
        assert await family.count() == 10, asked
        ended = events(log, "process_ended")[0]
        facts = {"pid": killed, "signal": "SIGKILL", "again_in_seconds": 0.0}
        assert facts.items() <= ended.items()


async def test_children_that_start_together_leave_the_parent_its_signals(
    listener: socket.socket, tmp_path: Path
) -> None:
    """Each starts with Ctrl-C and SIGHUP held back."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    settings = {"starts": str(tmp_path / "starts"), "does": ["crash"]}
    members = await asyncio.gather(*(Member.start(number, 0, COMMAND, listener, settings) for number in range(4)))
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    for member in members:
        assert [message async for message in member.said()] == []


async def test_child_that_ends_again_and_again_waits_longer_each_time(
    listener: socket.socket, tmp_path: Path, log: list[EventDict]
) -> None:
    """While another serves."""
    family = Family(listener, tmp_path, "serve", "crash", "crash", "crash", "serve")
    async with running(family):
        assert family.started() == 5
        assert {await family.ask() for _ in range(6)} <= set(family.pids)
    pauses = [line["again_in_seconds"] for line in events(log, "process_ended") if "again_in_seconds" in line]
    assert pauses == [0.0, 0.5, 1.0]


async def test_refusal_of_all_children_is_the_gateways(
    listener: socket.socket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence once, and the code 1."""
    family = Family(listener, tmp_path, "refuse")
    assert await asyncio.wait_for(family.parent.run(), SECONDS) == 1
    assert capsys.readouterr().err == "There is no store.\n"


async def test_children_that_all_crash_at_once_are_named_in_a_sentence(
    listener: socket.socket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    family = Family(listener, tmp_path, "crash")
    assert await asyncio.wait_for(family.parent.run(), SECONDS) == 1
    assert "signal SIGKILL" in capsys.readouterr().err


async def test_children_that_cannot_start_later_do_not_end_the_gateway(listener: socket.socket, tmp_path: Path) -> None:
    """Who was ready once is worth waiting for."""
    family = Family(listener, tmp_path, "serve", "serve", "refuse", "refuse", "serve")
    async with running(family) as task:
        for pid in family.pids:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: family.started() >= 6 and len(family.pids) == 2)
        assert not task.done()


async def test_stop_of_a_child_that_does_not_heed_it_is_forced(
    listener: socket.socket, tmp_path: Path, log: list[EventDict]
) -> None:
    """After the grace time; that the gateway had to force it is no failure of stopping."""
    family = Family(listener, tmp_path, "stubborn", grace_seconds=0.0)
    async with running(family) as task:
        pass
    assert task.result() == 0
    assert [line["signal"] for line in events(log, "process_ended")] == ["SIGKILL", "SIGKILL"]


async def test_second_ctrl_c_forces_the_stop_at_once(listener: socket.socket, tmp_path: Path) -> None:
    family = Family(listener, tmp_path, "stubborn", grace_seconds=600.0)
    async with running(family) as task:
        family.parent.stop(by_hand=True)
        await asyncio.sleep(0)
        assert not task.done()
        family.parent.stop(by_hand=True)
        assert await asyncio.wait_for(task, SECONDS) == 0


async def test_rolling_restart_replaces_every_child_and_loses_no_count(
    listener: socket.socket, tmp_path: Path, log: list[EventDict]
) -> None:
    family = Family(listener, tmp_path, "serve")
    async with running(family):
        for _ in range(10):
            await family.ask()
        old = set(family.pids)
        family.parent.roll()
        await until(lambda: bool(events(log, "rolling_restart_ended")))
        assert len(family.pids) == 2
        assert not old & set(family.pids)
        assert await family.count() == 10
        assert [line["exit_code"] for line in events(log, "process_ended")] == [0, 0]


async def test_rolling_restart_stops_at_a_child_that_cannot_start(
    listener: socket.socket, tmp_path: Path, log: list[EventDict]
) -> None:
    """And leaves the old ones as they are."""
    family = Family(listener, tmp_path, "serve", "serve", "refuse")
    async with running(family):
        old = list(family.pids)
        family.parent.roll()
        await until(lambda: bool(events(log, "rolling_restart_ended")))
        assert events(log, "rolling_restart_ended")[0]["done"] is False
        assert family.pids == old
        assert events(log, "process_ended")[0]["reason"] == "There is no store."


async def test_stop_during_a_rolling_restart_leaves_nobody(
    listener: socket.socket, tmp_path: Path, log: list[EventDict]
) -> None:
    family = Family(listener, tmp_path, "serve")
    async with running(family):
        family.parent.roll()
        await asyncio.sleep(0)
    assert len(events(log, "process_started")) == len(events(log, "process_ended"))


async def test_scrape_does_not_wait_long_for_a_child_that_hangs(listener: socket.socket, tmp_path: Path) -> None:
    """Its last snapshot counts."""
    family = Family(listener, tmp_path, "hang", grace_seconds=0.0)
    async with running(family):
        asking = next(iter(family.parent._members.values()))
        began = asyncio.get_running_loop().time()
        await family.parent._answer(asking, 0)
        assert asyncio.get_running_loop().time() - began < 5


async def test_change_is_followed_by_all_in_one_order_before_who_asked_is_told(
    listener: socket.socket, tmp_path: Path, log: list[EventDict]
) -> None:
    """Also by the one that asks, as another may have asked for the opposite just before."""
    family = Family(listener, tmp_path, "serve")
    async with running(family):
        await family.change("forget", by=0)
        assert [family.followed(pid) for pid in family.pids] == [["forget default/tiny"]] * 2
        await asyncio.gather(family.change("unload", by=0), family.change("load", by=1))
        wanted = ["forget default/tiny", "unload default/tiny", "load default/tiny"]
        assert [family.followed(pid) for pid in family.pids] == [wanted] * 2
    assert events(log, "change_not_followed") == []


async def test_process_that_starts_later_is_told_what_is_unloaded_before_it_takes_requests(
    listener: socket.socket, tmp_path: Path
) -> None:
    """After a crash and by a rolling restart; what was loaded again is not."""
    family = Family(listener, tmp_path, "serve")
    async with running(family):
        for what, model in (("unload", "first"), ("unload", "second"), ("forget", "second"), ("load", "first")):
            await family.change(what, model)
        killed = family.pids[0]
        os.kill(killed, signal.SIGKILL)
        await until(lambda: killed not in family.pids and len(family.pids) == 2)
        assert family.followed(family.pids[-1]) == ["unload default/second"]
        old = set(family.pids)
        family.parent.roll()
        await until(lambda: len(family.pids) == 2 and not old & set(family.pids))
        assert [family.followed(pid) for pid in family.pids] == [["unload default/second"]] * 2


async def test_change_waits_a_second_for_a_process_that_does_not_follow(
    listener: socket.socket, tmp_path: Path, log: list[EventDict]
) -> None:
    """And the log names it."""
    family = Family(listener, tmp_path, "serve", "deaf")
    async with running(family):
        began = asyncio.get_running_loop().time()
        await family.change("unload")
        taken = asyncio.get_running_loop().time() - began
    assert changes.FOLLOW_SECONDS * 0.9 < taken < changes.FOLLOW_SECONDS + 2
    (told,) = events(log, "change_not_followed")
    assert (told["what"], told["model"], len(told["processes"])) == ("unload", "tiny", 1)


async def test_change_does_not_wait_for_a_process_that_starts(
    listener: socket.socket, tmp_path: Path, log: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told before it takes requests."""
    monkeypatch.setattr(changes, "FOLLOW_SECONDS", 10 * SECONDS)
    family = Family(listener, tmp_path, "serve", "serve", "stuck")
    async with running(family):
        killed = family.pids[0]
        os.kill(killed, signal.SIGKILL)
        await until(lambda: family.started() == 3)
        await family.change("unload")
    assert events(log, "change_not_followed") == []


async def test_change_does_not_wait_for_a_process_that_has_ended(
    listener: socket.socket, tmp_path: Path, log: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "FOLLOW_SECONDS", 10 * SECONDS)
    family = Family(listener, tmp_path, "deaf", "deaf", "serve")
    async with running(family):
        asked = asyncio.create_task(family.change("unload"))
        await asyncio.sleep(0.1)
        for pid in family.pids:
            os.kill(pid, signal.SIGKILL)
        await asked
    assert events(log, "change_not_followed") == []
