"""The exported graph of every classifier."""

from __future__ import annotations

from torch import Tensor, nn


class Classifier(nn.Module):
    """Logits of a network and their softmax."""

    def __init__(self, network: nn.Module) -> None:
        """Wrap the trained network."""
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and probabilities, both (batch, classes)."""
        logits = self.network(inputs)
        return logits, logits.softmax(dim=1)
