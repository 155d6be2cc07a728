"""Refusals of what comes too late in a turn of the event loop, and which bytes are told to be one whole request."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock
from weakref import ref

import pytest

from app import shedding
from app.routes.inference import Path
from app.shedding import Served, Shedding, Turns

LONGEST, MOST = 0.08, 64  # under overload 5 ms and 4 requests


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


async def overload(turns: Turns, clock: Clock) -> None:
    """Have turns that are long for a while, of which nothing is refused yet."""
    for _ in range(2):
        assert await turn(turns, clock, requests=67, seconds_each=0.0012) == 0


async def test_what_is_read_early_in_a_turn_is_answered(clock: Clock) -> None:
    turns = Turns(LONGEST, MOST)
    await overload(turns, clock)
    late = [await turn(turns, clock, requests=50, seconds_each=0.0012) for _ in range(2)]
    assert late == [50 - 5] * 2, "those after 5 ms"


async def test_a_turn_ends_in_time_with_its_refusals(clock: Clock) -> None:
    """What they took in the last one is left for them; that turns are brief is no end of it."""
    turns = Turns(LONGEST, MOST)
    await overload(turns, clock)
    found: list[tuple[int, float]] = []
    for _ in range(10):
        began = clock.now
        late = await turn(turns, clock, requests=100, seconds_each=0.0003, refusal_seconds=0.00002)
        found.append((late, clock.now - began))
    assert found[0] == (83, pytest.approx(0.0051 + 83 * 0.00002))
    assert found[-3:] == [(89, pytest.approx(0.0033 + 89 * 0.00002))] * 3


async def test_turns_get_longer_again_while_none_refuses(clock: Clock) -> None:
    """Each may be twice as long as the last one, until nothing is left of the overload."""
    turns = Turns(LONGEST, MOST)
    await overload(turns, clock)
    assert await turn(turns, clock, requests=10, seconds_each=0.0012) == 10 - 5
    assert await turn(turns, clock, requests=2, seconds_each=0.0012) == 0
    assert await turn(turns, clock, requests=10, seconds_each=0.0012) == 10 - 9
    for _ in range(4):
        assert await turn(turns, clock, requests=2, seconds_each=0.0012) == 0
    assert await turn(turns, clock, requests=70, seconds_each=0.0012) == 0, "a burst"


async def test_a_burst_after_a_short_turn_is_a_burst_again(clock: Clock) -> None:
    turns = Turns(LONGEST, MOST)
    for _ in range(3):
        assert await turn(turns, clock, requests=70, seconds_each=0.0012) == 0
        assert await turn(turns, clock, requests=2, seconds_each=0.0012) == 0


async def test_overload_does_not_outlive_silence(clock: Clock) -> None:
    """What comes after some time of nothing is a burst, however it was before."""
    turns = Turns(LONGEST, MOST)
    await overload(turns, clock)
    for _ in range(3):
        clock.now += 60
        assert await turn(turns, clock, requests=70, seconds_each=0.0012) == 0


async def test_a_turn_that_goes_on_answering_is_overload(clock: Clock) -> None:
    """As libuv's do while very many connections are ready."""
    turns = Turns(LONGEST, MOST)
    late = await turn(turns, clock, requests=5000, seconds_each=0.0001, refusal_seconds=0.00001)
    assert late == pytest.approx(4000 - 51 - 3 * 26, abs=26), "those after the first tenth of a second"


async def test_a_turn_that_goes_on_refusing_answers_some(clock: Clock) -> None:
    """Five in half of a brief turn, which its refusals leave them, to six refusals in the time of two brief turns."""
    turns = Turns(LONGEST, MOST)
    await overload(turns, clock)
    late = await turn(turns, clock, requests=700, seconds_each=0.0006, refusal_seconds=0.0019)
    assert late == pytest.approx(700 * 6 / 11, abs=10)


@pytest.mark.parametrize(("clients", "idle_seconds"), [(50, 0.01), (60, 0.9), (50, 0.0), (250, 0.0)])
async def test_overload_ends_for_few_clients_that_ask_at_once(clock: Clock, clients: int, idle_seconds: float) -> None:
    """Though each of their turns refuses some of them, and whether or not they wait a little before they ask again."""
    turns = Turns(0.025)
    for _ in range(3):
        await turn(turns, clock, requests=900, seconds_each=7e-5)
    late: list[int] = []
    began = clock.now
    while clock.now < began + 3:
        late.append(await turn(turns, clock, requests=clients, seconds_each=7e-5, refusal_seconds=1.5e-5))
        clock.now += idle_seconds
    assert late[0] > 0
    assert sum(late[-len(late) // 3 :]) == 0


async def test_overload_goes_on_while_twice_as_many_come(clock: Clock) -> None:
    """Turns that are as long as they get, now and then, are told soon; most of the time goes into answers."""
    turns = Turns(0.025)
    waiting, answered, asked, longest = 900.0, 0, 0, 0.0
    began = clock.now
    while clock.now < began + 10:
        before = clock.now
        late = await turn(turns, clock, requests=int(waiting), seconds_each=7e-5, refusal_seconds=1.5e-5)
        asked, answered = asked + int(waiting), answered + int(waiting) - late
        longest = max(longest, clock.now - before)
        waiting = 2 / 7e-5 * (clock.now - before)
    assert asked / 10 == pytest.approx(2 / 7e-5, rel=0.05)
    assert answered / 10 > 0.65 / 7e-5
    assert longest < 0.15


async def test_a_few_slow_ones_are_no_overload(clock: Clock) -> None:
    """However long each takes; and under overload some are taken in every turn."""
    turns = Turns(LONGEST, MOST)
    assert [await turn(turns, clock, requests=MOST, seconds_each=0.01) for _ in range(4)] == [0] * 4
    assert [await turn(turns, clock, requests=MOST + 3, seconds_each=0.01) for _ in range(2)] == [0, MOST + 3 - 8]
    assert await turn(turns, clock, requests=4, seconds_each=0.01) == 0


async def test_without_a_limit_nothing_is_late(clock: Clock) -> None:
    turns = Turns(0.0, MOST)
    assert [await turn(turns, clock, requests=50, seconds_each=1.0) for _ in range(3)] == [0] * 3


FIRST = b"POST /v2/models/m/infer HTTP/1.1\r\n"
HEAD = FIRST + b"Host: localhost\r\nAuthorization: Bearer a\r\n"


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
        (HEAD + b"Content-Length: 94\r\n\r", False),
        (HEAD + b"Content-Length: 0000000002\r\n\r\n", False),
        (HEAD + b"Content-Length : 2\r\n\r\n{}", False),
        (HEAD + b"Content-Length: 2\r\n folded\r\n\r\n{}", False),
        (HEAD + b"X: a\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}", False),
        (HEAD + b"X\0: a\r\nContent-Length: 2\r\n\r\n{}", False),
        (FIRST + b"Authorization: Bearer b\r\nContent-Length: 2\r\n\r\n{}", False),
        (FIRST + b"Content-Length: 2\r\n\r\n{}", False),
        (HEAD + b"X-Filler: %b\r\nContent-Length: 2\r\n\r\n{}" % bytes(2048), False),
        (HEAD + b"\r\n", False),
    ],
)
def test_only_one_plain_request_is_refused_by_its_bytes(data: bytes, *, whole: bool) -> None:
    """Whatever else there may be is left to the parser; what is told is the same when it comes again."""
    endpoint, path, sent = Mock(), Path("/v2", "/v2", "m", None, None), list[bytes]()
    connection = Mock(**{"server_state.default_headers": [], "transport.get_write_buffer_size.return_value": 0})
    connection.transport.write = sent.append
    shedding = Shedding(Mock(), Mock(**{"identified.return_value": "a"}))
    served = Served(FIRST, path, ref(endpoint), b"Bearer a")
    assert [shedding.refuses(connection, served, data) for _ in range(2)] == [whole] * 2
    assert [answer.partition(b" ")[2][:3] for answer in sent] == [b"429"] * 2 * whole
