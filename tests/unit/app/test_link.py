"""A child's end of the socket to its parent, with a parent that says what the test wants."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog
from structlog.typing import EventDict

from app.peers import Change
from app.processes import link as links
from app.processes import messages
from app.processes.link import Link
from app.processes.messages import Message
from models.contract.errors import Draining

SECONDS = 10.0
UNLOADED = {"project": "default", "model": "tiny", "what": "unload"}


class Child:
    """A link with what it asked its process to do, and the parent's end of it."""

    def __init__(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.link = link
        self.followed: list[Change] = []
        self.left = 0
        self._said = messages.messages(reader)
        self._writer = writer

    def leave(self) -> None:
        self.left += 1

    async def open(self) -> None:
        await self.link.open(list, self.leave, self.followed.append)

    async def hear(self, word: str) -> Message:
        """Return the next message, which has this word."""
        message = await asyncio.wait_for(anext(self._said), SECONDS)
        assert message["word"] == word
        return message

    def tell(self, word: str, **fields: object) -> None:
        self._writer.write(messages.pack(word, **fields))

    def hang_up(self) -> None:
        self._writer.transport.abort()


@pytest.fixture
async def child() -> AsyncIterator[Child]:
    ours, theirs = socket.socketpair()
    found = Child(Link(theirs), *await asyncio.open_unix_connection(sock=ours))
    yield found
    await found.link.close()
    found.hang_up()


@pytest.fixture
async def joined(child: Child) -> Child:
    """Return one that takes requests."""
    opening = asyncio.create_task(child.open())
    child.tell("confirmed", id=(await child.hear("join"))["id"])
    await opening
    await child.link.ready()
    await child.hear("ready")
    return child


@pytest.fixture
def log(quiet: None) -> Iterator[list[EventDict]]:  # noqa: ARG001 - this one goes inside it
    with structlog.testing.capture_logs() as lines:
        yield lines


async def test_what_is_unloaded_is_known_before_requests_are_taken(child: Child) -> None:
    opening = asyncio.create_task(child.open())
    number = (await child.hear("join"))["id"]
    child.tell("change", id=3, change=UNLOADED)
    assert (await child.hear("followed"))["id"] == 3
    assert not opening.done()
    child.tell("confirmed", id=number)
    await opening
    assert child.followed == [Change("default", "tiny", "unload")]


async def test_parent_that_does_not_answer_keeps_no_process_from_serving(
    child: Child, monkeypatch: pytest.MonkeyPatch, log: list[EventDict]
) -> None:
    """One of an earlier version does not know the word."""
    monkeypatch.setattr(links, "CONFIRM_SECONDS", 0.05)
    await child.open()
    assert [line["event"] for line in log] == ["unloaded_models_unknown"]
    await child.link.ready()
    await child.hear("join")
    await child.hear("ready")


async def test_change_is_passed_on_when_the_parent_confirms_it(joined: Child, log: list[EventDict]) -> None:
    """Until then nobody is told that it is done; the words of others are followed meanwhile."""
    asked = asyncio.create_task(joined.link.pass_on(Change("default", "tiny", "forget")))
    message = await joined.hear("change")
    assert message["change"] == {"project": "default", "model": "tiny", "what": "forget"}
    joined.tell("change", id=8, change=UNLOADED)
    assert (await joined.hear("followed"))["id"] == 8
    assert not asked.done()
    joined.tell("confirmed", id=message["id"])
    await asyncio.wait_for(asked, SECONDS)
    assert joined.followed == [Change("default", "tiny", "unload")]
    assert log == []


async def test_change_that_is_not_confirmed_is_told_by_the_log(
    joined: Child, monkeypatch: pytest.MonkeyPatch, log: list[EventDict]
) -> None:
    """By a parent that hangs, and by one that is gone."""
    monkeypatch.setattr(links, "CONFIRM_SECONDS", 0.05)
    change = Change("default", "tiny", "unload")
    await joined.link.pass_on(change)
    monkeypatch.undo()
    asked = asyncio.create_task(joined.link.pass_on(change))
    await asyncio.sleep(0)
    joined.hang_up()
    await asyncio.wait_for(asked, 1)
    assert [(line["event"], line["model"], line["what"]) for line in log] == [
        ("change_not_passed_on", "tiny", "unload")
    ] * 2
    with pytest.raises(Draining):
        await joined.link.merged()


async def test_word_to_leave_waits_until_requests_are_taken(child: Child) -> None:
    opening = asyncio.create_task(child.open())
    number = (await child.hear("join"))["id"]
    child.tell("leave")
    child.tell("confirmed", id=number)
    await opening
    assert child.left == 0
    await child.link.ready()
    await child.hear("ready")
    await asyncio.sleep(0)
    assert child.left == 1
