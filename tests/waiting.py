"""Waiting for a job of the running stack, or for anything else."""

from __future__ import annotations

import time
from collections.abc import Callable

from app.client import Client, Job

DEADLINE_SECONDS = 90.0
POLL_SECONDS = 0.05


def ended(job: Job) -> bool:
    """Return whether the job can never change again."""
    return job.state.final


def wait_until(reached: Callable[[], object], seconds: float = DEADLINE_SECONDS) -> None:
    """Return as soon as ``reached`` says so; fails when that takes too long."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)


def wait_for(stack: Client, job_id: str, reached: Callable[[Job], bool] = ended) -> Job:
    """Return the job as soon as ``reached`` says so; fails when it ends otherwise or takes too long."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        job = stack.job(job_id)
        if reached(job):
            return job
        if job.state.final:
            break
        time.sleep(POLL_SECONDS)
    message = f"job {job_id} did not get there: {stack.job(job_id).sent()}\n{stack.logs(job_id)}"
    raise AssertionError(message)
