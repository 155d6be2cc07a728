"""The usual learner: one loss, one optimiser. Families with more of either bring their own."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from models.contract.training import GradientTraining, Plan
from models.family import BatchT, Learner, Metrics, SingleLoss, State
from models.optimization import clip_gradient, learning_rate, make_optimizer, weights


class GradientLearner(Learner[BatchT]):
    """Gradient steps on the loss of a :class:`SingleLoss` family, with its schedule, penalties and clipping."""

    def __init__(
        self,
        family: SingleLoss[Any, BatchT],
        module: nn.Module,
        options: GradientTraining,
        plan: Plan,
        generator: torch.Generator,
    ) -> None:
        """Make the optimiser; ``generator`` is what the module draws its noise from."""
        self._family = family
        self._module = module
        self._options = options
        self._steps = plan.steps
        self._generator = generator
        self._optimizer = make_optimizer(module, options)
        self._weights = weights(module)
        self._step = 0

    def step(self, batch: BatchT) -> Metrics:
        """Take one step and return the batch's losses as they were before it (penalties not included)."""
        self._module.train()
        rate = learning_rate(self._options, self._step, self._steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        losses = self._family.losses(self._module, batch)
        cast("Any", losses["loss"]).backward()
        if self._options.l1 > 0:
            self._add_l1()
        if self._options.gradient_clip is not None:
            clip_gradient(self._module.parameters(), self._options.gradient_clip)
        cast("Any", self._optimizer).step()
        self._family.constrain(self._module)
        self._step += 1
        return {name: value.detach() for name, value in losses.items()}

    def state(self) -> State:
        """Return parameters, optimiser, step and noise generator."""
        return {
            "module": self._module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self._step,
            "generator": self._generator.get_state(),
        }

    def restore(self, state: State) -> None:
        """Continue from ``state``, with the penalties and rates of these options rather than of those saved."""
        saved = cast("dict[str, Any]", state)
        self._module.load_state_dict(saved["module"])
        chosen = [{key: value for key, value in group.items() if key != "params"} for group in self._groups()]
        self._optimizer.load_state_dict(saved["optimizer"])
        for group, own in zip(self._groups(), chosen, strict=True):
            group.update(own)
        self._step = saved["step"]
        self._generator.set_state(saved["generator"])

    def _groups(self) -> list[dict[str, Any]]:
        return self._optimizer.param_groups

    def _add_l1(self) -> None:
        """Add the (sub)gradient of l1 Σ |w|: l1 sign(w) (Goodfellow Eq. 7.20)."""
        for parameter in self._weights:
            if parameter.grad is not None:
                parameter.grad.add_(parameter.detach().sign(), alpha=self._options.l1)
