"""The reaper survives what it meets, and a worker says what keeps it from starting."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from kombu.exceptions import OperationalError
from redis import Redis

from workers import reaper

PASSES = 3


def test_the_reaper_goes_on_after_a_message_that_could_not_be_sent(
    redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = iter([[[]]] * PASSES + [[[0]]])
    swept: list[int] = []

    def refuse(*_: object, lenient: bool) -> None:
        redis.delete(reaper.LOCK)
        assert not lenient
        swept.append(1)
        message = "the broker does not answer"
        raise OperationalError(message)

    monkeypatch.setenv("LECTERN_REDIS_URL", redis_url)
    monkeypatch.setattr(reaper, "sweep", refuse)
    monkeypatch.setattr(reaper.select, "select", lambda *_: next(waits))
    monkeypatch.setattr(reaper.signal, "signal", lambda *_: None)
    assert reaper.main() == 0
    assert len(swept) == PASSES


def test_a_reaper_that_could_not_look_lets_leases_be_renewed_first(
    redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute passes between the second look and the third; a lease later all is as before."""
    waits = iter([[[]]] * 6 + [[[0]]])
    times = iter([0.0, 5.0, 10.0, 70.0, 75.0, 80.0, 86.0])
    lenient: list[bool] = []

    def sweep(*_: object, **options: bool) -> None:
        redis.delete(reaper.LOCK)
        lenient.append(options["lenient"])

    monkeypatch.setenv("LECTERN_REDIS_URL", redis_url)
    monkeypatch.setattr(reaper, "sweep", sweep)
    monkeypatch.setattr(reaper.select, "select", lambda *_: next(waits))
    monkeypatch.setattr(reaper.signal, "signal", lambda *_: None)
    monkeypatch.setattr(reaper, "time", Clock(times))
    assert reaper.main() == 0
    assert lenient == [False, False, True, True, True, False]


class Clock:
    """A clock that tells given times."""

    def __init__(self, times: Iterator[float]) -> None:
        self._times = times

    def monotonic(self) -> float:
        return next(self._times)


@pytest.mark.parametrize("url", ["redis://:sekret@127.0.0.1:1/0", "http://:sekret@127.0.0.1", "redis://:sekret/0@host"])
def test_a_worker_without_redis_says_so_and_keeps_the_password_to_itself(url: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "workers"],
        env=os.environ | {"LECTERN_REDIS_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "LECTERN_REDIS_URL" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert "sekret" not in ended.stdout + ended.stderr


@pytest.mark.parametrize("queues", ["train.tpu", "", "train.cpu,train.tpu"])
def test_a_worker_takes_from_no_queue_that_nobody_fills(queues: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "workers"],
        env=os.environ | {"LECTERN_QUEUES": queues},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert {line.partition(":")[0] for line in ended.stderr.splitlines()} == {"LECTERN_QUEUES"}
