"""Both networks of fully connected layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.nn.dropout import Dropout
from models.nn.linear import linear

SLOPE = 0.2
"""Of the discriminator's leaky rectified units below zero."""


class Generator(nn.Module):
    """Rectified layers and a sigmoid: latents to images."""

    def __init__(
        self, latent: int, hidden_sizes: Sequence[int], shape: tuple[int, ...], generator: torch.Generator
    ) -> None:
        """Draw the weights."""
        super().__init__()
        layers: list[nn.Module] = []
        width = latent
        for units in hidden_sizes:
            layers += [linear(width, units, generator), nn.ReLU()]
            width = units
        self.layers = nn.Sequential(*layers, linear(width, math.prod(shape), generator))
        self._shape = shape

    def forward(self, latents: Tensor) -> Tensor:
        """Return images (batch, height, width[, channels]) in [0, 1] of ``latents`` (batch, size)."""
        return self.layers(latents).sigmoid().unflatten(1, self._shape)


def trunk(inputs: int, hidden_sizes: Sequence[int], dropout: float, generator: torch.Generator) -> nn.Sequential:
    """Return the discriminator without its last layer: leaky rectified units, dropout behind each layer."""
    layers: list[nn.Module] = [nn.Flatten()]
    width = inputs
    for units in hidden_sizes:
        layers += [linear(width, units, generator), nn.LeakyReLU(SLOPE)]
        if dropout > 0:
            layers.append(Dropout(dropout, generator))
        width = units
    return nn.Sequential(*layers)
