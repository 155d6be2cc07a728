"""Who starts retention, and when."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import cast

import pytest
from redis import Redis

from workers.retention.turns import COMMAND, SETTLING_SECONDS, TURN, RetentionTurns

HOUR = 3600.0
NOTHING = (sys.executable, "-c", "")
UNTIL_STDIN_ENDS = (sys.executable, "-c", "import sys; sys.stdin.read()")


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def running(turns: RetentionTurns) -> subprocess.Popen[bytes]:
    return cast("subprocess.Popen[bytes]", turns._running)


def end(turns: RetentionTurns) -> None:
    process = running(turns)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait() == 0


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_many_reapers_start_one_run_per_pause(redis: Redis, clock: Clock) -> None:
    first, second = (RetentionTurns(redis, HOUR, clock, NOTHING) for _ in range(2))
    assert not first.take()
    clock.seconds = SETTLING_SECONDS
    assert [first.take(), second.take(), first.take()] == [True, False, False]
    assert 0 < redis.pttl(TURN) <= HOUR * 1000
    end(first)
    redis.delete(TURN)
    assert second.take()
    end(second)


def test_a_run_that_takes_longer_than_the_pause_is_not_joined_by_another(redis: Redis, clock: Clock) -> None:
    turns = RetentionTurns(redis, HOUR, clock, UNTIL_STDIN_ENDS)
    clock.seconds = SETTLING_SECONDS
    assert turns.take()
    redis.delete(TURN)
    assert not turns.take()
    end(turns)
    assert turns.take()
    end(turns)


def test_zero_leaves_it_to_people(redis: Redis, clock: Clock) -> None:
    turns = RetentionTurns(redis, 0, clock, NOTHING)
    clock.seconds = 10 * HOUR
    assert not turns.take()


def test_a_run_ends_with_the_reaper(tmp_path: Path) -> None:
    """Its stdin is a pipe that the reaper holds; a Redis that never answers does not keep it."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{folder}/redis.sock")
        silent.listen()
        settings = {"LECTERN_REDIS_URL": f"unix://{folder}/redis.sock", "LECTERN_STORE_URL": tmp_path.as_uri()}
        with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, env=os.environ | settings) as process:
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(timeout=60) == 0
