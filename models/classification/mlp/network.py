"""The network: encoded inputs, hidden layers, logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from models.classification.mlp.spec import MlpConfig
from models.nn.dropout import Dropout
from models.nn.encoding import Encoder
from models.nn.linear import linear

ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
}


class Mlp(nn.Module):
    """h⁰ = encoded inputs, hᵏ = g(Wᵏ hᵏ⁻¹ + bᵏ), logits = W hᴸ + b (Goodfellow Eq. 6.40 to 6.41)."""

    def __init__(
        self, config: MlpConfig, encoders: Sequence[Encoder], classes: int, generator: torch.Generator
    ) -> None:
        """Draw the weights from ``generator``; ``encoders`` are one per input."""
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        layers: list[nn.Module] = []
        if config.dropout_input > 0:
            layers.append(Dropout(config.dropout_input, generator))
        width = sum(encoder.width for encoder in encoders)
        for units in config.hidden_sizes:
            layers += [linear(width, units, generator), ACTIVATIONS[config.activation]()]
            if config.dropout > 0:
                layers.append(Dropout(config.dropout, generator))
            width = units
        layers.append(linear(width, classes, generator))
        self.layers = nn.Sequential(*layers)

    def forward(self, first: Tensor, second: Tensor | None = None) -> Tensor:
        """Return logits (batch, classes) of the inputs in the dataset's scale, as many as there are encoders."""
        inputs = (first,) if second is None else (first, second)
        encoded = [encoder(values) for encoder, values in zip(self.encoders, inputs, strict=True)]
        return self.layers(torch.cat(encoded, dim=1) if len(encoded) > 1 else encoded[0])


class Classifier(nn.Module):
    """The exported graph: logits and their softmax."""

    def __init__(self, network: nn.Module) -> None:
        """Wrap the trained network."""
        super().__init__()
        self.network = network

    def forward(self, first: Tensor, second: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return logits and probabilities, both (batch, classes)."""
        logits = self.network(first) if second is None else self.network(first, second)
        return logits, logits.softmax(dim=1)
