"""The usual learner: one loss, one optimiser. Families with more of either bring their own."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from models.contract.training import GradientTraining, Plan
from models.family import BatchT, Learner, Metrics, SingleLoss, State
from models.optimization import clip_gradient, learning_rate, make_optimizer, take_step, weights

Batch_contra = TypeVar("Batch_contra", contravariant=True)


def continue_noise(generator: torch.Generator, state: Tensor) -> None:
    """Let ``generator`` draw on from ``state``, which a checkpoint holds.

    One that was written on another kind of device, a GPU or the CPU, says nothing to it: then its noise is its own.
    """
    if len(state) == len(generator.get_state()):
        generator.set_state(state)


class Gradients(Protocol[Batch_contra]):
    """How losses, gradients and steps are computed: in which precision, and by one process or several together."""

    def losses(self, batch: Batch_contra) -> dict[str, Tensor]:
        """Return the family's losses of ``batch``."""
        ...

    def backward(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Leave in the parameters of ``optimizer`` the gradient of ``loss``, unscaled."""
        ...

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Let ``optimizer`` take its step."""
        ...

    def state(self) -> State:
        """Return what is carried between steps."""
        ...

    def restore(self, state: State) -> None:
        """Continue from what :meth:`state` returned."""
        ...


class PlainGradients(Generic[BatchT]):
    """What torch does when nothing else is asked for: one process, one device, the parameters' own precision."""

    def __init__(self, family: SingleLoss[Any, BatchT], module: nn.Module) -> None:
        """Keep whose losses they are."""
        self._family = family
        self._module = module

    def losses(self, batch: BatchT) -> dict[str, Tensor]:
        """Return the family's losses of ``batch``."""
        return self._family.losses(self._module, batch)

    def backward(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Add the gradient of ``loss`` to what the parameters have."""
        del optimizer
        cast("Any", loss).backward()

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Let ``optimizer`` take its step."""
        take_step(optimizer)

    def state(self) -> State:
        """Return an empty state: nothing is carried between steps."""
        return {}

    def restore(self, state: State) -> None:
        """Return: there is nothing to restore."""


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
        self._gradients: Gradients[BatchT] = PlainGradients(family, module)
        self._step = 0

    def compute_with(self, gradients: Gradients[BatchT]) -> None:
        """Compute losses, gradients and steps in another way from now on."""
        self._gradients = gradients

    def draw_from(self, noise: Tensor) -> None:
        """Draw the module's noise from here on as a generator in the state ``noise`` does."""
        continue_noise(self._generator, noise)

    def step(self, batch: BatchT) -> Metrics:
        """Take one step and return the batch's losses as they were before it (penalties not included)."""
        self._module.train()
        rate = learning_rate(self._options, self._step, self._steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        losses = self._gradients.losses(batch)
        self._gradients.backward(losses["loss"], self._optimizer)
        if self._options.l1 > 0:
            self._add_l1()
        if self._options.gradient_clip is not None:
            clip_gradient(self._module.parameters(), self._options.gradient_clip)
        self._gradients.step(self._optimizer)
        self._family.constrain(self._module)
        self._step += 1
        return {name: value.detach() for name, value in losses.items()}

    def state(self) -> State:
        """Return parameters, optimiser, step, noise generator, and what the gradients carry."""
        return {
            "module": self._module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self._step,
            "generator": self._generator.get_state(),
            "gradients": self._gradients.state(),
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
        continue_noise(self._generator, saved["generator"])
        self._gradients.restore(saved.get("gradients", {}))

    def _groups(self) -> list[dict[str, Any]]:
        return self._optimizer.param_groups

    def _add_l1(self) -> None:
        """Add the (sub)gradient of l1 Σ |w|: l1 sign(w) (Goodfellow Eq. 7.20)."""
        for parameter in self._weights:
            if parameter.grad is not None:
                parameter.grad.add_(parameter.detach().sign(), alpha=self._options.l1)
