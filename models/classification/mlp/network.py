"""The network: normalisation, hidden layers, logits."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.classification.mlp.spec import MlpConfig
from models.data.image_facts import ImageFacts
from models.nn.dropout import Dropout
from models.nn.linear import linear
from models.nn.normalization import InputNormalization

ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
}


class Mlp(nn.Module):
    """h⁰ = normalised input, hᵏ = g(Wᵏ hᵏ⁻¹ + bᵏ), logits = W hᴸ + b (Goodfellow Eq. 6.40 to 6.41)."""

    def __init__(self, config: MlpConfig, facts: ImageFacts, generator: torch.Generator) -> None:
        """Draw the weights from ``generator``."""
        super().__init__()
        self.normalization = InputNormalization(config.normalization, facts, generator.device)
        layers: list[nn.Module] = []
        if config.dropout_input > 0:
            layers.append(Dropout(config.dropout_input, generator))
        width = math.prod(facts.shape)
        for units in config.hidden_sizes:
            layers += [linear(width, units, generator), ACTIVATIONS[config.activation]()]
            if config.dropout > 0:
                layers.append(Dropout(config.dropout, generator))
            width = units
        layers.append(linear(width, len(facts.classes), generator))
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, classes) of ``images`` (batch, height, width[, channels]) in the dataset's scale."""
        return self.layers(self.normalization(images).flatten(1))


class Classifier(nn.Module):
    """The exported graph: logits and their softmax."""

    def __init__(self, network: nn.Module) -> None:
        """Wrap the trained network."""
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and probabilities, both (batch, classes)."""
        logits = self.network(images)
        return logits, logits.softmax(dim=1)
