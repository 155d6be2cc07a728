"""How the fully connected adversarial networks are built."""

from __future__ import annotations

import math

import torch
from torch import nn

from models.generation.adversarial.family import AdversarialFamily
from models.generation.adversarial.networks import Discriminator
from models.generation.adversarial.prior import Prior
from models.generation.gan.network import Generator, trunk
from models.generation.gan.spec import GanConfig
from models.nn.linear import linear


class GanFamily(AdversarialFamily[GanConfig]):
    """The adversarial networks of Goodfellow et al. (2014)."""

    def prior(self) -> Prior:
        """Return noise alone."""
        return Prior(self.config.noise)

    def generator(self, generator: torch.Generator) -> nn.Module:
        """Return a fresh generator."""
        return Generator(self.config.noise, self.config.generator_sizes, self._facts.shape, generator)

    def discriminator(self, generator: torch.Generator) -> nn.Module:
        """Return a fresh discriminator."""
        sizes = self.config.discriminator_sizes
        layers = trunk(math.prod(self._facts.shape), sizes, self.config.dropout, generator)
        return Discriminator(layers, linear(sizes[-1], 1, generator))


FAMILY = GanFamily
