"""A fully connected layer whose initial weights come from the generator it is given."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import nn


def linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """Return a layer drawn from U(−1/√inputs, 1/√inputs), weights and biases, on the generator's device."""
    layer = cast("nn.Linear", nn.utils.skip_init(nn.Linear, inputs, outputs, device=generator.device))
    bound = 1 / math.sqrt(inputs)
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    return layer
