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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, cast

import torch
from torch import nn

from models.contract.errors import TrainingDiverged
from models.contract.jobs import Progress
from models.contract.training import EarlyStopping, Ended, Plan, TrainingOptions
from models.data.kind import Content
from models.family import Examples, Family, Learner, State
from workers.position import Pace, Position

REPORT_SECONDS = 0.25
EPOCH_SEED_STRIDE = 1_000_003

EXPLOSION = 1_000.0
"""A ``loss`` this many times its first value, or this many nats where that is below one, has exploded.

No sound run comes near: a likelihood of images starts at hundreds of nats and falls, a classifier that is sure and
wrong pays some tens, and what has no metric ``loss``, such as two networks against one another, is left alone.
"""

EXPLODED_STEPS = 10
"""Steps in a row, or an epoch of fewer, that must be beyond it; an odd batch, or a leap that is taken back, is none."""


class Observer(Protocol):
    """Who is told how the training goes."""

    def progress(self, progress: Progress) -> None:
        """Hear where the training is, a few times a second."""

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Hear the metrics of a finished epoch, counted from 1."""

    def checkpoint(self, state: State, step: int) -> None:
        """Keep the state, from which the training can continue."""


class Team(Protocol):
    """Several processes that take each step together, seen from the first of them, which alone decides and reports."""

    def step(self, epoch: int, batch: int) -> Mapping[str, float]:
        """Take the step of this batch of this epoch; return its metrics over all examples."""
        ...

    def state(self) -> State:
        """Return the state of the learner and of everybody's noise."""
        ...

    def restore(self, state: State) -> None:
        """Let everybody continue from ``state``."""
        ...


@dataclass(frozen=True)
class Run:
    """All that one training needs; ``team`` only where several devices share it."""

    family: Family[Any, Any]
    module: nn.Module
    learner: Learner[Any]
    train: Examples[Any]
    validation: Examples[Any] | None
    options: TrainingOptions
    plan: Plan
    device: torch.device
    team: Team | None = None

    def batches(self, epoch: int) -> Sequence[torch.Tensor]:
        """Return the indices of each batch of an epoch, counted from 0."""
        generator = torch.Generator().manual_seed((self.options.seed * EPOCH_SEED_STRIDE + epoch) % 2**63)
        return self.train.batches(self.plan.batch_size, generator)


@dataclass(frozen=True)
class Outcome:
    """How the training ended: why, None when it was stopped on the way, and one point per epoch."""

    ended: Ended | None
    curves: list[dict[str, float]]

    @property
    def finished(self) -> bool:
        """Whether there is a model to export."""
        return self.ended is not None


def prepare(
    family: Family[Any, Any],
    options: TrainingOptions,
    splits: Mapping[str, Any],
    device: torch.device,
    further: Mapping[str, Content] = MappingProxyType({}),
) -> Run:
    """Return a run with a fresh module and learner, everything drawn from the options' seed."""
    family.study(splits["train"], further)
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
        TrainingDiverged: a metric is not finite, or the loss exploded; names the step and what to change.
    """
    position = _restore(run, resume) if resume is not None else Position()
    pace = Pace(clock, run.plan, run.options.max_seconds, position)
    if resume is not None:
        observer.progress(pace.progress(position))
    ended = _ended(run, position, pace)
    while ended is None:
        batches = run.batches(position.epoch)
        while position.batch < len(batches) and ended is None:
            if should_stop():
                observer.checkpoint(_state(run, position), pace.step)
                return Outcome(None, position.curves)
            _learn(run, position, batches[position.batch], pace.step)
            pace.take(position)
            if pace.due(REPORT_SECONDS, "report") or pace.first:
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


def _ended(run: Run, position: Position, pace: Pace) -> Ended | None:
    """Return why no further step is to be taken, None when one is; a job of another attempt may be over already."""
    if position.epoch >= run.plan.epochs:
        return "plan"
    if _stopped_early(run.options, position):
        return "early_stopping"
    return "max_seconds" if pace.over and pace.step > 0 else None


def _learn(run: Run, position: Position, indices: torch.Tensor, step: int) -> None:
    if run.team is not None:
        metrics = run.team.step(position.epoch, position.batch)
    else:
        metrics = {name: float(value) for name, value in run.learner.step(run.train.take(indices)).items()}
    _check_finite(run.options, metrics, step + 1)
    _check_explosion(run, position, metrics, step + 1)
    for name, value in metrics.items():
        position.sums[name] = position.sums.get(name, 0.0) + value * len(indices)
    position.seen += len(indices)
    position.batch += 1


def _end_epoch(run: Run, position: Position, step: int) -> None:
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


def _point(run: Run, position: Position) -> dict[str, float]:
    """Return the means of the epoch so far and the scores on the validation split."""
    point = {name: total / position.seen for name, total in position.sums.items()}
    if run.validation is not None:
        scores = run.family.evaluate(run.module, run.validation)
        point |= {f"validation_{name}": value for name, value in scores.items()}
    return point


def _part_of_epoch(run: Run, position: Position) -> dict[str, float]:
    """Return the point of a run that ended within its first epoch."""
    point = _point(run, position)
    _check_finite(run.options, point, position.batch)
    return {"epoch": position.batch / run.plan.steps_per_epoch, **point}


def _early_stopping(options: TrainingOptions) -> EarlyStopping | None:
    return cast("EarlyStopping | None", getattr(options, "early_stopping", None))


def _stopped_early(options: TrainingOptions, position: Position) -> bool:
    rule = _early_stopping(options)
    return rule is not None and position.epochs_since_best >= rule.patience


def _check_finite(options: TrainingOptions, metrics: Mapping[str, float], step: int) -> None:
    wrong = next(((name, value) for name, value in metrics.items() if not math.isfinite(value)), None)
    if wrong is None:
        return
    message = f"{wrong[0]} became {wrong[1]} at step {step}; {_remedy(options)}."
    raise TrainingDiverged(message)


def _check_explosion(run: Run, position: Position, metrics: Mapping[str, float], step: int) -> None:
    """Count the steps in a row whose ``loss`` is beyond all measure, and give up after enough of them."""
    loss = metrics.get("loss")
    if loss is None:
        return
    if position.first_loss is None:
        position.first_loss = loss
    exploded = loss > EXPLOSION * max(1.0, abs(position.first_loss))
    position.exploded_steps = position.exploded_steps + 1 if exploded else 0
    if position.exploded_steps >= min(EXPLODED_STEPS, run.plan.steps_per_epoch):
        rise = f"loss rose from {position.first_loss:.4g} to {loss:.4g} at step {step}"
        raise TrainingDiverged(f"{rise}; {_remedy(run.options)}.")


def _remedy(options: TrainingOptions) -> str:
    rate = getattr(options, "learning_rate", None)
    return f"lower training.learning_rate (now {rate}) or set training.gradient_clip" if rate else "scale the data"


def _state(run: Run, position: Position) -> State:
    learner = run.team or run.learner
    return {"learner": learner.state(), "position": vars(position), "threads": torch.get_num_threads()}


def _restore(run: Run, state: State) -> Position:
    saved = cast("dict[str, Any]", state)
    torch.set_num_threads(saved["threads"])
    (run.team or run.learner).restore(saved["learner"])
    return Position(**copy.deepcopy(saved["position"]))
