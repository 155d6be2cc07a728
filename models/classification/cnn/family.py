"""How the convolutional network is built, trained, scored and exported."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.classification.cnn.block import stages
from models.classification.cnn.network import Cnn, Insides
from models.classification.cnn.spec import SPEC, CnnConfig, insides_of, planes
from models.contract.task import Split
from models.contract.tensors import PartSignature, TensorSignature
from models.data.images.facts import ImageFacts
from models.family import Examples, Export, SingleLoss, TensorExamples
from models.nn.classifier import Classifier


class CnnFamily(SingleLoss[CnnConfig, dict[str, Tensor]]):
    """The convolutional network."""

    def __init__(self, config: CnnConfig, meta: Mapping[str, object]) -> None:
        """Read the facts of the images."""
        super().__init__(config, meta)
        self._facts = ImageFacts.of(meta)

    def build(self, generator: torch.Generator) -> nn.Module:
        """Return a fresh network."""
        return Cnn(self.config, self._facts, generator)

    def examples(self, split: Split, device: torch.device) -> Examples[dict[str, Tensor]]:
        """Return images and labels in memory."""
        return TensorExamples(split, device)

    def losses(self, module: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the mean negative log-likelihood in nats, and the accuracy."""
        logits, labels = module(batch["images"]), batch["labels"]
        correct = (logits.detach().argmax(dim=1) == labels).float().mean()
        return {"loss": functional.cross_entropy(logits, labels), "accuracy": correct}

    def export(self, module: nn.Module) -> dict[str, Export]:
        """Return the classifier and its insides, with the image's own size in their signatures."""
        assert isinstance(module, Cnn)
        images = TensorSignature(name="images", shape=("batch", *self._facts.shape))
        promised = PartSignature(inputs=(images,), outputs=SPEC.parts["classifier"].outputs)
        classifier = Export(Classifier(module), promised.fixed(classes=len(self._facts.classes)))
        insides = PartSignature(inputs=(images,), outputs=tuple(self._insides()))
        return {"classifier": classifier, "insides": Export(Insides(module), insides)}

    def example(self, part: str, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return random images over the whole value range, which every part takes."""
        del part
        low, high = self._facts.value_range
        draws = torch.rand(sizes["batch"], *self._facts.shape, generator=generator, device=generator.device)
        return (low + (high - low) * draws,)

    def _insides(self) -> list[TensorSignature]:
        """Return maps and kernels of the filter, if any, and of each block, with their sizes."""
        channels, size = planes(self._facts)
        layers = [(stage.name, stage.maps, stage.weights) for stage in stages(self.config.blocks, channels, size)]
        if self.config.filter is not None:
            layers.insert(0, ("filter", size, (channels, 1, 3, 3)))
        found: list[TensorSignature] = []
        for name, maps, weights in layers:
            feature_maps, kernels = insides_of(name)
            found.append(feature_maps.model_copy(update={"shape": ("batch", weights[0], *maps)}))
            found.append(kernels.model_copy(update={"shape": ("batch", *weights)}))
        return found


FAMILY = CnnFamily
