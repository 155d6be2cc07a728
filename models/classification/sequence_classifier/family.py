"""How the recurrent classifier is built, trained, scored and exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.batching import SequenceExamples
from models.classification.sequence_classifier.network import SequenceClassifier
from models.classification.sequence_classifier.spec import SPEC, SequenceClassifierConfig
from models.contract.task import Array, Split
from models.data.kind import Content
from models.data.padding import padded
from models.data.texts.encoding import TextEncoding
from models.family import EVALUATION_BATCH, Examples, Export, SingleLoss
from models.nn.classifier import Classifier
from models.nn.recurrent_export import onnx_twin


@dataclass(frozen=True)
class Texts:
    """A batch: ``tokens`` (batch, time) int64, ``lengths`` and ``labels`` (batch,) int64."""

    tokens: Tensor
    lengths: Tensor
    labels: Tensor


class TextExamples(SequenceExamples[Texts]):
    """Encoded texts with their labels."""

    def __init__(self, texts: Sequence[Array], labels: Array, device: torch.device) -> None:
        """Keep ``texts`` (tokens,) int64 each, and ``labels`` (examples,) int64."""
        super().__init__(torch.tensor([len(text) for text in texts]))
        self._texts = texts
        self._labels = torch.from_numpy(labels)
        self._device = device

    def take(self, indices: Tensor) -> Texts:
        """Return the examples at ``indices`` (batch,), padded to the longest."""
        tokens, lengths = padded([self._texts[index] for index in cast("list[int]", indices.tolist())])
        found = (torch.from_numpy(tokens), torch.from_numpy(lengths), self._labels[indices])
        return Texts(*(tensor.to(self._device) for tensor in found))


class SequenceClassifierFamily(SingleLoss[SequenceClassifierConfig, Texts]):
    """The recurrent classifier."""

    _encoding: TextEncoding

    def study(self, train: Split, further: Mapping[str, Content]) -> None:
        """Number the most frequent tokens of the training split."""
        del further
        config = self.config
        self._encoding = TextEncoding.study(
            cast("list[str]", train["texts"].tolist()),
            config.level,
            most=config.vocabulary_size,
            least=config.least_count,
            lowercase=bool(self.meta["lowercase"]),
        )

    def build(self, generator: torch.Generator) -> nn.Module:
        """Return a fresh network."""
        return SequenceClassifier(self.config, len(self._encoding), self._classes, generator)

    def examples(self, split: Split, device: torch.device) -> Examples[Texts]:
        """Return texts and labels; batches hold texts of like length."""
        longest = self.config.longest
        texts = [self._encoding.encode(text)[:longest] for text in cast("list[str]", split["texts"].tolist())]
        return TextExamples(texts, split["labels"].astype(np.int64), device)

    def losses(self, module: nn.Module, batch: Texts) -> dict[str, Tensor]:
        """Return the mean negative log-likelihood in nats, and the accuracy."""
        logits = module(batch.tokens, batch.lengths)
        correct = (logits.detach().argmax(dim=1) == batch.labels).float().mean()
        return {"loss": functional.cross_entropy(logits, batch.labels), "accuracy": correct}

    def evaluate(self, module: nn.Module, examples: Examples[Texts]) -> dict[str, float]:
        """Return the means of :meth:`losses`, over texts of like length together."""
        assert isinstance(examples, TextExamples)
        module.eval()
        sums: dict[str, float] = {}
        with torch.no_grad():
            for indices in examples.in_order_of_length(EVALUATION_BATCH):
                for name, value in self.losses(module, examples.take(indices)).items():
                    sums[name] = sums.get(name, 0.0) + float(value) * len(indices)
        return {name: total / len(examples) for name, total in sums.items()}

    def export(self, module: nn.Module) -> dict[str, Export]:
        """Return the one part, with the number of classes in its signature."""
        graph = Classifier(module)
        signature = SPEC.parts["classifier"].fixed(classes=self._classes)
        return {"classifier": Export(onnx_twin(graph), signature, reference=graph)}

    def example(self, part: str, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return random tokens and lengths."""
        del part
        batch, time = sizes["batch"], sizes["time"]
        tokens = torch.randint(len(self._encoding), (batch, time), generator=generator)
        return tokens, torch.randint(1, time + 1, (batch,), generator=generator)

    def assets(self, module: nn.Module) -> dict[str, object]:
        """Return how texts are cut, the vocabulary, and how much of a text is read."""
        del module
        return {**self._encoding.assets(), "longest": self.config.longest}

    @property
    def _classes(self) -> int:
        return len(cast("Sequence[str]", self.meta["classes"]))


FAMILY = SequenceClassifierFamily
