"""How InfoGAN is built."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.contract.task import Split
from models.contract.training import Plan, TrainingOptions
from models.family import EVALUATION_BATCH, Examples, RunPart, consecutive
from models.generation.adversarial.family import AdversarialFamily
from models.generation.adversarial.learner import AdversarialLearner, Adversaries
from models.generation.adversarial.networks import ConvolutionalGenerator, ConvolutionalTrunk, Discriminator, dense
from models.generation.adversarial.prior import Prior
from models.generation.adversarial.training import AdversarialTraining
from models.generation.infogan.learner import InfoGanLearner
from models.generation.infogan.posterior import Posterior
from models.generation.infogan.spec import InfoGanConfig
from models.metrics.clusters import matched_accuracy


class InformedDiscriminator(Discriminator):
    """A discriminator with a second reader of its features, Q."""

    def __init__(self, trunk: nn.Module, score: nn.Module, posterior: Posterior) -> None:
        """Keep all three."""
        super().__init__(trunk, score)
        self.posterior = posterior


class InfoGanFamily(AdversarialFamily[InfoGanConfig]):
    """The adversarial networks of Chen et al. (2016)."""

    def prior(self) -> Prior:
        """Return noise and codes."""
        return Prior(self.config.noise, self.config.categorical_codes, self.config.continuous_codes)

    def generator(self, generator: torch.Generator) -> nn.Module:
        """Return a fresh generator."""
        config = self.config
        sizes = (config.generator_units,)
        return ConvolutionalGenerator(self.prior().size, sizes, config.generator_channels, self._facts.shape, generator)

    def discriminator(self, generator: torch.Generator) -> nn.Module:
        """Return a fresh discriminator with Q beside it."""
        config = self.config
        trunk = ConvolutionalTrunk(
            config.discriminator_channels, (config.discriminator_units,), self._facts.shape, generator
        )
        posterior = Posterior(trunk.width, config.posterior_units, self.prior(), generator)
        return InformedDiscriminator(trunk, dense(trunk.width, 1, generator, bias=True), posterior)

    def learner(
        self, module: nn.Module, options: TrainingOptions, plan: Plan, generator: torch.Generator
    ) -> AdversarialLearner:
        """Return the learner that keeps the codes recoverable."""
        assert isinstance(module, Adversaries)
        assert isinstance(options, AdversarialTraining)
        return InfoGanLearner(module, options, plan, generator, self.config.information_weight)

    def evaluate(self, module: nn.Module, examples: Examples[dict[str, Tensor]]) -> dict[str, float]:
        """Return the energy distance as ``loss``; with labels also ``code_accuracy``, c1 as a classifier.

        Each category of the first code is matched to a class of its own (App. C.1 of the paper does it by hand).
        """
        scores = super().evaluate(module, examples)
        if not self.config.categorical_codes or len(self._facts.classes) < 2:
            return scores
        assert isinstance(module, Adversaries)
        discriminator = module.discriminator
        assert isinstance(discriminator, InformedDiscriminator)
        groups: list[Tensor] = []
        labels: list[Tensor] = []
        with torch.no_grad():
            for indices in consecutive(len(examples), EVALUATION_BATCH):
                batch = examples.take(indices)
                _, features = discriminator(module.normalization(batch["images"]))
                logits, _ = discriminator.posterior.split(discriminator.posterior(features))
                groups.append(logits[0].argmax(dim=1))
                labels.append(batch["labels"])
        accuracy = matched_accuracy(torch.cat(groups).cpu().numpy(), torch.cat(labels).cpu().numpy())
        return {**scores, "code_accuracy": accuracy}

    def report(self, module: nn.Module, splits: Mapping[str, Split], run: RunPart) -> dict[str, dict[str, float]]:
        """Return the quality of the images, and what the first code tells of the classes of the test images."""
        quality = dict(super().report(module, splits, run)["quality"])
        if "test" in splits:
            scores = self.evaluate(module, self.examples(splits["test"], torch.device("cpu")))
            quality |= {name: value for name, value in scores.items() if name == "code_accuracy"}
        return {"quality": quality}


FAMILY = InfoGanFamily
