"""How a gradient fares on its way back through time: its norm at every step, for layers of any cell.

Bengio, Simard, Frasconi (1994); Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks"
(ICML 2013), §2. Called by benchmarks and tests; nothing is trained here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.nn.recurrent import RecurrentLayer, State


def gradient_norms(layer: RecurrentLayer, inputs: Tensor, direction: Tensor) -> Tensor:
    """Return ‖∂L/∂s_t‖ for t = 0 … time, where L is the last hidden state along ``direction``.

    The state s_t is all that the layer carries: the hidden units, and the memory cell where there is one. Taken in mean
    over the batch.

    Args:
        layer: one direction of any cell.
        inputs: (batch, time, inputs).
        direction: (hidden,), a vector of norm 1.

    Returns:
        (time + 1,), the first of them before the first step.
    """
    states: list[State] = [tuple(part.clone().requires_grad_() for part in layer.start(len(inputs)))]
    for time in range(inputs.shape[1]):
        states.append(layer.step(inputs[:, time], states[-1]))
    loss = (states[-1][0] * direction).sum()
    parts = [part for state in states for part in state]
    found = torch.autograd.grad(loss, parts, materialize_grads=True)
    width = len(states[0])
    squares = torch.stack([part.square().sum(dim=1) for part in found])  # (parts of all states, batch)
    return squares.view(-1, width, len(inputs)).sum(dim=1).sqrt().mean(dim=1)
