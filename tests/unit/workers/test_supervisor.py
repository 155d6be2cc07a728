"""What a supervisor does with its trainer's output, and when its worker stops."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from models.contract.jobs import JobKeys, JobState
from workers import supervisor
from workers.claims import Claim, JobRef
from workers.logs import configure
from workers.settings import WorkerSettings
from workers.spare import Spare, Trainer
from workers.stop import STOPPED


class Full(io.StringIO):
    """Standard output on a disk without space."""

    def flush(self) -> None:
        message = "No space left on device"
        raise OSError(message)


def test_a_log_that_cannot_be_written_does_not_stop_the_reading_of_the_trainer(
    redis: Redis, submit: Callable[..., JobRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trainer whose output nobody reads would wait for ever once the pipe is full."""
    ref = submit()
    claim = Claim.take(redis, ref, 3600)
    assert claim is not None
    configure("INFO")
    monkeypatch.setattr(sys, "stdout", Full())
    supervisor._forward_output(io.BytesIO(b"epoch 1\nepoch 2\n"), claim)
    assert redis.lrange(JobKeys(ref.project).logs(ref.job_id), 0, -1) == ["epoch 1", "epoch 2"]


class Obedient(Trainer):
    """A process that writes ``stopped`` when SIGTERM comes, and then ends."""

    def __init__(self) -> None:
        self.log_descriptor = 1
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", "trap 'echo stopped; exit 75' TERM; echo ready; while :; do sleep 0.05; done"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.process.stdout.readline()


class Away(Claim):
    """A claim whose Redis does not answer."""

    def renew(self, lease_seconds: float) -> bool:
        del lease_seconds
        raise RedisConnectionError

    def look(self) -> tuple[JobState, bool]:
        raise RedisConnectionError


def test_a_trainer_is_stopped_with_its_worker_though_redis_is_away(redis: Redis, submit: Callable[..., JobRef]) -> None:
    """Or it would train on until it is killed, and what it learnt since its last checkpoint be lost."""
    trainer = Obedient()
    claim = Away(redis, submit(), "token", 1)
    supervision = supervisor._Supervision(claim, trainer, WorkerSettings(), Spare(wanted=False), lambda: True)
    with trainer.process as process:
        assert supervision._watch() == STOPPED
        assert process.stdout is not None
        assert process.stdout.read() == b"stopped\n"
