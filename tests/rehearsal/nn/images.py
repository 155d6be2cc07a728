"""What the rehearsal families over images share: the facts of the dataset, batches, and random images of its kind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.contract.task import Split
from models.data.images.facts import ImageFacts
from models.family import ConfigT, Examples, Family, TensorExamples
from models.nn.normalization import InputNormalization


class OverImages(Family[ConfigT, dict[str, Tensor]]):
    """A family over grey images with labels; ``axes`` are the axes of its parts that the dataset decides."""

    def __init__(self, config: ConfigT, meta: Mapping[str, Any]) -> None:
        """Keep the dataset's facts."""
        super().__init__(config, meta)
        self.facts = ImageFacts.of(meta)
        self.classes, self.shape, self.pixels = self.facts.classes, self.facts.shape, math.prod(self.facts.shape)
        self.low, self.high = self.facts.value_range
        self.axes = {"height": self.shape[0], "width": self.shape[1], "classes": len(self.classes)}

    def examples(self, split: Split, device: torch.device) -> Examples[dict[str, Tensor]]:
        return TensorExamples(split, device)

    def flattened(self, generator: torch.Generator) -> tuple[nn.Module, nn.Module]:
        """Return the layers that map images to (batch, pixels) in [0, 1]."""
        return InputNormalization("scale", self.facts, generator.device), nn.Flatten()

    def example(self, part: str, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return uniform images over the value range."""
        del part
        draws = torch.rand(sizes["batch"], sizes.get("time", self.shape[0]), self.shape[1], generator=generator)
        return (self.low + (self.high - self.low) * draws,)
