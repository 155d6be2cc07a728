"""Jobs through the real gateway, queue, worker and trainer: queued, followed, cancelled, killed, resumed."""

from __future__ import annotations

import os
import signal
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from app.client import ClientError, Job
from models.artifacts.store import ArtifactStore
from models.artifacts.versions import Versions
from models.contract.jobs import JobState
from processes import processes_with
from waiting import wait_for

if TYPE_CHECKING:
    from integration.conftest import StackClient

LONG: dict[str, Any] = {"epochs": 5_000, "batch_size": 16}


def submit(stack: StackClient, model: str, **training: Any) -> Job:
    body = {
        "family": "mlp",
        "dataset": "digits",
        "model": model,
        "config": {"hidden_sizes": [32]},
        "training": training,
    }
    return stack.submit(body)


def training(job: Job) -> bool:
    return job.state is JobState.RUNNING and job.progress.step > 0


def kill_trainer(stack: StackClient) -> None:
    """Kill the trainer of this stack, whose worker is the only one with its home in the environment."""
    (found,) = processes_with("-m workers.trainer", str(stack.home))
    os.kill(found, signal.SIGKILL)


def test_two_jobs_queue_behind_one_worker_and_both_finish(stack: StackClient) -> None:
    jobs = [submit(stack, "queue", epochs=2, seed=seed) for seed in (0, 1)]
    last = wait_for(stack, jobs[1].id)
    first = stack.job(jobs[0].id)
    assert (first.state, last.state) == (JobState.SUCCEEDED, JobState.SUCCEEDED)
    assert {first.version, last.version} == {1, 2}
    assert str(first.finished) <= str(last.started)


def test_of_two_queued_jobs_of_different_tasks_under_one_name_the_first_has_it(stack: StackClient) -> None:
    first = submit(stack, "disputed", epochs=2)
    second = stack.submit({"family": "vae", "dataset": "digits", "model": "disputed", "training": {"epochs": 5_000}})
    lost = wait_for(stack, second.id)
    assert (stack.job(first.id).state, lost.state) == (JobState.SUCCEEDED, JobState.FAILED)
    assert lost.error is not None
    assert lost.error.code == "conflict"
    assert "submit a job with another model name" in str(lost.error.detail)


def test_a_job_whose_model_came_to_answer_another_task_while_it_trained_fails(stack: StackClient) -> None:
    versions = Versions(ArtifactStore((stack.home / "store").as_uri()))
    wait_for(stack, submit(stack, "contested", epochs=1).id)
    job = submit(stack, "contested", epochs=300)
    wait_for(stack, job.id, training)
    other = {"task": "generation", "job": "job_of_another_task"}
    versions.publish(versions.manifest("contested", 1).model_copy(update=other))
    failed = wait_for(stack, job.id)
    assert failed.error is not None
    assert (failed.state, failed.error.code) == (JobState.FAILED, "conflict")
    versions.delete("contested", 2)


@pytest.mark.slow
def test_a_free_worker_takes_the_job_of_the_highest_priority_first(stack: StackClient) -> None:
    """Those of equal priority in the order of their submission; what runs is not interrupted."""
    busy = submit(stack, "busy", **LONG)
    wait_for(stack, busy.id, training)
    body: dict[str, Any] = {"family": "mlp", "dataset": "digits", "training": {"epochs": 1}}
    priorities = ("low", "normal", "high", "high")
    jobs = [
        stack.submit(body | {"model": f"place-{place}", "priority": priority})
        for place, priority in enumerate(priorities)
    ]
    stack.cancel(busy.id)
    ended = [wait_for(stack, job.id) for job in jobs]
    assert sorted(range(4), key=lambda place: str(ended[place].started)) == [2, 3, 1, 0]


def test_events_go_on_after_the_last_one_seen_without_gap_or_repeat(stack: StackClient) -> None:
    job = submit(stack, "events", epochs=30)
    seen = list(islice(stack.events(job.id), 5))
    seen += stack.events(job.id, last_event_id=seen[-1].id)
    whole = list(stack.events(job.id))
    assert [event.id for event in seen] == [event.id for event in whole]
    assert len({event.id for event in whole}) == len(whole)
    states = [event.data["state"] for event in whole if event.event == "state"]
    assert states == ["queued", "running", "exporting", "succeeded"]
    assert [event.data["epoch"] for event in whole if event.event == "epoch"] == list(range(1, 31))
    steps = [event.data["step"] for event in whole if event.event == "progress"]
    assert steps == sorted(steps)
    assert "epoch 30: loss" in stack.logs(job.id)


def test_cancelling_takes_less_than_a_second_and_keeps_the_checkpoint(stack: StackClient) -> None:
    running, queued = submit(stack, "cancelled", **LONG), submit(stack, "cancelled", **LONG)
    wait_for(stack, running.id, training)
    for job in (queued, running):
        began = time.monotonic()
        stack.cancel(job.id)
        assert wait_for(stack, job.id).state is JobState.CANCELLED
        assert time.monotonic() - began < 1.0
        assert stack.cancel(job.id).state is JobState.CANCELLED
    done = stack.job(running.id).progress.epoch
    resumed = stack.resume(running.id, {"epochs": done + 2})
    assert resumed.resumed_from == running.id
    assert wait_for(stack, resumed.id).state is JobState.SUCCEEDED
    with pytest.raises(ClientError) as refused:
        stack.resume(queued.id, {"epochs": 2})
    assert refused.value.status == 409
    with pytest.raises(ClientError) as late:
        stack.cancel(resumed.id)
    assert (late.value.status, late.value.code) == (409, "job_finished")


def test_a_trainer_killed_is_started_again_from_its_checkpoint(stack: StackClient) -> None:
    job = submit(stack, "killed", epochs=80, batch_size=32)
    wait_for(stack, job.id, lambda job: training(job) and job.progress.epoch > 2)
    kill_trainer(stack)
    finished = wait_for(stack, job.id)
    assert (finished.state, finished.attempt) == (JobState.SUCCEEDED, 2)
    whole = submit(stack, "whole", epochs=80, batch_size=32)
    wait_for(stack, whole.id)
    cards = [stack.version(name, 1).sent() for name in ("killed", "whole")]
    assert cards[0]["curves"] == cards[1]["curves"]
    assert cards[0]["metrics"] == cards[1]["metrics"]


def test_a_job_that_stopped_early_goes_on_when_it_is_resumed(stack: StackClient) -> None:
    options: dict[str, Any] = {"learning_rate": 0.3, "schedule": "constant", "early_stopping": {"patience": 2}}
    first = wait_for(stack, submit(stack, "patient", epochs=60, **options).id)
    assert first.progress.epoch < 60
    resumed = wait_for(stack, stack.resume(first.id, {"epochs": 70}).id)
    assert (resumed.state, resumed.version) == (JobState.SUCCEEDED, 2)
    assert resumed.progress.epoch >= first.progress.epoch + 2


def test_a_job_whose_seconds_are_over_is_published_and_can_go_on(stack: StackClient) -> None:
    first = wait_for(stack, submit(stack, "hasty", epochs=100_000, max_seconds=1.0).id)
    assert first.state is JobState.SUCCEEDED
    assert stack.version("hasty", 1).sent()["ended"] == "max_seconds"
    assert "training.max_seconds (1 s) are over" in stack.logs(first.id)
    resumed = wait_for(stack, stack.resume(first.id, {"max_seconds": 2.0}).id)
    assert (resumed.state, resumed.version) == (JobState.SUCCEEDED, 2)
    assert resumed.progress.step > first.progress.step


def test_a_job_that_diverges_fails_with_its_reason(stack: StackClient) -> None:
    body = {
        "family": "mlp",
        "dataset": "digits",
        "model": "diverged",
        "config": {"activation": "leaky_relu"},
        "training": {"epochs": 50, "optimizer": "momentum", "learning_rate": 100.0, "schedule": "constant"},
    }
    job = wait_for(stack, stack.submit(body).id)
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.code == "training_diverged"
    assert "lower training.learning_rate" in str(job.error.detail)
    assert job.log is not None
    assert job.log[-1].startswith("training_diverged: ")
    with pytest.raises(ClientError) as missing:
        stack.model("diverged")
    assert missing.value.status == 404


def test_an_idempotency_key_gives_the_same_job_back(stack: StackClient) -> None:
    body = {"family": "mlp", "dataset": "digits", "model": "once", "training": {"epochs": 1}}
    first, again = stack.submit(body, "key-1"), stack.submit(body, "key-1")
    assert first.id == again.id
    with pytest.raises(ClientError) as other:
        stack.submit(body | {"model": "twice"}, "key-1")
    assert (other.value.status, other.value.code) == (409, "idempotency_mismatch")
    assert wait_for(stack, first.id).state is JobState.SUCCEEDED


def test_a_new_version_is_served_without_a_restart(stack: StackClient) -> None:
    image = stack.preview("digits", split="test", count=1)["items"][0]  # type: ignore[index]
    for version in (1, 2):
        wait_for(stack, submit(stack, "fresh", epochs=3, seed=version).id)
        answer = httpx.post(
            f"{stack.base_url}/v1/models/fresh/classify", json={"inputs": [{"image": image["image"]}]}, trust_env=False
        )
        assert answer.status_code == 200
        assert answer.json()["version"] == version
