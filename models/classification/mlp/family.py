"""How the multilayer perceptron is built, trained, scored and exported."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.classification.mlp.network import Classifier, Mlp
from models.classification.mlp.spec import SPEC, MlpConfig
from models.contract.task import Split
from models.contract.tensors import PartSignature, TensorSignature
from models.data.image_facts import ImageFacts
from models.family import Examples, Export, SingleLoss, TensorExamples
from models.optimization import limit_norms


class MlpFamily(SingleLoss[MlpConfig, dict[str, Tensor]]):
    """The multilayer perceptron."""

    def __init__(self, config: MlpConfig, meta: Mapping[str, object]) -> None:
        """Read the facts of the images."""
        super().__init__(config, meta)
        self._facts = ImageFacts.of(meta)

    def build(self, generator: torch.Generator) -> nn.Module:
        """Return a fresh network."""
        return Mlp(self.config, self._facts, generator)

    def examples(self, split: Split, device: torch.device) -> Examples[dict[str, Tensor]]:
        """Return images and labels in memory."""
        return TensorExamples(split, device)

    def losses(self, module: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the mean negative log-likelihood in nats, and the accuracy."""
        logits, labels = module(batch["images"]), batch["labels"]
        correct = (logits.detach().argmax(dim=1) == labels).float().mean()
        return {"loss": functional.cross_entropy(logits, labels), "accuracy": correct}

    def constrain(self, module: nn.Module) -> None:
        """Keep the norm of the weights into each unit at or below ``max_norm``."""
        if self.config.max_norm is None:
            return
        for layer in module.modules():
            if isinstance(layer, nn.Linear):
                limit_norms(layer.weight, self.config.max_norm)

    def export(self, module: nn.Module) -> dict[str, Export]:
        """Return the one part, with the image's own size in its signature."""
        images = TensorSignature(name="images", shape=("batch", *self._facts.shape))
        classes = len(self._facts.classes)
        outputs = tuple(
            item.model_copy(update={"shape": ("batch", classes)}) for item in SPEC.parts["classifier"].outputs
        )
        return {"classifier": Export(Classifier(module), PartSignature(inputs=(images,), outputs=outputs))}

    def example(self, part: str, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return random images over the whole value range."""
        del part
        low, high = self._facts.value_range
        draws = torch.rand(sizes["batch"], *self._facts.shape, generator=generator, device=generator.device)
        return (low + (high - low) * draws,)


FAMILY = MlpFamily
