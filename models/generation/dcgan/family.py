"""How the convolutional adversarial networks are built."""

from __future__ import annotations

import torch
from torch import nn

from models.generation.adversarial.family import AdversarialFamily
from models.generation.adversarial.networks import ConvolutionalGenerator, ConvolutionalTrunk, Discriminator, dense
from models.generation.adversarial.prior import Prior
from models.generation.dcgan.spec import DcganConfig


class DcganFamily(AdversarialFamily[DcganConfig]):
    """The adversarial networks of Radford et al. (2016)."""

    def prior(self) -> Prior:
        """Return noise alone."""
        return Prior(self.config.noise)

    def generator(self, generator: torch.Generator) -> nn.Module:
        """Return a fresh generator."""
        config = self.config
        return ConvolutionalGenerator(config.noise, (), config.generator_channels, self._facts.shape, generator)

    def discriminator(self, generator: torch.Generator) -> nn.Module:
        """Return a fresh discriminator."""
        trunk = ConvolutionalTrunk(self.config.discriminator_channels, (), self._facts.shape, generator)
        return Discriminator(trunk, dense(trunk.width, 1, generator, bias=True))


FAMILY = DcganFamily
