"""The network: encoded inputs, hidden layers, logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.classification.mlp.spec import MlpConfig
from models.nn.dropout import Dropout
from models.nn.encoding import Encoder
from models.nn.perceptron import perceptron


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
        layers += perceptron(
            sum(encoder.width for encoder in encoders),
            config.hidden_sizes,
            classes,
            generator,
            activation=config.activation,
            dropout=config.dropout,
        )
        self.layers = nn.Sequential(*layers)

    def forward(self, first: Tensor, second: Tensor | None = None) -> Tensor:
        """Return logits (batch, classes) of the inputs in the dataset's scale, as many as there are encoders."""
        inputs = (first,) if second is None else (first, second)
        encoded = [encoder(values) for encoder, values in zip(self.encoders, inputs, strict=True)]
        return self.layers(torch.cat(encoded, dim=1) if len(encoded) > 1 else encoded[0])
