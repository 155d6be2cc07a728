"""Dropout (Srivastava et al. 2014) that draws from its own generator, so that a training can be resumed bit for bit."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """Inverted dropout: in training each unit is kept with probability 1 − rate and divided by it; else identity.

    Dividing in training is the same as multiplying the outgoing weights by the keep probability at test
    time, the weight scaling of §10 of the paper.
    """

    def __init__(self, rate: float, generator: torch.Generator) -> None:
        """Keep the rate in [0, 1) and the generator of the masks."""
        super().__init__()
        self.rate = rate
        self._generator = generator

    def forward(self, activations: Tensor) -> Tensor:
        """Return ``activations`` with a random share of entries zeroed, any shape."""
        if not self.training or self.rate == 0:
            return activations
        keep = 1 - self.rate
        mask = torch.empty_like(activations).bernoulli_(keep, generator=self._generator).div_(keep)
        return activations * mask
