"""Convolutional generator and discriminator by the guidelines of Radford, Metz, Chintala (2016), §3.

Strided convolutions in place of pooling, batch normalisation but for the generator's output and the discriminator's
input, ReLU and tanh in the generator, LeakyReLU in the discriminator, weights from N(0, 0.02²) (§4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from models.nn.convolution import BatchNorm
from models.nn.transposed import Doubling, Halving

DEVIATION = 0.02
SLOPE = 0.2
"""Of LeakyReLU below zero."""


class UnitNorm(BatchNorm):
    """Batch normalisation of units (batch, units)."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name in torch
        """Return ``input`` normalised per unit."""
        return super().forward(input[:, :, None, None])[:, :, 0, 0]


class ConvolutionalGenerator(nn.Module):
    """Fully connected layers, then maps that double in height and width as often as there are numbers of channels."""

    def __init__(
        self,
        latent: int,
        hidden_sizes: Sequence[int],
        channels: Sequence[int],
        shape: tuple[int, ...],
        generator: torch.Generator,
    ) -> None:
        """Draw the weights.

        Args:
            latent: size of a latent.
            hidden_sizes: units of the fully connected layers before the first maps.
            channels: of the first maps and those after each doubling but the last, which gives the image.
            shape: (height, width) or (height, width, channels) of the images.
            generator: source of the weights.
        """
        super().__init__()
        self._shape = shape
        sides = [-(-side // 2 ** len(channels)) for side in shape[:2]]
        layers: list[nn.Module] = []
        width = latent
        for units in hidden_sizes:
            layers += [dense(width, units, generator, bias=False), UnitNorm(units, device=generator.device), nn.ReLU()]
            width = units
        layers += [
            dense(width, channels[0] * math.prod(sides), generator, bias=False),
            nn.Unflatten(1, (channels[0], *sides)),
        ]
        for before, after in pairwise(channels):
            layers += [_normed(before, generator), Doubling(before, after, DEVIATION, generator, bias=False)]
        planes = shape[2] if len(shape) == 3 else 1
        layers += [_normed(channels[-1], generator), Doubling(channels[-1], planes, DEVIATION, generator, bias=True)]
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Tensor) -> Tensor:
        """Return images (batch, height, width[, channels]) in [0, 1]; what doubling made too much is cut off."""
        height, width = self._shape[:2]
        images = (self.layers(latents)[:, :, :height, :width].tanh() + 1) / 2
        return images.squeeze(1) if len(self._shape) == 2 else images.permute(0, 2, 3, 1)


class ConvolutionalTrunk(nn.Module):
    """Maps that halve in height and width, then fully connected layers: the features a discriminator reads."""

    def __init__(
        self,
        channels: Sequence[int],
        hidden_sizes: Sequence[int],
        shape: tuple[int, ...],
        generator: torch.Generator,
    ) -> None:
        """Draw the weights; ``width`` is then the number of features."""
        super().__init__()
        planes, sides = (shape[2] if len(shape) == 3 else 1), [side // 2 ** len(channels) for side in shape[:2]]
        layers: list[nn.Module] = [Halving(planes, channels[0], DEVIATION, generator, bias=True), nn.LeakyReLU(SLOPE)]
        for before, after in pairwise(channels):
            norm = BatchNorm(after, device=generator.device)
            layers += [Halving(before, after, DEVIATION, generator, bias=False), norm, nn.LeakyReLU(SLOPE)]
        layers.append(nn.Flatten())
        self.width = channels[-1] * math.prod(sides)
        for units in hidden_sizes:
            norm = UnitNorm(units, device=generator.device)
            layers += [dense(self.width, units, generator, bias=False), norm, nn.LeakyReLU(SLOPE)]
            self.width = units
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Return features (batch, width) of ``images`` (batch, height, width[, channels]) in [0, 1]."""
        planes = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
        return self.layers(planes * 2 - 1)


class Discriminator(nn.Module):
    """One logit on the features of a trunk."""

    def __init__(self, trunk: nn.Module, score: nn.Module) -> None:
        """Keep both."""
        super().__init__()
        self.trunk = trunk
        self.score = score

    def forward(self, examples: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (batch,) of being real, and the features (batch, units) that they are read from."""
        features = self.trunk(examples)
        return self.score(features).squeeze(1), features


def dense(inputs: int, outputs: int, generator: torch.Generator, *, bias: bool) -> nn.Linear:
    """Return a fully connected layer with weights from N(0, 0.02²) and biases of zero."""
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=bias, device=generator.device)
    assert isinstance(layer, nn.Linear)
    with torch.no_grad():
        layer.weight.normal_(0, DEVIATION, generator=generator)
        if bias:
            layer.bias.zero_()
    return layer


def _normed(channels: int, generator: torch.Generator) -> nn.Module:
    return nn.Sequential(BatchNorm(channels, device=generator.device), nn.ReLU())
