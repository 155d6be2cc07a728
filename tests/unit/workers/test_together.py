"""Processes that train together are one with the larger batch, and none outlives or outwaits the others."""

from __future__ import annotations

import itertools
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from models.artifacts.datasets import Datasets
from models.artifacts.store import ArtifactStore
from models.catalog import Catalog
from models.contract.jobs import JobRequest
from models.family import State
from newest_checkpoint import NewestCheckpoint
from workers.assembly import Assembly
from workers.devices import equipped
from workers.parallel.replicas import Replicas
from workers.settings import WorkerSettings
from workers.training import Outcome, Run, train

NOISY = {"dropout": 0.5, "dropout_input": 0.2}
LIMIT_SECONDS = 60.0


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerSettings]:
    """Settings that the other processes read from the environment; torch gets its own back afterwards."""
    monkeypatch.setenv("LECTERN_STORE_URL", tmp_path.as_uri())
    monkeypatch.setenv("LECTERN_TRAINER_THREADS", "2")
    monkeypatch.setenv("TORCH_CPP_LOG_LEVEL", "ERROR")
    before = torch.get_num_threads()
    yield WorkerSettings()
    torch.set_num_threads(before)
    torch.set_flush_denormal(False)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def request(settings: WorkerSettings, config: Mapping[str, object], training: Mapping[str, object]) -> JobRequest:
    """Return a job on the built-in digits."""
    record = Datasets(ArtifactStore(settings.store_url), Catalog()).record("digits")
    fields = {
        "family": "mlp",
        "dataset": "digits",
        "model": "m",
        "config": {"hidden_sizes": [16], **config},
        "training": {"epochs": 2, "device": "cpu", "learning_rate": 0.01, **training},
        "project": "default",
        "dataset_digest": record.digest,
    }
    return JobRequest.model_validate(fields)


def trained(
    settings: WorkerSettings,
    config: Mapping[str, object] | None = None,
    *,
    notes: NewestCheckpoint | None = None,
    resume: State | None = None,
    should_stop: Callable[[Replicas | None], bool] = lambda _: False,
    lost: Callable[[str], None] = print,
    **training: object,
) -> tuple[Run, Outcome]:
    """Train as a trainer does, with as many processes as the options ask for."""
    asked = request(settings, config or {}, training)
    assembly = Assembly.of(asked, settings)
    size = assembly.options.devices
    with Replicas(asked, size, lost) if size > 1 else nullcontext() as others:
        data = assembly.data(ArtifactStore(settings.store_url))
        run = assembly.run(data, data.content.splits)
        if others is not None:
            others.meeting.join(run.device, 0)
        run, together = equipped(run)
        outcome = train(run, notes or NewestCheckpoint(), resume=resume, should_stop=lambda: should_stop(others))
        if together is not None:
            together.end()
    return run, outcome


def same(one: Run, other: Run) -> bool:
    pairs = zip(one.module.state_dict().values(), other.module.state_dict().values(), strict=True)
    return all(torch.equal(first, second) for first, second in pairs)


@pytest.mark.parametrize(
    ("devices", "batch_size"),
    [(2, 64), pytest.param(3, 419, id="two-of-three-without-an-example", marks=pytest.mark.slow)],
)
def test_processes_together_are_one_with_the_larger_batch(
    settings: WorkerSettings, devices: int, batch_size: int
) -> None:
    options: dict[str, Any] = {"l1": 1e-4, "l2": 1e-3, "gradient_clip": 0.5}
    alone, wanted = trained(settings, batch_size=devices * batch_size, **options)
    together, found = trained(settings, batch_size=batch_size, devices=devices, **options)
    assert together.plan == alone.plan
    assert together.plan.examples % (devices * batch_size) in (106, 1)
    assert found.curves == [pytest.approx(point, rel=1e-5) for point in wanted.curves]
    assert wanted.curves[-1]["loss"] < 0.95 * wanted.curves[0]["loss"]
    for name, value in alone.module.state_dict().items():
        torch.testing.assert_close(together.module.state_dict()[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_processes_stopped_and_continued_end_bit_identical(settings: WorkerSettings) -> None:
    """In mid-epoch and with dropout, so that the noise of each process counts, through a checkpoint in bytes."""
    whole, wanted = trained(settings, NOISY, batch_size=64, devices=2)
    notes, asked = NewestCheckpoint(), itertools.count()
    _, first = trained(settings, NOISY, batch_size=64, devices=2, notes=notes, should_stop=lambda _: next(asked) == 4)
    assert first.ended is None
    learner = cast("dict[str, dict[str, list[torch.Tensor]]]", notes.state())["learner"]
    assert not torch.equal(*learner["noise"]), "each process draws noise of its own"
    continued, outcome = trained(settings, NOISY, batch_size=64, devices=2, resume=notes.state())
    assert outcome.curves == wanted.curves
    assert same(continued, whole)
    alone, _ = trained(settings, NOISY, batch_size=128)
    assert not same(alone, whole)


def test_a_process_that_dies_is_named_and_ends_the_others(settings: WorkerSettings) -> None:
    said: list[str] = []

    def kill_one(others: Replicas | None) -> bool:
        assert others is not None
        others.processes[0].kill()
        return False

    with pytest.raises(RuntimeError):  # the trainer proper has ended in ``lost`` by then
        trained(settings, devices=2, epochs=100_000, should_stop=kill_one, lost=said.append)
    assert said == ["Process 1 of the 2 (0 to 1) that train together was ended by signal 9 (SIGKILL)."]


STARTED = """
import sys, time
from models.contract.jobs import JobRequest
from workers.parallel.replicas import Replicas
others = Replicas(JobRequest.model_validate_json(sys.argv[1]), 2, print)
print("started", flush=True)
time.sleep(600)
"""


def test_a_trainer_that_is_killed_leaves_no_process_behind(settings: WorkerSettings) -> None:
    """Even where nobody kills its group; the output ends when the last that could write to it has ended."""
    arguments = [sys.executable, "-c", STARTED, request(settings, {}, {"devices": 2}).model_dump_json()]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as trainer:
        assert trainer.stdout is not None
        assert trainer.stdout.readline() == b"started\n"
        os.kill(trainer.pid, signal.SIGKILL)
        assert select.select([trainer.stdout], [], [], LIMIT_SECONDS)[0]
        assert trainer.stdout.read() == b""


def test_a_process_that_fails_says_why(settings: WorkerSettings) -> None:
    said: list[str] = []
    asked = request(settings, {}, {"devices": 2}).model_copy(update={"dataset": "digitz"})
    others = Replicas(asked, 2, said.append)
    others.processes[0].wait(LIMIT_SECONDS)
    others.__exit__(RuntimeError, RuntimeError(), None)
    (line,) = said
    assert line.startswith("Process 1 of the 2 (0 to 1) that train together failed: ")
    assert "digitz" in line
