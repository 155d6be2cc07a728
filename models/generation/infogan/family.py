"""How InfoGAN is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from models.contract.task import Array, Split
from models.contract.training import Plan, TrainingOptions
from models.family import EVALUATION_BATCH, Examples, Export, RunPart, consecutive
from models.generation.adversarial.family import AdversarialFamily
from models.generation.adversarial.learner import AdversarialLearner, Adversaries
from models.generation.adversarial.networks import ConvolutionalGenerator, ConvolutionalTrunk, Discriminator, dense
from models.generation.adversarial.prior import Prior
from models.generation.adversarial.training import AdversarialTraining
from models.generation.infogan.learner import InfoGanLearner
from models.generation.infogan.part import READER, reader_signature
from models.generation.infogan.posterior import Posterior, Reader
from models.generation.infogan.spec import InfoGanConfig
from models.generation.scored_code import FACTORS, is_scored
from models.metrics.clusters import matched_accuracy

EVALUATION_SEED = 0


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

    def export(self, module: nn.Module) -> dict[str, Export]:
        """Return the generator, and where the dataset has factors Q, so that what is scored is what is served."""
        parts = super().export(module)
        if FACTORS in self.meta:
            signature = reader_signature(self._facts.shape, self.config.categorical_codes, self.config.continuous_codes)
            parts[READER] = Export(_reader(module), signature)
        return parts

    def example(self, part: str, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return what the generator draws from, or random images over the whole value range."""
        if part != READER:
            return super().example(part, sizes, generator)
        low, high = self._facts.value_range
        draws = torch.rand(sizes["batch"], *self._facts.shape, generator=generator, device=generator.device)
        return (low + (high - low) * draws,)

    def report(self, module: nn.Module, splits: Mapping[str, Split], run: RunPart) -> dict[str, dict[str, float]]:
        """Return the quality of the images, and what the codes tell of classes or factors of images.

        Scores of disentanglement are those of the code that the exported Q reads; see :func:`_code`.
        """
        quality = dict(super().report(module, splits, run)["quality"])
        if "test" in splits:
            scores = self.evaluate(module, self.examples(splits["test"], torch.device("cpu")))
            quality |= {name: value for name, value in scores.items() if name == "code_accuracy"}
        return {"quality": quality, **self._disentanglement(module, splits, run)}

    def _disentanglement(
        self, module: nn.Module, splits: Mapping[str, Split], run: RunPart
    ) -> dict[str, dict[str, float]]:
        if not is_scored(self.config.disentanglement, self.meta):
            return {}
        from models.metrics.disentanglement.scores import report  # noqa: PLC0415 - most jobs have none of it

        names = [item.name for item in self.export(module)[READER].signature.outputs]
        categorical = len(self.config.categorical_codes)
        fresh = _reader(self.build(torch.Generator().manual_seed(EVALUATION_SEED))).eval()

        def trained(images: Array) -> Array:
            found = run(READER, {"images": images})
            return _code([found[name] for name in names], categorical)

        def untrained(images: Array) -> Array:
            with torch.inference_mode():
                return _code([item.numpy() for item in fresh(torch.from_numpy(images))], categorical)

        return report(splits, trained, untrained, len(names))


FAMILY = InfoGanFamily


def _reader(module: nn.Module) -> Reader:
    assert isinstance(module, Adversaries)
    discriminator = module.discriminator
    assert isinstance(discriminator, InformedDiscriminator)
    return Reader(module.normalization, discriminator.trunk, discriminator.posterior)


def _code(read: Sequence[Array], categorical: int) -> Array:
    """Return one dimension a code (count, codes): the likeliest category, or the mean.

    A categorical code is one latent variable, and the scores ask what one variable knows: its probabilities as columns
    would share it, so that a code which names the shape would have no gap to the second best (MIG, SAP). What takes a
    dimension for a number (SAP, β-VAE) sees the index of the category.
    """
    columns = [item.argmax(axis=1) if place < categorical else item[:, 0] for place, item in enumerate(read)]
    return np.stack(columns, axis=1).astype(np.float64)
