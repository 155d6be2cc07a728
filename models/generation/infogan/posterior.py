"""Q(c | x): what is read of the codes from the features of an image, and the bound that it gives (Eq. 5)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.generation.adversarial.networks import SLOPE, UnitNorm, dense
from models.generation.adversarial.prior import Prior

ENTROPY_OF_UNIFORM = math.log(2)
"""Of a code in [−1, 1], in nats."""


class Posterior(nn.Module):
    """One hidden layer; logits of each categorical code, means of the continuous ones."""

    def __init__(self, features: int, units: int, prior: Prior, generator: torch.Generator) -> None:
        """Draw the weights."""
        super().__init__()
        self.prior = prior
        norm = UnitNorm(units, device=generator.device)
        self.hidden = nn.Sequential(dense(features, units, generator, bias=False), norm, nn.LeakyReLU(SLOPE))
        self.read = dense(units, sum(prior.categories) + prior.continuous, generator, bias=True)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits of the categorical codes, then means of the continuous ones, (batch, their sizes together)."""
        return self.read(self.hidden(features))

    def split(self, read: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return what :meth:`forward` returned as logits (batch, categories) of each code, and means (batch, codes)."""
        pieces = torch.split(read, [*self.prior.categories, self.prior.continuous], dim=1)
        return list(pieces[:-1]), pieces[-1]

    def information(self, features: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return L_I = H(c) + E log Q(c | x) in nats, of the categorical codes together and of the continuous ones."""
        categories, continuous = self.prior.codes(latents)
        logits, means = self.split(self(features))
        categorical = latents.new_tensor(self.prior.categorical_entropy)
        for chosen, scores in zip(categories, logits, strict=True):
            categorical = categorical - functional.cross_entropy(scores, chosen)
        entropy = self.prior.continuous * (ENTROPY_OF_UNIFORM - math.log(2 * math.pi) / 2)
        return categorical, entropy - (continuous - means).square().sum(dim=1).mean() / 2


class Reader(nn.Module):
    """The part ``posterior``."""

    def __init__(self, normalization: nn.Module, trunk: nn.Module, posterior: Posterior) -> None:
        """Share what lies between an image and its codes."""
        super().__init__()
        self.normalization = normalization
        self.trunk = trunk
        self.posterior = posterior

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return probabilities (batch, categories) of each categorical code, then means (batch, 1) of the others."""
        logits, means = self.posterior.split(self.posterior(self.trunk(self.normalization(images))))
        return (*(scores.softmax(dim=1) for scores in logits), *(mean[:, None] for mean in means.unbind(dim=1)))
