"""The trainer that waits: used once, replaced when it ended, gone with the process that keeps it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from workers.spare import Spare, Trainer
from workers.stop import STOPPED

GONE_SECONDS = 20.0


@pytest.fixture
def started() -> Iterator[list[Trainer]]:
    """Return a list of trainers that are ended with the test."""
    trainers: list[Trainer] = []
    yield trainers
    for trainer in trainers:
        process = trainer.process
        process.kill()
        process.wait()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()


def test_the_one_that_waits_is_taken_once(started: list[Trainer]) -> None:
    spare = Spare(wanted=True)
    spare.prepare()
    spare.prepare()
    first, second = spare.take(), spare.take()
    started += (first, second)
    assert first.process.pid != second.process.pid
    assert first.process.poll() is None
    spare.give_back(first)
    assert spare.take() is first


def test_one_that_ended_while_it_waited_is_replaced(started: list[Trainer]) -> None:
    spare = Spare(wanted=True)
    spare.prepare()
    dead = spare.take()
    dead.process.send_signal(signal.SIGKILL)
    dead.process.wait()
    spare.give_back(dead)
    started.append(spare.take())
    assert started[0].process.poll() is None


def test_it_ends_with_the_process_that_keeps_it() -> None:
    """Also while it still loads torch."""
    program = "from workers.spare import Trainer; print(Trainer().process.pid)"
    keeper = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    listing = ["/bin/ps", "-p", keeper.stdout.strip()]
    for _ in range(int(GONE_SECONDS * 100)):
        if subprocess.run(listing, capture_output=True, check=False).returncode:
            return
    pytest.fail("the trainer is still there")


def test_it_ends_at_once_without_an_order(started: list[Trainer]) -> None:
    trainer = Trainer()
    started.append(trainer)
    assert trainer.process.stdin is not None
    trainer.process.stdin.close()
    assert trainer.process.wait(GONE_SECONDS) == STOPPED
