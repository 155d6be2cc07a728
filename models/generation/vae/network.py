"""Encoder and decoder: q(z|x), a normal distribution with independent dimensions, and p(x|z)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.data.images.facts import ImageFacts
from models.generation.vae.spec import VaeConfig
from models.nn.normalization import InputNormalization
from models.nn.perceptron import ACTIVATIONS, perceptron
from models.nn.transposed import KERNEL, Doubling, Halving

LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE = -6.0, 2.0
"""Of a Gaussian pixel."""

DOUBLED_TAPS = KERNEL**2 // 4
"""Taps of a doubling layer that reach one pixel."""


class Vae(nn.Module):
    """Both networks. ``steps`` counts those taken, which the capacity follows."""

    steps: Tensor

    def __init__(self, config: VaeConfig, facts: ImageFacts, generator: torch.Generator) -> None:
        """Draw all weights from ``generator``, and the noise of the training later on."""
        super().__init__()
        self.config = config
        self.shape = facts.shape
        self.generator = generator
        self.scaled = InputNormalization("scale", facts, generator.device)
        values = math.prod(facts.shape)
        outputs = 2 * values if config.likelihood == "gaussian" else values
        before, width, after = (
            ([nn.Flatten()], values, [])
            if config.architecture == "mlp"
            else _convolutions(config, facts.shape, outputs // values, generator)
        )
        inner = outputs if config.architecture == "mlp" else width
        self.encoder = nn.Sequential(
            *before, *_dense(config, (width, *config.hidden_sizes, 2 * config.latent), generator)
        )
        self.decoder = nn.Sequential(
            *_dense(config, (config.latent, *config.hidden_sizes[::-1], inner), generator), *after
        )
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64, device=generator.device))

    def pixels(self, images: Tensor) -> Tensor:
        """Return images of the dataset's scale in [0, 1], binarised if that is the rule, (batch, *shape) float32."""
        pixels = self.scaled(images)
        if self.config.likelihood == "gaussian" or self.config.binarization == "none":
            return pixels
        if self.config.binarization == "threshold":
            return (pixels > 0.5).to(pixels.dtype)
        return torch.bernoulli(pixels.clamp(0, 1), generator=self.generator) if self.training else pixels

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance (batch, latent) of q(z|x)."""
        mean, log_variance = self.encoder(pixels).chunk(2, dim=1)
        return mean, log_variance

    def images(self, latent: Tensor) -> Tensor:
        """Return the mean images (batch, *shape) of p(x|z) in [0, 1]."""
        logits = self.decoder(latent).flatten(1)
        return logits[:, : math.prod(self.shape)].sigmoid().unflatten(1, self.shape)

    def log_likelihood(self, pixels: Tensor, latent: Tensor) -> Tensor:
        """Return log p(x|z) (batch,) in nats: appendix C.1 or C.2 of Kingma and Welling (2014)."""
        outputs, targets = self.decoder(latent).flatten(1), pixels.flatten(1)
        if self.config.likelihood == "bernoulli":
            # Written out: the exporter's own form of torch's function takes exp of a logit, and ends at infinity.
            return (outputs * targets - outputs.clamp(min=0) - (-outputs.abs()).exp().log1p()).sum(dim=1)
        mean, spread = outputs.chunk(2, dim=1)
        log_variance = LEAST_LOG_VARIANCE + (MOST_LOG_VARIANCE - LEAST_LOG_VARIANCE) * spread.sigmoid()
        squares = (targets - mean.sigmoid()).square() * (-log_variance).exp()
        return -(squares + log_variance + math.log(2 * math.pi)).sum(dim=1) / 2


class Encoder(nn.Module):
    """The part ``encoder``."""

    def __init__(self, network: Vae) -> None:
        """Share the network's parameters."""
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance (batch, latent) of images in the dataset's scale."""
        return self.network.encode(self.network.pixels(images))


class Generator(nn.Module):
    """The part ``generator``."""

    def __init__(self, network: Vae) -> None:
        """Share the network's parameters."""
        super().__init__()
        self.network = network

    def forward(self, latent: Tensor) -> Tensor:
        """Return images (batch, *shape) in [0, 1] of latents (batch, latent)."""
        return self.network.images(latent)


class Likelihood(nn.Module):
    """The part ``likelihood``."""

    def __init__(self, network: Vae) -> None:
        """Share the network's parameters."""
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, latent: Tensor) -> Tensor:
        """Return log p(x|z) (batch,) of images in the dataset's scale."""
        return self.network.log_likelihood(self.network.pixels(images), latent)


class _Planes(nn.Module):
    """Images (batch, height, width[, channels]) as maps (batch, channels, height, width), padded with zeros."""

    def __init__(self, pads: tuple[int, int]) -> None:
        super().__init__()
        self.pads = pads

    def forward(self, pixels: Tensor) -> Tensor:
        maps = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
        return functional.pad(maps, (0, self.pads[1], 0, self.pads[0]))


class _Cropped(nn.Module):
    """Maps (batch, kinds × channels, …) as (batch, kinds, height, width, channels), cropped to the images' own size."""

    def __init__(self, kinds: int, sides: tuple[int, int]) -> None:
        super().__init__()
        self.kinds = kinds
        self.sides = sides

    def forward(self, maps: Tensor) -> Tensor:
        cropped = maps[:, :, : self.sides[0], : self.sides[1]]
        split = cast("Tensor", cropped.unflatten(1, (self.kinds, -1)))  # pyright: ignore[reportUnknownMemberType]
        return split.permute(0, 1, 3, 4, 2)


def _dense(config: VaeConfig, sizes: Sequence[int], generator: torch.Generator) -> list[nn.Module]:
    first, *hidden, last = sizes
    return perceptron(first, hidden, last, generator, activation=config.activation, dropout=0.0)


def _convolutions(
    config: VaeConfig, shape: Sequence[int], kinds: int, generator: torch.Generator
) -> tuple[list[nn.Module], int, list[nn.Module]]:
    """Return the layers before the encoder's dense ones, the numbers between, and the layers behind the decoder's."""
    channels = shape[2] if len(shape) == 3 else 1
    scale = 2 ** len(config.channels)
    sides = [-(-side // scale) * scale for side in shape[:2]]
    before: list[nn.Module] = [_Planes((sides[0] - shape[0], sides[1] - shape[1]))]
    incoming = channels
    for maps in config.channels:
        deviation = math.sqrt(2 / (incoming * KERNEL**2))
        before += [Halving(incoming, maps, deviation, generator, bias=True), ACTIVATIONS[config.activation]()]
        incoming = maps
    smallest = (config.channels[-1], sides[0] // scale, sides[1] // scale)
    after: list[nn.Module] = [ACTIVATIONS[config.activation](), nn.Unflatten(1, smallest)]
    outgoing = [*config.channels[-2::-1], kinds * channels]
    for index, maps in enumerate(outgoing):
        last = index == len(outgoing) - 1
        deviation = math.sqrt((1 if last else 2) / (incoming * DOUBLED_TAPS))
        after.append(Doubling(incoming, maps, deviation, generator, bias=True))
        if not last:
            after.append(ACTIVATIONS[config.activation]())
        incoming = maps
    after.append(_Cropped(kinds, (shape[0], shape[1])))
    return [*before, nn.Flatten()], math.prod(smallest), after
