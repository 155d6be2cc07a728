"""One job from its request to its published version; the torch side of the trainer process."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, TypeVar

import torch
from redis.exceptions import RedisError

from models.artifacts.store import ArtifactStore
from models.artifacts.versions import Versions
from models.contract.errors import LeaseLost, TrainerCrashed, Unavailable
from models.contract.jobs import Progress
from models.family import State
from workers import loading
from workers.assembly import Assembly
from workers.checkpoints import Checkpoints
from workers.claims import Claim
from workers.devices import equipped
from workers.logs import say, warn
from workers.settings import WorkerSettings
from workers.stop import FAILED, Stop
from workers.training import Outcome, Run, train

if TYPE_CHECKING:
    from workers.parallel.replicas import Replicas

STORE_PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0)
"""How long a store that fails is waited for, half a minute in all: a network drops, somebody makes room on the disk."""

T = TypeVar("T")


def warm_up() -> None:
    """Load what exports need, and take a step of a small net as torch itself does: that loads the rest of it."""
    loading.complete()
    importlib.import_module("workers.publishing")
    module = torch.nn.Linear(8, 8)
    optimizer = torch.optim.Adam(module.parameters(), fused=True)
    module(torch.ones(2, 8)).square().sum().backward()
    optimizer.step()


def work(claim: Claim, settings: WorkerSettings, stop: Stop) -> bool:
    """Bring the job to its end; return whether it got there, False when it was stopped on the way.

    Raises:
        LecternError: the job fails, for the reason it says.
    """
    started = time.monotonic()
    request = claim.request()
    store = ArtifactStore(settings.store_url)
    versions = Versions(store, claim.ref.project)
    already = _patiently(lambda: versions.settle(request.model, claim.ref.job_id))
    if already is not None:
        claim.succeed(request.model, already)
        return True
    assembly = Assembly.of(request, settings)
    _patiently(lambda: versions.check_task(request.model, assembly.spec))
    with _others(assembly, claim) as others:
        data = _patiently(lambda: assembly.data(store))
        run = assembly.run(data, data.content.splits)
        if others is not None:
            others.meeting.join(run.device, 0)
        run, together = equipped(run)
        seconds = {"load": time.monotonic() - started}
        outcome = _train(run, claim, store, settings, stop)
        if together is not None:
            together.end()
    if not outcome.finished or stop():
        say("stopped; the checkpoint is kept")
        return False
    if outcome.ended == "max_seconds":
        say(f"training.max_seconds ({run.options.max_seconds:g} s) are over; what was learnt is published")
    seconds["train"] = time.monotonic() - started - seconds["load"]
    stop.can_save = False
    claim.exporting()
    marked = time.monotonic()
    loading.complete()
    task = assembly.catalog.task(assembly.spec.task)
    # What exports is loaded now, lest the first step waits for it.
    from workers.publishing import Finished, export, publish  # noqa: PLC0415 - as above

    finished = Finished(assembly.spec, task, request, data, run, outcome, seconds)
    exported = export(finished)
    seconds["export"] = time.monotonic() - marked
    if not claim.publishing():
        return False
    manifest = _patiently(lambda: publish(finished, exported, claim, versions))
    say(f"published {manifest.model} version {manifest.version}: {_summary(manifest.metrics)}")
    claim.succeed(request.model, manifest.version)
    return True


class _Reporter:
    """Tells the job's record how the training goes."""

    def __init__(self, claim: Claim, checkpoints: Checkpoints, run: Run) -> None:
        self._claim = claim
        self._checkpoints = checkpoints
        self._run = run

    def progress(self, progress: Progress) -> None:
        self._claim.progress(progress)

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self._claim.epoch(epoch, metrics)
        say(f"epoch {epoch}: " + ", ".join(f"{key} {value:.4f}" for key, value in metrics.items() if key != "epoch"))
        for remark in self._run.learner.remarks(metrics):
            warn(remark)

    def checkpoint(self, state: State, step: int) -> None:
        try:
            self._checkpoints.save(state, step)
        except Unavailable as error:  # the one before stays in force, and the training is worth more than a new one
            warn(f"no checkpoint at step {step}: {error.detail}")


def _patiently(action: Callable[[], T]) -> T:
    """Return what ``action`` returns, tried again for as long as the store fails and ``STORE_PAUSES_SECONDS`` last."""
    for pause in STORE_PAUSES_SECONDS:
        try:
            return action()
        except Unavailable as error:
            say(f"{error.detail.rstrip('.')}; trying again in {pause:.0f} s")
            time.sleep(pause)
    return action()


def _train(run: Run, claim: Claim, store: ArtifactStore, settings: WorkerSettings, stop: Stop) -> Outcome:
    checkpoints = Checkpoints(store, claim)
    resume = _patiently(lambda: checkpoints.load(run.device))
    parameters = sum(parameter.numel() for parameter in run.module.parameters())
    plan = run.plan
    devices = f"{run.options.devices} × {run.device.type}" if run.team is not None else str(run.device)
    say(f"{'resuming' if resume else 'training'} on {devices} with {torch.get_num_threads()} thread(s)")
    say(f"{parameters:,} parameters, {plan.steps:,} steps of {plan.batch_size} examples over {plan.epochs} epochs")
    stop.can_save = True
    return train(
        run,
        _Reporter(claim, checkpoints, run),
        resume=resume,
        should_stop=stop,
        checkpoint_seconds=settings.checkpoint_seconds,
    )


def _others(assembly: Assembly, claim: Claim) -> AbstractContextManager[Replicas | None]:
    """Start the processes that the job trains with beside this one, if any, as early as possible."""
    size = assembly.options.devices
    if size == 1:
        return nullcontext()
    from workers.parallel.replicas import Replicas  # noqa: PLC0415 - a plain job does without torch's half for several processes

    def lost(detail: str) -> None:
        # Another thread may wait for the lost process without end: the attempt ends here, and another may follow.
        say(detail)
        with suppress(LeaseLost, RedisError):
            claim.stumble(TrainerCrashed(detail))
        os._exit(FAILED)

    return Replicas(assembly.request, size, lost)


def _summary(metrics: Mapping[str, Mapping[str, float]]) -> str:
    return ", ".join(f"{split} {key} {value:.4f}" for split, scores in metrics.items() for key, value in scores.items())
