"""Fully connected layers with a nonlinearity between them, as classifiers end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from models.nn.dropout import Dropout
from models.nn.linear import linear

ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
}
"""Nonlinearities by the names that configurations use."""


def perceptron(
    inputs: int,
    hidden_sizes: Sequence[int],
    outputs: int,
    generator: torch.Generator,
    *,
    activation: str,
    dropout: float,
) -> list[nn.Module]:
    """Return hᵏ = g(Wᵏ hᵏ⁻¹ + bᵏ) for each hidden layer, dropout behind it, then W hᴸ + b (Goodfellow Eq. 6.40)."""
    layers: list[nn.Module] = []
    width = inputs
    for units in hidden_sizes:
        layers += [linear(width, units, generator), ACTIVATIONS[activation]()]
        if dropout > 0:
            layers.append(Dropout(dropout, generator))
        width = units
    return [*layers, linear(width, outputs, generator)]
