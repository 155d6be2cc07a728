"""The exported graph of every classifier."""

from __future__ import annotations

from torch import Tensor, nn


class Classifier(nn.Module):
    """Logits of a network of one or two inputs, and their softmax."""

    def __init__(self, network: nn.Module) -> None:
        """Wrap the trained network."""
        super().__init__()
        self.network = network

    def forward(self, first: Tensor, second: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return logits and probabilities, both (batch, classes)."""
        logits = self.network(first) if second is None else self.network(first, second)
        return logits, logits.softmax(dim=1)
