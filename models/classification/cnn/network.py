"""The network: normalisation, augmentation and filter of the images, blocks, hidden layers, logits."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from models.classification.cnn.block import Pooling, Stage, stages
from models.classification.cnn.spec import CnnConfig, planes
from models.data.images.facts import ImageFacts
from models.nn.augmentation import Augmentation
from models.nn.convolution import BatchNorm, Convolution, Placement
from models.nn.filters import ImageFilter
from models.nn.normalization import InputNormalization
from models.nn.perceptron import ACTIVATIONS, perceptron
from models.nn.pooling import AveragePooling, LpPooling, MaxPooling, WeightedAveragePooling

DEFAULT_P = 2.0
DEFAULT_SIGMA = 1.0


class Block(nn.Module):
    """The three stages of Goodfellow Fig. 9.7: convolution, detector (the nonlinearity), pooling."""

    def __init__(self, stage: Stage, generator: torch.Generator) -> None:
        """Draw the kernels from ``generator``."""
        super().__init__()
        block = stage.block
        self.convolution = Convolution(
            stage.weights,
            Placement(stage.pads, block.stride, block.dilation, block.groups),
            generator,
            flipped=block.operation == "convolution",
            bias=not block.batch_norm,
        )
        detector = [BatchNorm(block.channels, device=generator.device)] if block.batch_norm else []
        self.detector = nn.Sequential(*detector, ACTIVATIONS[block.activation]())
        self.pooling = _pooling(block.pooling, generator.device)

    def maps(self, images: Tensor) -> Tensor:
        """Return the feature maps (batch, maps, height, width), before pooling."""
        return self.detector(self.convolution(images))

    def forward(self, images: Tensor) -> Tensor:
        """Return the pooled feature maps of ``images`` (batch, channels, height, width)."""
        return self.pooling(self.maps(images))


class Cnn(nn.Module):
    """Convolution blocks and a multilayer perceptron on what they find."""

    def __init__(self, config: CnnConfig, facts: ImageFacts, generator: torch.Generator) -> None:
        """Draw the weights from ``generator``."""
        super().__init__()
        channels, size = planes(facts)
        self.normalization = InputNormalization(config.normalization, facts, generator.device)
        changes = config.augmentation
        self.augmentation = Augmentation(
            changes.shift, changes.rotation, generator, horizontal_flip=changes.horizontal_flip
        )
        self.filter = ImageFilter(config.filter, channels, generator.device) if config.filter else None
        found = stages(config.blocks, channels, size)
        self.blocks = nn.ModuleDict({stage.name: Block(stage, generator) for stage in found})
        layers = perceptron(
            found[-1].block.channels * math.prod(found[-1].size),
            config.hidden_sizes,
            len(facts.classes),
            generator,
            activation=config.activation,
            dropout=config.dropout,
        )
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, classes) of ``images`` (batch, height, width[, channels]) in the dataset's scale."""
        hidden = self._planes(images)
        if self.filter is not None:
            hidden = self.filter(hidden)
        for block in self.blocks.values():
            hidden = block(hidden)
        return self.layers(hidden.flatten(1))

    def insides(self, images: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Yield name, feature maps (batch, maps, height, width) and kernels of the filter, if any, and each block."""
        hidden = self._planes(images)
        if self.filter is not None:
            hidden = self.filter(hidden)
            yield "filter", hidden, self.filter.kernels
        for name, block in self.blocks.items():
            assert isinstance(block, Block)
            maps = block.maps(hidden)
            yield name, maps, block.convolution.weight
            hidden = block.pooling(maps)

    def _planes(self, images: Tensor) -> Tensor:
        """Return the images normalised and, in training, augmented: (batch, channels, height, width)."""
        values = self.normalization(images)
        values = (values.unsqueeze(3) if values.ndim == 3 else values).permute(0, 3, 1, 2)
        return self.augmentation(values).contiguous(memory_format=torch.channels_last)


class Insides(nn.Module):
    """The exported graph of feature maps and kernels; the latter repeat along the batch, which leads every tensor."""

    def __init__(self, network: Cnn) -> None:
        """Wrap the trained network."""
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return maps (batch, maps, height, width) and kernels (batch, maps, inputs, height, width) layer by layer."""
        found: list[Tensor] = []
        for _, maps, kernels in self.network.insides(images):
            found += [maps, kernels.expand(images.shape[0], *kernels.shape)]
        return tuple(found)


def _pooling(options: Pooling | None, device: torch.device) -> nn.Module:
    if options is None:
        return nn.Identity()
    size, steps = options.size, options.steps
    match options.kind:
        case "max":
            return MaxPooling(size, steps)
        case "average":
            return AveragePooling(size, steps)
        case "lp":
            return LpPooling(size, steps, options.p or DEFAULT_P)
        case "weighted_average":
            return WeightedAveragePooling(size, steps, options.sigma or DEFAULT_SIGMA, device)
