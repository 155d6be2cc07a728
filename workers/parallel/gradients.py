"""Gradients through lightning-fabric: several devices, mixed precision, compiled steps.

Loaded only for jobs that ask for one of these (``workers/devices.py``): the import alone takes over a second, in which
a plain job trains. Knows nothing of jobs, and does not decide when a step is taken (``workers/parallel/together.py``).
"""

from __future__ import annotations

import logging
from typing import Any, Literal, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.precision import MixedPrecision
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn

from models.contract.training import GradientTraining
from models.family import SingleLoss, State
from workers import loading
from workers.training import Run


class FabricGradients:
    """Losses, gradients and steps of a family, computed as its training options say."""

    def __init__(self, run: Run, options: GradientTraining, rank: int) -> None:
        """Wrap the run's module as process ``rank`` of ``options.devices``, which are one process group already."""
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        self._fabric = _fabric(options, run.device, rank)
        self._fabric.launch()
        losses = _Losses(cast("SingleLoss[Any, Any]", run.family), run.module)
        if options.compile:
            loading.complete()
        compiled = cast("nn.Module", torch.compile(losses)) if options.compile else losses
        self._losses = self._fabric.setup_module(compiled)
        self.share = 1.0
        """Factor of the loss, so that the mean of the gradients over processes is that over examples."""

    def losses(self, batch: object) -> dict[str, Tensor]:
        """Return the family's losses of ``batch``."""
        return self._losses(_Batch(batch))

    def backward(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Leave in the parameters the gradient of ``loss``, averaged over the processes and unscaled."""
        self._fabric.backward(loss * self.share if self.share != 1.0 else loss)
        scaler = self._scaler()
        if scaler is not None:
            # Not through Fabric, which refuses fused optimisers; torch itself unscales for them once, here.
            scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Let ``optimizer`` take its step, unless half precision overflowed in this one."""
        self._fabric.strategy.optimizer_step(optimizer)

    def state(self) -> State:
        """Return the scale of the gradients, which half precision finds as it goes."""
        scaler = self._scaler()
        return {} if scaler is None else cast("State", scaler.state_dict())

    def restore(self, state: State) -> None:
        """Continue from ``state``; one of another precision says nothing about the scale."""
        scaler = self._scaler()
        if scaler is not None and state:
            scaler.load_state_dict(cast("dict[str, Any]", state))

    def _scaler(self) -> torch.amp.GradScaler | None:
        precision = self._fabric.strategy.precision
        return precision.scaler if isinstance(precision, MixedPrecision) else None


class _Batch:
    """A batch that Fabric and DDP hand on as it is: rounding inputs in their own scale to half precision loses them."""

    def __init__(self, content: object) -> None:
        self.content = content


class _Losses(nn.Module):
    """A family's losses as one forward pass, which is what can be wrapped, whatever parts the module has."""

    def __init__(self, family: SingleLoss[Any, Any], module: nn.Module) -> None:
        super().__init__()
        self._family = family
        self.module = module

    def forward(self, batch: _Batch) -> dict[str, Tensor]:
        return self._family.losses(self.module, batch.content)


class _OneMachine(LightningEnvironment):
    """Processes that were started by the first of them, each knowing its rank."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self._rank = rank

    @property
    def creates_processes_externally(self) -> bool:
        return True

    def local_rank(self) -> int:
        return self._rank

    def node_rank(self) -> int:
        return 0


def _fabric(options: GradientTraining, device: torch.device, rank: int) -> Fabric:
    accelerator = cast("Literal['cpu', 'cuda']", device.type)
    if options.devices == 1:
        return Fabric(accelerator=accelerator, devices=1, precision=options.precision)
    # A family may leave parameters out of a step, such as those of a tree's inner nodes when every tree is a leaf.
    strategy = DDPStrategy(cluster_environment=_OneMachine(rank), find_unused_parameters=True)
    return Fabric(accelerator=accelerator, devices=options.devices, strategy=strategy, precision=options.precision)
