"""What a generator draws from: Gaussian noise, and beside it codes if there are any."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Prior:
    """Noise z ~ N(0, I), categorical codes uniform over their categories, continuous codes uniform over [−1, 1].

    A latent is one row: the noise, each categorical code as a one-hot vector, the continuous codes.

    Attributes:
        noise: size of the noise.
        categories: number of categories of each categorical code.
        continuous: number of continuous codes.
    """

    noise: int
    categories: tuple[int, ...] = ()
    continuous: int = 0

    @property
    def size(self) -> int:
        """Size of a latent."""
        return self.noise + sum(self.categories) + self.continuous

    @property
    def categorical_entropy(self) -> float:
        """H(c) of the categorical codes together, in nats."""
        return sum(math.log(count) for count in self.categories)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return latents (count, size)."""
        device = generator.device
        pieces = [torch.randn(count, self.noise, generator=generator, device=device)]
        for categories in self.categories:
            chosen = torch.randint(categories, (count,), generator=generator, device=device)
            pieces.append(functional.one_hot(chosen, categories).to(pieces[0].dtype))
        if self.continuous:
            pieces.append(torch.rand(count, self.continuous, generator=generator, device=device) * 2 - 1)
        return torch.cat(pieces, dim=1)

    def codes(self, latents: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the categories (batch,) int64 of each categorical code, and the continuous codes (batch, codes)."""
        pieces = torch.split(latents, [self.noise, *self.categories, self.continuous], dim=1)
        return [piece.argmax(dim=1) for piece in pieces[1:-1]], pieces[-1]
