"""The training loop: epochs, batches, validation, early stopping, checkpoints. Imports no queue.

Epoch e visits the examples in the order drawn from (seed, e) alone, so a run continued from a checkpoint in
mid-epoch ends with the same parameters, bit for bit, as one that was never interrupted.

A run whose ``max_seconds`` are over ends between two steps. Its parameters are those of the last step, or the best so
far with early stopping. The epoch that it was in is left out of the curves, unless it was the first: then its part is
the one point, at the share of the epoch that was done. The checkpoint stands in mid-epoch all the same.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import torch
from torch import nn

from models.contract.errors import TrainingDiverged
from models.contract.jobs import Progress
from models.contract.training import EarlyStopping, Ended, Plan, TrainingOptions
from models.family import Examples, Family, Learner, State

REPORT_SECONDS = 0.25
EPOCH_SEED_STRIDE = 1_000_003


class Observer(Protocol):
    """Who is told how the training goes."""

    def progress(self, progress: Progress) -> None:
        """Hear where the training is, a few times a second."""

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Hear the metrics of a finished epoch, counted from 1."""

    def checkpoint(self, state: State, step: int) -> None:
        """Keep the state, from which the training can continue."""


@dataclass(frozen=True)
class Run:
    """All that one training needs."""

    family: Family[Any, Any]
    module: nn.Module
    learner: Learner[Any]
    train: Examples[Any]
    validation: Examples[Any] | None
    options: TrainingOptions
    plan: Plan
    device: torch.device


@dataclass
class _Position:
    """Where the loop is; all of it goes into the checkpoint."""

    epoch: int = 0
    batch: int = 0
    sums: dict[str, float] = field(default_factory=dict[str, float])
    seen: int = 0
    curves: list[dict[str, float]] = field(default_factory=list[dict[str, float]])
    best_loss: float = math.inf
    best_module: dict[str, Any] | None = None
    epochs_since_best: int = 0
    elapsed_seconds: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """How the training ended: why, None when it was stopped on the way, and one point per epoch."""

    ended: Ended | None
    curves: list[dict[str, float]]

    @property
    def finished(self) -> bool:
        """Whether there is a model to export."""
        return self.ended is not None


def prepare(family: Family[Any, Any], options: TrainingOptions, splits: Mapping[str, Any], device: torch.device) -> Run:
    """Return a run with a fresh module and learner, everything drawn from the options' seed."""
    generator = torch.Generator(device).manual_seed(options.seed)
    module = family.build(generator)
    train = family.examples(splits["train"], device)
    plan = options.plan(len(train))
    validation = family.examples(splits["validation"], device) if "validation" in splits else None
    learner = family.learner(module, options, plan, generator)
    return Run(family, module, learner, train, validation, options, plan, device)


def handed_over(state: State) -> State:
    """Return a job's state as a new job begins with it: nothing of the old one's patience or time is used up."""
    saved = cast("dict[str, Any]", state)
    return {**saved, "position": {**saved["position"], "epochs_since_best": 0, "elapsed_seconds": 0.0}}


def train(
    run: Run,
    observer: Observer,
    *,
    resume: State | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    checkpoint_seconds: float = math.inf,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Train to the end of the plan or until another rule or ``should_stop`` ends it; each way writes a checkpoint.

    Raises:
        TrainingDiverged: a metric is not finite; names the step and what to change.
    """
    position = _restore(run, resume) if resume is not None else _Position()
    pace = _Pace(clock, run, position)
    if resume is not None:
        observer.progress(pace.progress(position))
    ended = _ended(run, position, pace)
    while ended is None:
        generator = torch.Generator().manual_seed((run.options.seed * EPOCH_SEED_STRIDE + position.epoch) % 2**63)
        batches = run.train.batches(run.plan.batch_size, generator)
        while position.batch < len(batches) and ended is None:
            if should_stop():
                observer.checkpoint(_state(run, position), pace.step)
                return Outcome(None, position.curves)
            _learn(run, position, batches[position.batch], pace.step)
            pace.take(position)
            if pace.due(REPORT_SECONDS, "report"):
                observer.progress(pace.progress(position))
            if pace.due(checkpoint_seconds, "checkpoint"):
                observer.checkpoint(_state(run, position), pace.step)
            ended = "max_seconds" if pace.over and position.batch < len(batches) else None
        if ended is None:
            _end_epoch(run, position, pace.step)
            observer.epoch(position.epoch, position.curves[-1])
            ended = _ended(run, position, pace)
        observer.progress(pace.progress(position))
    observer.checkpoint(_state(run, position), pace.step)
    # A job resumed without early stopping still carries the best parameters of the one before; they are not its own.
    if position.best_module is not None and _early_stopping(run.options) is not None:
        run.module.load_state_dict(position.best_module)
    return Outcome(ended, position.curves or [_part_of_epoch(run, position)])


def _ended(run: Run, position: _Position, pace: _Pace) -> Ended | None:
    """Return why no further step is to be taken, None when one is; a job of another attempt may be over already."""
    if position.epoch >= run.plan.epochs:
        return "plan"
    if _stopped_early(run.options, position):
        return "early_stopping"
    return "max_seconds" if pace.over and pace.step > 0 else None


def _learn(run: Run, position: _Position, indices: torch.Tensor, step: int) -> None:
    metrics = {name: float(value) for name, value in run.learner.step(run.train.take(indices)).items()}
    _check_finite(run.options, metrics, step + 1)
    for name, value in metrics.items():
        position.sums[name] = position.sums.get(name, 0.0) + value * len(indices)
    position.seen += len(indices)
    position.batch += 1


def _end_epoch(run: Run, position: _Position, step: int) -> None:
    """Close the epoch: means, validation, and whether it was the best so far."""
    point = _point(run, position)
    _check_finite(run.options, point, step)
    position.epoch += 1
    position.curves.append({"epoch": float(position.epoch), **point})
    position.batch, position.seen, position.sums = 0, 0, {}
    if _early_stopping(run.options) is None:
        return
    loss = point.get("validation_loss", math.inf)
    if loss < position.best_loss:
        position.best_loss, position.epochs_since_best = loss, 0
        position.best_module = copy.deepcopy(run.module.state_dict())
    else:
        position.epochs_since_best += 1


def _point(run: Run, position: _Position) -> dict[str, float]:
    """Return the means of the epoch so far and the scores on the validation split."""
    point = {name: total / position.seen for name, total in position.sums.items()}
    if run.validation is not None:
        scores = run.family.evaluate(run.module, run.validation)
        point |= {f"validation_{name}": value for name, value in scores.items()}
    return point


def _part_of_epoch(run: Run, position: _Position) -> dict[str, float]:
    """Return the point of a run that ended within its first epoch."""
    point = _point(run, position)
    _check_finite(run.options, point, position.batch)
    return {"epoch": position.batch / run.plan.steps_per_epoch, **point}


def _early_stopping(options: TrainingOptions) -> EarlyStopping | None:
    return cast("EarlyStopping | None", getattr(options, "early_stopping", None))


def _stopped_early(options: TrainingOptions, position: _Position) -> bool:
    rule = _early_stopping(options)
    return rule is not None and position.epochs_since_best >= rule.patience


def _check_finite(options: TrainingOptions, metrics: Mapping[str, float], step: int) -> None:
    wrong = next(((name, value) for name, value in metrics.items() if not math.isfinite(value)), None)
    if wrong is None:
        return
    rate = getattr(options, "learning_rate", None)
    remedy = f"lower training.learning_rate (now {rate}) or set training.gradient_clip" if rate else "scale the data"
    message = f"{wrong[0]} became {wrong[1]} at step {step}; {remedy}."
    raise TrainingDiverged(message)


def _state(run: Run, position: _Position) -> State:
    return {"learner": run.learner.state(), "position": vars(position), "threads": torch.get_num_threads()}


def _restore(run: Run, state: State) -> _Position:
    saved = cast("dict[str, Any]", state)
    run.learner.restore(saved["learner"])
    torch.set_num_threads(saved["threads"])
    return _Position(**copy.deepcopy(saved["position"]))


class _Pace:
    """Step count, time used, estimate of the time left, and what is due by the clock."""

    def __init__(self, clock: Callable[[], float], run: Run, position: _Position) -> None:
        self.step = position.epoch * run.plan.steps_per_epoch + position.batch
        self.over = False
        self._plan = run.plan
        self._limit = math.inf if run.options.max_seconds is None else run.options.max_seconds
        self._used_before = position.elapsed_seconds
        self._clock = clock
        self._start = (clock(), self.step)
        self._last: dict[str, float] = {}
        self._watch(position)

    def take(self, position: _Position) -> None:
        """Count a step and the time that it took, in the position as well."""
        self.step += 1
        self._watch(position)

    def due(self, seconds: float, what: str) -> bool:
        """Return whether ``seconds`` have passed since this was last due."""
        moment = self._clock()
        if moment - self._last.setdefault(what, self._start[0]) < seconds:
            return False
        self._last[what] = moment
        return True

    def progress(self, position: _Position) -> Progress:
        """Return where the loop is: the running means of this epoch, or the last epoch's point at its end."""
        elapsed, done = self._clock() - self._start[0], self.step - self._start[1]
        left = (
            min(elapsed / done * (self._plan.steps - self.step), max(self._limit - position.elapsed_seconds, 0.0))
            if done
            else None
        )
        means = {name: total / position.seen for name, total in position.sums.items()}
        newest = position.curves[-1] if position.curves else {}
        metrics = means or {key: value for key, value in newest.items() if key != "epoch"}
        return Progress(
            epoch=position.epoch,
            epochs=self._plan.epochs,
            step=self.step,
            steps=self._plan.steps,
            eta_seconds=left,
            metrics=metrics,
        )

    def _watch(self, position: _Position) -> None:
        position.elapsed_seconds = self._used_before + self._clock() - self._start[0]
        self.over = position.elapsed_seconds >= self._limit
