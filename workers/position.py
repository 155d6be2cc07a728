"""Where a training is: what its checkpoint carries, and what the clock says. Only ``training.py`` uses it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from models.contract.jobs import Progress
from models.contract.training import Plan


@dataclass
class Position:
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
    first_loss: float | None = None
    exploded_steps: int = 0


class Pace:
    """Step count, time used, estimate of the time left, and what is due by the clock."""

    def __init__(self, clock: Callable[[], float], plan: Plan, max_seconds: float | None, position: Position) -> None:
        """Start the clock at ``position``; ``max_seconds`` is what all attempts have together, None no limit."""
        self.step = position.epoch * plan.steps_per_epoch + position.batch
        self.over = False
        self._plan = plan
        self._limit = math.inf if max_seconds is None else max_seconds
        self._used_before = position.elapsed_seconds
        self._clock = clock
        self._start = (clock(), self.step)
        self._last: dict[str, float] = {}
        self._watch(position)

    def take(self, position: Position) -> None:
        """Count a step and the time that it took, in the position as well."""
        self.step += 1
        self._watch(position)

    @property
    def first(self) -> bool:
        """Whether one step was taken since the clock started, the one that whoever waits wants to hear of at once."""
        return self.step == self._start[1] + 1

    def due(self, seconds: float, what: str) -> bool:
        """Return whether ``seconds`` have passed since this was last due."""
        moment = self._clock()
        if moment - self._last.setdefault(what, self._start[0]) < seconds:
            return False
        self._last[what] = moment
        return True

    def progress(self, position: Position) -> Progress:
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

    def _watch(self, position: Position) -> None:
        position.elapsed_seconds = self._used_before + self._clock() - self._start[0]
        self.over = position.elapsed_seconds >= self._limit
