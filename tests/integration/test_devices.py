"""Jobs on several devices, here processes on the CPU: through the real gateway, queue, worker and trainer."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from app.client import Job
from models.contract.jobs import JobState
from processes import processes_with
from waiting import wait_for, wait_until

if TYPE_CHECKING:
    from integration.conftest import StackClient

LONG: dict[str, Any] = {"devices": 2, "epochs": 50_000, "batch_size": 16}


def submit(stack: StackClient, model: str, family: str = "mlp", **training: Any) -> Job:
    body = {"family": family, "dataset": "digits", "model": model, "training": {"device": "cpu", **training}}
    return stack.submit(body | ({"config": {"hidden_sizes": [32]}} if family == "mlp" else {}))


def processes(stack: StackClient, module: str) -> list[int]:
    """Return the process ids of this stack's processes that run ``module``."""
    return [*processes_with(f"-m {module} ", str(stack.home))]


@pytest.mark.slow
def test_two_devices_learn_what_one_with_the_doubled_batch_does(stack: StackClient) -> None:
    jobs = [
        submit(stack, "two", epochs=4, batch_size=64, devices=2),
        submit(stack, "one", epochs=4, batch_size=128),
    ]
    assert [wait_for(stack, job.id).state for job in jobs] == [JobState.SUCCEEDED] * 2
    cards = [stack.version(name, 1).sent() for name in ("two", "one")]
    assert cards[0]["curves"] == [pytest.approx(point, rel=1e-5) for point in cards[1]["curves"]]
    assert "training on 2 × cpu" in stack.logs(jobs[0].id)
    assert processes(stack, "workers.parallel.replica") == []


@pytest.mark.slow
def test_a_job_goes_on_after_any_of_its_processes_is_killed_and_after_it_was_cancelled(stack: StackClient) -> None:
    job = submit(stack, "killed_devices", **LONG)

    def started(times: int) -> bool:
        return stack.logs(job.id).count(" on 2 × cpu with ") == times

    wait_until(lambda: started(1))
    (replica,) = processes(stack, "workers.parallel.replica")
    os.kill(replica, signal.SIGKILL)
    wait_until(lambda: started(2))
    assert "train together was ended by signal 9 (SIGKILL)" in stack.logs(job.id)
    (trainer,), (replica,) = processes(stack, "workers.trainer"), processes(stack, "workers.parallel.replica")
    os.kill(trainer, signal.SIGKILL)
    wait_until(lambda: replica not in processes(stack, "workers.parallel.replica"))
    wait_until(lambda: started(3))
    began = time.monotonic()
    stack.cancel(job.id)
    cancelled = wait_for(stack, job.id)
    assert (cancelled.state, time.monotonic() - began < 1.0) == (JobState.CANCELLED, True)
    resumed = stack.resume(job.id, {"epochs": cancelled.progress.epoch + 2})
    assert wait_for(stack, resumed.id).state is JobState.SUCCEEDED


def test_a_family_whose_learner_uses_one_device_says_so(stack: StackClient) -> None:
    job = wait_for(stack, submit(stack, "bagged_devices", "bagged", epochs=1, devices=2).id)
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.errors[0]["pointer"] == "/training/devices"
