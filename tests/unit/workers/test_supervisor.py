"""What a supervisor does with the output of its trainer."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import pytest
from redis import Redis

from models.contract.jobs import JobKeys
from workers import supervisor
from workers.claims import Claim, JobRef
from workers.logs import configure


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
