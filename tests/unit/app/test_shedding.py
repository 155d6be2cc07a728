"""Refusals of what comes too late in a turn of the event loop, and which bytes are told to be one whole request."""

from __future__ import annotations

import asyncio

import pytest

from app import shedding
from app.shedding import Turns

LONGEST, LEAST = 0.025, 4


class Clock:
    """What ``time`` is to the turns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(shedding, "time", self)

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def turn(turns: Turns, clock: Clock, requests: int, seconds_each: float, refusal_seconds: float = 0) -> int:
    """Read some requests in one turn of the loop; return how many of them came too late."""
    late = 0
    for _ in range(requests):
        turns.reads()
        refused = turns.late()
        late += refused
        clock.now += refusal_seconds if refused else seconds_each
    await asyncio.sleep(0)
    return late


async def test_what_is_read_early_in_a_long_turn_is_answered(clock: Clock) -> None:
    """And nothing is refused before turns have been long for a while."""
    turns = Turns(LONGEST, LEAST)
    late = [await turn(turns, clock, requests=20, seconds_each=0.005) for _ in range(3)]
    assert late[0] == 0, "a burst"
    assert late[1] == 20 - 6, "those after 25 ms"
    assert late[2] == 20 - 6


async def test_a_turn_ends_in_time_with_its_refusals(clock: Clock) -> None:
    """What they took in the last one is left for them; that turns are no longer than they may be is no end of it."""
    turns = Turns(0.0255, LEAST)
    found: list[tuple[int, float]] = []
    for _ in range(10):
        began = clock.now
        late = await turn(turns, clock, requests=100, seconds_each=0.001, refusal_seconds=0.0001)
        found.append((late, clock.now - began))
    assert found[0] == (0, pytest.approx(0.1))
    assert found[1] == (74, pytest.approx(0.026 + 74 * 0.0001))
    assert found[-3:] == [(82, pytest.approx(0.018 + 82 * 0.0001))] * 3
    assert await turn(turns, clock, requests=20, seconds_each=0.001) == 2
    assert await turn(turns, clock, requests=20, seconds_each=0.001) == 0
    assert await turn(turns, clock, requests=100, seconds_each=0.001) == 0, "a burst"


async def test_a_burst_after_a_short_turn_is_a_burst_again(clock: Clock) -> None:
    turns = Turns(LONGEST, LEAST)
    for _ in range(3):
        assert await turn(turns, clock, requests=30, seconds_each=0.005) == 0
        assert await turn(turns, clock, requests=2, seconds_each=0.005) == 0


async def test_overload_does_not_outlive_silence(clock: Clock) -> None:
    """What comes after some time of nothing is a burst, however it was before."""
    turns = Turns(LONGEST, LEAST)
    for _ in range(3):
        clock.now += 60
        assert await turn(turns, clock, requests=30, seconds_each=0.005) == 0


async def test_what_refusing_takes_leaves_half_a_turn_to_answers(clock: Clock) -> None:
    turns = Turns(LONGEST, LEAST)
    late = [await turn(turns, clock, requests=100, seconds_each=0.001, refusal_seconds=0.01) for _ in range(6)]
    assert late[-1] == 100 - 13


async def test_some_are_taken_in_every_turn(clock: Clock) -> None:
    """However long each takes."""
    turns = Turns(LONGEST, LEAST)
    assert [await turn(turns, clock, requests=LEAST, seconds_each=1.0) for _ in range(4)] == [0] * 4
    assert await turn(turns, clock, requests=LEAST + 3, seconds_each=1.0) == 3


async def test_without_a_limit_nothing_is_late(clock: Clock) -> None:
    turns = Turns(0.0, LEAST)
    assert [await turn(turns, clock, requests=50, seconds_each=1.0) for _ in range(3)] == [0] * 3


HEAD = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (HEAD + b"Content-Length: 2\r\n\r\n{}", True),
        (HEAD + b"content-length:2\r\nConnection: Keep-Alive\r\nX-Request-Id: a\r\n\r\n{}", True),
        (HEAD + b"Content-Length: 3\r\n\r\n{}", False),
        (HEAD + b"Content-Length: 1\r\n\r\n{}", False),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", False),
        (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", False),
        (HEAD + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n{}", False),
        (HEAD + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}", False),
        (HEAD + b"Content-Length: 2\r\nUpgrade: h2c\r\n\r\n{}", False),
        (HEAD + b"Content-Length: +2\r\n\r\n{}", False),
        (HEAD + b"Content-Length: 2\r\n", False),
        (HEAD + b"\r\n", False),
    ],
)
def test_only_one_plain_request_is_told_from_its_bytes(data: bytes, *, whole: bool) -> None:
    """Whatever else there may be is left to the parser."""
    assert (shedding._whole(data) is not None) == whole
