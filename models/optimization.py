"""Optimisers and learning-rate schedules of the canon, over ``torch.optim``.

Rules and symbols follow Goodfellow, Bengio, Courville, "Deep Learning" (2016), chapters 7 and 8: momentum
(Alg. 8.2), Nesterov momentum (Alg. 8.3), AdaGrad (Alg. 8.4), RMSProp (Alg. 8.5), Adam (Alg. 8.7).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from models.contract.training import GradientTraining

DEFAULT_MOMENTUM = 0.9
SECOND_MOMENT_DECAY = 0.999
ROUNDING = 1e-6
"""Head-room under a norm limit, so that float32 rounding cannot lift a row above it."""

ONE_CYCLE_WARM_UP = 0.3
ONE_CYCLE_START_DIVISOR = 25.0
ONE_CYCLE_END_DIVISOR = 2.5e5

NEVER_COMPILED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
"""Methods that torch asks its compiler to leave alone, which loads the compiler for it."""


def weights(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that l1 and l2 act on: those with two axes or more. Biases are left out."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad and parameter.ndim > 1]


def make_optimizer(module: nn.Module, options: GradientTraining) -> torch.optim.Optimizer:
    """Return the optimiser; l2 enters as the gradient of (l2 / 2) Σ w² over weights (Goodfellow §7.1.1)."""
    _do_without_compiler()
    decayed = weights(module)
    chosen = {id(parameter) for parameter in decayed}
    others = [item for item in module.parameters() if item.requires_grad and id(item) not in chosen]
    groups = [
        {"params": decayed, "weight_decay": options.l2},
        {"params": others, "weight_decay": 0.0},
    ]
    rate = options.learning_rate
    momentum = DEFAULT_MOMENTUM if options.momentum is None else options.momentum
    match options.optimizer:
        case "sgd":
            return torch.optim.SGD(groups, lr=rate, momentum=options.momentum or 0.0, fused=True)
        case "momentum":
            return torch.optim.SGD(groups, lr=rate, momentum=momentum, fused=True)
        case "nesterov":
            return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=momentum > 0, fused=True)
        case "adagrad":
            return torch.optim.Adagrad(groups, lr=rate, fused=_on_cpu(module))
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=rate, momentum=options.momentum or 0.0)
        case "adam":
            return torch.optim.Adam(groups, lr=rate, fused=True)


def adam(parameters: Iterable[nn.Parameter], rate: float, first_moment_decay: float) -> torch.optim.Optimizer:
    """Return Adam at a constant ``rate``, for a learner with optimisers of its own."""
    _do_without_compiler()
    return torch.optim.Adam(list(parameters), lr=rate, betas=(first_moment_decay, SECOND_MOMENT_DECAY), fused=True)


def take_step(optimizer: torch.optim.Optimizer) -> None:
    """Let ``optimizer`` take its step, as ``optimizer.step()`` does, hooks excepted, and load no compiler for it."""
    with torch.no_grad():
        cast("Callable[[Any], None]", inspect.unwrap(type(optimizer).step))(optimizer)


def _do_without_compiler() -> None:
    """Let no optimiser load ``torch._dynamo``: two seconds before the first step, for what nobody compiles.

    torch 2.13 keeps on each of these methods what its compiler made of it; here that is the method itself.
    """
    for name in NEVER_COMPILED:
        method = inspect.unwrap(getattr(torch.optim.Optimizer, name))
        method.__dict__.setdefault("__dynamo_disable", method)


def learning_rate(options: GradientTraining, step: int, steps: int) -> float:
    """Return the learning rate of step k (from 0) of T.

    ``linear`` is (1 − k/T) η₀ + (k/T) η_T (the lecture's rule; Goodfellow Eq. 8.14), ``cosine`` is Loshchilov and
    Hutter (2017) Eq. 5 without restarts, ``one_cycle`` is Smith and Topin (2018): cosine from η₀/25 up to η₀
    over the first 30 % of the steps, then down to η₀/250,000.
    """
    peak, final = options.learning_rate, options.final_learning_rate
    fraction = min(step / max(steps, 1), 1.0)
    match options.schedule:
        case "constant":
            return peak
        case "linear":
            return (1 - fraction) * peak + fraction * final
        case "cosine":
            return _cosine(peak, final, fraction)
        case "one_cycle":
            if fraction < ONE_CYCLE_WARM_UP:
                return _cosine(peak / ONE_CYCLE_START_DIVISOR, peak, fraction / ONE_CYCLE_WARM_UP)
            return _cosine(peak, peak / ONE_CYCLE_END_DIVISOR, (fraction - ONE_CYCLE_WARM_UP) / (1 - ONE_CYCLE_WARM_UP))


def clip_gradient(parameters: Iterable[Tensor], largest_norm: float) -> None:
    """Scale the whole gradient g to g v / ‖g‖ when ‖g‖ > v: the direction is kept (Goodfellow Eq. 10.49)."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    scale = (largest_norm / norm.clamp_min(torch.finfo(norm.dtype).tiny)).clamp_max(1.0)
    for gradient in gradients:
        gradient.mul_(scale)


def limit_norms(weight: Tensor, largest_norm: float) -> None:
    """Scale each row of ``weight`` (units, inputs) whose norm exceeds c back to c (Srivastava et al. 2014, §5.1)."""
    with torch.no_grad():
        weight.copy_(torch.renorm(weight, p=2, dim=0, maxnorm=largest_norm * (1 - ROUNDING)))


def _cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2


def _on_cpu(module: nn.Module) -> bool:
    """Return whether fused AdaGrad can be used: torch has it for the CPU alone."""
    return all(parameter.device.type == "cpu" for parameter in module.parameters())
