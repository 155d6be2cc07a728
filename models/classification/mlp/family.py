"""How the multilayer perceptron is built, trained, scored and exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.classification.mlp.network import Mlp
from models.classification.mlp.spec import SPEC, MlpConfig
from models.contract.task import Split
from models.contract.tensors import PartSignature
from models.family import Examples, Export, SingleLoss, TensorExamples
from models.nn.classifier import Classifier
from models.nn.encoding import network_inputs
from models.optimization import limit_norms


class MlpFamily(SingleLoss[MlpConfig, dict[str, Tensor]]):
    """The multilayer perceptron."""

    def __init__(self, config: MlpConfig, meta: Mapping[str, object]) -> None:
        """Read from the facts what the inputs are."""
        super().__init__(config, meta)
        self._inputs = network_inputs(meta)
        self._classes = len(cast("Sequence[str]", meta["classes"]))

    def build(self, generator: torch.Generator) -> nn.Module:
        """Return a fresh network."""
        encoders = [item.encoder(self.config.normalization, generator.device) for item in self._inputs]
        return Mlp(self.config, encoders, self._classes, generator)

    def examples(self, split: Split, device: torch.device) -> Examples[dict[str, Tensor]]:
        """Return inputs and labels in memory."""
        return TensorExamples(split, device)

    def losses(self, module: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the mean negative log-likelihood in nats, and the accuracy."""
        logits, labels = module(*(batch[item.signature.name] for item in self._inputs)), batch["labels"]
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
        """Return the one part, with the dataset's own sizes in its signature."""
        inputs = tuple(item.signature for item in self._inputs)
        outputs = SPEC.parts["classifier"].fixed(classes=self._classes).outputs
        return {"classifier": Export(Classifier(module), PartSignature(inputs=inputs, outputs=outputs))}

    def example(self, part: str, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return random inputs, with missing and unknown values where there can be some."""
        del part
        return tuple(item.example(sizes["batch"], generator) for item in self._inputs)


FAMILY = MlpFamily
