"""What the families of two networks have in common: images in memory, one learner, an energy distance, a generator."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from models.contract.config import Options
from models.contract.task import Array, Split
from models.contract.training import Plan, TrainingOptions
from models.data.images.facts import ImageFacts
from models.family import Examples, Export, Family, RunPart, TensorExamples
from models.generation.adversarial import part
from models.generation.adversarial.learner import AdversarialLearner, Adversaries
from models.generation.adversarial.prior import Prior
from models.generation.adversarial.training import AdversarialTraining
from models.generation.codes import Code, declared
from models.generation.quality import sample_quality
from models.metrics.energy import energy_distance
from models.nn.normalization import InputNormalization

ConfigT = TypeVar("ConfigT", bound=Options)

COMPARED = 512
"""Drawn images and examples that are compared after an epoch."""


class AdversarialFamily(Family[ConfigT, dict[str, Tensor]]):
    """A generator of images and a discriminator."""

    def __init__(self, config: ConfigT, meta: Mapping[str, object]) -> None:
        """Read the facts of the images."""
        super().__init__(config, meta)
        self._facts = ImageFacts.of(meta)

    @abstractmethod
    def prior(self) -> Prior:
        """Return what latents are drawn from."""

    @abstractmethod
    def generator(self, generator: torch.Generator) -> nn.Module:
        """Return a fresh generator: latents (batch, size) to images in [0, 1]."""

    @abstractmethod
    def discriminator(self, generator: torch.Generator) -> nn.Module:
        """Return a fresh discriminator: images in [0, 1] to logits (batch,) and features (batch, units)."""

    def build(self, generator: torch.Generator) -> Adversaries:
        """Return both networks, fresh."""
        normalization = InputNormalization("scale", self._facts, generator.device)
        return Adversaries(self.prior(), self.generator(generator), self.discriminator(generator), normalization)

    def examples(self, split: Split, device: torch.device) -> Examples[dict[str, Tensor]]:
        """Return the images in memory; labels, if there are any, are not learnt from."""
        return TensorExamples(split, device)

    def learner(
        self, module: nn.Module, options: TrainingOptions, plan: Plan, generator: torch.Generator
    ) -> AdversarialLearner:
        """Return the learner of algorithm 1."""
        assert isinstance(module, Adversaries)
        assert isinstance(options, AdversarialTraining)
        return AdversarialLearner(module, options, plan, generator)

    def evaluate(self, module: nn.Module, examples: Examples[dict[str, Tensor]]) -> dict[str, float]:
        """Return the energy distance between drawn images and examples, in [0, 1], as ``loss``.

        The same latents are drawn each time, and the same examples are taken, from all over the split.
        """
        assert isinstance(module, Adversaries)
        module.eval()
        device = next(module.parameters()).device
        chosen = torch.linspace(0, len(examples) - 1, min(COMPARED, len(examples))).long()
        latents = module.prior.draw(COMPARED, torch.Generator().manual_seed(0)).to(device)
        with torch.no_grad():
            real = module.normalization(examples.take(chosen)["images"]).flatten(1)
            drawn = module.generator(latents).flatten(1)
        return {"loss": energy_distance(drawn.cpu().numpy(), real.cpu().numpy())}

    def export(self, module: nn.Module) -> dict[str, Export]:
        """Return the generator, with the sizes of noise and image in its signature."""
        assert isinstance(module, Adversaries)
        prior = module.prior
        signature = part.signature(prior.noise, self._facts.shape, len(prior.categories), prior.continuous)
        return {part.NAME: Export(NamedInputs(prior, module.generator), signature)}

    def example(self, part: str, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return noise, and a draw of each code if there are any."""
        del part
        prior = self.prior()
        latents = prior.draw(sizes["batch"], generator)
        categories, continuous = prior.codes(latents)
        return (
            latents[:, : prior.noise].contiguous(),
            *categories,
            *(code[:, None] for code in continuous.unbind(dim=1)),
        )

    def assets(self, module: nn.Module) -> dict[str, object]:
        """Return the generator's inputs, for the codec."""
        assert isinstance(module, Adversaries)
        prior = module.prior
        names = iter(part.code_names(len(prior.categories), prior.continuous))
        noise = Code(name=part.NOISE, size=prior.noise, steers=False)
        categorical = [Code(name=next(names), distribution="categorical", size=count) for count in prior.categories]
        return declared([noise, *categorical, *(Code(name=name, distribution="uniform") for name in names)])

    def report(self, module: nn.Module, splits: Mapping[str, Split], run: RunPart) -> dict[str, dict[str, float]]:
        """Return how good the exported generator's images are, as ``quality``; see :mod:`models.generation.quality`."""
        signature = self.export(module)[part.NAME].signature
        names = [item.name for item in signature.inputs]

        def draw(count: int) -> Array:
            random, chunks = torch.Generator().manual_seed(0), list[Array]()
            for begin in range(0, count, COMPARED):
                inputs = self.example(part.NAME, {"batch": min(COMPARED, count - begin)}, random)
                arrays = {name: item.numpy() for name, item in zip(names, inputs, strict=True)}
                chunks.append(run(part.NAME, arrays)["images"])
            return np.concatenate(chunks)

        def untrained(count: int) -> Array:
            fresh = self.build(torch.Generator().manual_seed(0)).eval()
            latents = fresh.prior.draw(count, torch.Generator().manual_seed(0))
            with torch.inference_mode():
                return torch.cat([fresh.generator(piece) for piece in torch.split(latents, COMPARED)]).numpy()

        return {"quality": sample_quality(draw, untrained, splits, self._facts)}


class NamedInputs(nn.Module):
    """A generator whose noise and codes are inputs of their own."""

    def __init__(self, prior: Prior, generator: nn.Module) -> None:
        """Keep the generator."""
        super().__init__()
        self.prior = prior
        self.generator = generator

    def forward(self, noise: Tensor, *codes: Tensor) -> Tensor:
        """Return images of ``noise`` (batch, noise) and codes: categories (batch,) int64, then numbers (batch, 1)."""
        pieces = [noise]
        for categories, chosen in zip(self.prior.categories, codes, strict=False):
            pieces.append((chosen[:, None] == torch.arange(categories, device=chosen.device)).to(noise.dtype))
        return self.generator(torch.cat([*pieces, *codes[len(self.prior.categories) :]], dim=1))
