"""Truncated backpropagation through time: gradients go back one window, the state goes on to the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from models.contract.training import GradientTraining, Plan
from models.family import Metrics, SingleLoss, State
from models.language.recurrent_lm.streams import Windows
from models.learners import GradientLearner


class CarryingLearner(GradientLearner[Windows]):
    """Steps whose windows go on from the state behind the window before, where that was in the last step.

    The losses of the family give that state as ``next_state`` (streams, state).
    """

    def __init__(
        self,
        family: SingleLoss[Any, Windows],
        module: nn.Module,
        options: GradientTraining,
        plan: Plan,
        generator: torch.Generator,
    ) -> None:
        """Begin with nothing carried."""
        super().__init__(family, module, options, plan, generator)
        self._numbers = torch.zeros(0, dtype=torch.int64)
        self._carried = torch.zeros(0, 0)

    def step(self, batch: Windows) -> Metrics:
        """Take a step; see :class:`models.learners.GradientLearner`."""
        metrics = dict(super().step(replace(batch, state=self._state_before(batch.numbers))))
        self._numbers, self._carried = batch.numbers, cast("Tensor", metrics.pop("next_state"))
        return metrics

    def state(self) -> State:
        """Return what is carried in addition."""
        return {**super().state(), "numbers": self._numbers, "carried": self._carried}

    def restore(self, state: State) -> None:
        """Continue from ``state``."""
        super().restore(state)
        saved = cast("dict[str, Any]", state)
        self._numbers, self._carried = saved["numbers"], saved["carried"]

    def _state_before(self, numbers: Tensor) -> Tensor | None:
        """Return the state (streams, state) before each window, zeros where the one before was not in the last step."""
        if not len(self._numbers):
            return None
        follows = numbers.unsqueeze(1) == self._numbers.unsqueeze(0) + 1  # (streams, streams of the last step)
        return self._carried[follows.int().argmax(dim=1)] * follows.any(dim=1).unsqueeze(1)
