"""How the variational autoencoder is built, trained, scored and exported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from models.contract.task import Array, Split
from models.data.images.facts import ImageFacts
from models.data.kind import Content
from models.family import EVALUATION_BATCH, Examples, Export, RunPart, SingleLoss, TensorExamples, consecutive
from models.generation.codes import Code, declared
from models.generation.encoding import noise_of
from models.generation.scored_code import is_scored
from models.generation.vae.network import Encoder, Generator, Likelihood, Vae
from models.generation.vae.spec import SPEC, VaeConfig
from models.generation.walking import ACTIVITIES, DIVERGENCES

STUDIED_IMAGES = 2_048
"""Training images on which the card tells what each dimension does."""

EVALUATION_SEED = 0


class VaeFamily(SingleLoss[VaeConfig, dict[str, Tensor]]):
    """The variational autoencoder."""

    _studied: Array

    def __init__(self, config: VaeConfig, meta: Mapping[str, object]) -> None:
        """Read the facts of the images."""
        super().__init__(config, meta)
        self._facts = ImageFacts.of(meta)

    def study(self, train: Split, further: Mapping[str, Content]) -> None:
        """Keep some training images."""
        del further
        self._studied = train["images"][:STUDIED_IMAGES]

    def build(self, generator: torch.Generator) -> nn.Module:
        """Return fresh networks."""
        return Vae(self.config, self._facts, generator)

    def examples(self, split: Split, device: torch.device) -> Examples[dict[str, Tensor]]:
        """Return the images in memory."""
        return TensorExamples({"images": split["images"]}, device)

    def losses(self, module: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the negative bound, ``reconstruction`` and ``divergence``, means per image in nats."""
        assert isinstance(module, Vae)
        size = (len(batch["images"]), self.config.latent)
        device = module.steps.device
        draws = (torch.randn(size, generator=module.generator, device=device) for _ in range(self.config.samples))
        return self._losses(module, batch, draws)

    def constrain(self, module: nn.Module) -> None:
        """Count the step, for the capacity."""
        assert isinstance(module, Vae)
        module.steps += 1

    def evaluate(self, module: nn.Module, examples: Examples[dict[str, Tensor]]) -> dict[str, float]:
        """Return the means of :meth:`losses` over all examples, with one latent per image.

        Its noise is that which the verb ``score`` draws for the image, so that the figures of both are the same.
        """
        assert isinstance(module, Vae)
        module.eval()
        sums: dict[str, float] = {}
        with torch.no_grad():
            for indices in consecutive(len(examples), EVALUATION_BATCH):
                batch = examples.take(indices)
                images = batch["images"].float().cpu().numpy()
                noise = np.concatenate([noise_of(image, EVALUATION_SEED, 1, self.config.latent) for image in images])
                draw = torch.from_numpy(noise.astype(np.float32)).to(module.steps.device)
                for name, value in self._losses(module, batch, [draw]).items():
                    sums[name] = sums.get(name, 0.0) + float(value) * len(indices)
        return {name: total / len(examples) for name, total in sums.items()}

    def export(self, module: nn.Module) -> dict[str, Export]:
        """Return the parts, with the images' own size in their signatures."""
        assert isinstance(module, Vae)
        graphs: dict[str, nn.Module] = {
            "encoder": Encoder(module),
            "generator": Generator(module),
            "likelihood": Likelihood(module),
        }
        found: dict[str, Export] = {}
        for name, graph in graphs.items():
            signature = SPEC.parts[name].fixed(latent=self.config.latent)
            sized = {"shape": ("batch", *self._facts.shape)}
            inputs, outputs = (
                tuple(item.model_copy(update=sized) if item.name == "images" else item for item in items)
                for items in (signature.inputs, signature.outputs)
            )
            found[name] = Export(graph, signature.model_copy(update={"inputs": inputs, "outputs": outputs}))
        return found

    def example(self, part: str, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return random images over the whole value range, latents of the prior, or both."""
        low, high = self._facts.value_range
        draws = torch.rand(sizes["batch"], *self._facts.shape, generator=generator, device=generator.device)
        images = low + (high - low) * draws
        latent = torch.randn(sizes["batch"], self.config.latent, generator=generator, device=generator.device)
        return {"encoder": (images,), "generator": (latent,), "likelihood": (images, latent)}[part]

    def assets(self, module: nn.Module) -> dict[str, object]:
        """Return the one code, and what each dimension of it tells of the training images."""
        assert isinstance(module, Vae)
        mean, log_variance = _encoded(module, self._studied)
        divergences = _divergence(mean, log_variance).mean(dim=0)
        return {
            **declared([Code(name="latent", size=self.config.latent)]),
            "dimensions_by_divergence": cast("list[int]", divergences.argsort(descending=True, stable=True).tolist()),
            DIVERGENCES: [round(value, 6) for value in cast("list[float]", divergences.tolist())],
            ACTIVITIES: [round(value, 6) for value in cast("list[float]", mean.var(dim=0, correction=0).tolist())],
        }

    def report(self, module: nn.Module, splits: Mapping[str, Split], run: RunPart) -> dict[str, dict[str, float]]:
        """Return scores of disentanglement where the dataset says what is behind its images, those of others beside."""
        del module
        if not is_scored(self.config.disentanglement, self.meta):
            return {}
        fresh = self.build(torch.Generator().manual_seed(EVALUATION_SEED))
        assert isinstance(fresh, Vae)
        from models.metrics.disentanglement.scores import report  # noqa: PLC0415 - most jobs have none of it

        def trained(images: Array) -> Array:
            return run("encoder", {"images": images})["mean"]

        return report(splits, trained, lambda images: _encoded(fresh, images)[0].numpy(), self.config.latent)

    def _losses(self, module: Vae, batch: dict[str, Tensor], draws: Iterable[Tensor]) -> dict[str, Tensor]:
        """Return the losses, means over ``draws``: standard normal noise (batch, latent) each."""
        pixels = module.pixels(batch["images"])
        mean, log_variance = module.encode(pixels)
        closed = _divergence(mean, log_variance).sum(dim=1).mean()
        likelihoods, ratios = list[Tensor](), list[Tensor]()
        for standard in draws:
            latent = mean + (log_variance / 2).exp() * standard
            likelihoods.append(module.log_likelihood(pixels, latent).mean())
            if self.config.estimator == "sgvb_a":
                # log q(z|x) − log p(z); the constants of both densities are equal
                ratios.append((latent.square() - standard.square() - log_variance).sum(dim=1).mean() / 2)
        divergence = torch.stack(ratios).mean() if ratios else closed
        reconstruction = torch.stack(likelihoods).mean()
        return {
            "loss": self._penalty(module, divergence) - reconstruction,
            "reconstruction": reconstruction,
            "divergence": closed,
        }

    def _penalty(self, module: Vae, divergence: Tensor) -> Tensor:
        """Return β D (Higgins et al. Eq. 4), or γ |D − C| with C growing from 0 (Burgess et al. Eq. 8)."""
        capacity = self.config.capacity
        if capacity is None:
            return self.config.beta * divergence
        target = capacity.nats * (module.steps / capacity.steps).clamp(max=1)
        return capacity.factor * (divergence - target).abs()


FAMILY = VaeFamily


def _divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(q(z|x) ‖ p(z)) per dimension (batch, latent) in nats (Kingma and Welling 2014, appendix B)."""
    return (log_variance.exp() + mean.square() - 1 - log_variance) / 2


def _encoded(module: Vae, images: Array) -> tuple[Tensor, Tensor]:
    """Return mean and log-variance (count, latent) float64 on the CPU."""
    encoder, device = Encoder(module).eval(), module.steps.device
    means: list[Tensor] = []
    log_variances: list[Tensor] = []
    with torch.no_grad():
        for begin in range(0, len(images), EVALUATION_BATCH):
            chunk = torch.from_numpy(np.ascontiguousarray(images[begin : begin + EVALUATION_BATCH])).to(device)
            mean, log_variance = encoder(chunk)
            means.append(mean.double().cpu())
            log_variances.append(log_variance.double().cpu())
    return torch.cat(means), torch.cat(log_variances)
