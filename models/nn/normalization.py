"""Input normalisation as part of the network, so that requests carry the dataset's own scale."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from models.data.images.facts import ImageFacts

Normalization = Literal["scale", "standardize", "none"]


class InputNormalization(nn.Module):
    """Return (x − shift) / scale with one shift and one scale for all inputs.

    ``scale`` maps the dataset's value range to [0, 1]; ``standardize`` subtracts the mean of the training
    pixels and divides by their standard deviation; ``none`` leaves the values as they are.
    """

    shift: Tensor
    factor: Tensor

    def __init__(self, kind: Normalization, facts: ImageFacts, device: torch.device) -> None:
        """Take the constants from the dataset's facts."""
        super().__init__()
        shift, scale = _constants(kind, facts)
        self.register_buffer("shift", torch.tensor(shift, device=device))
        self.register_buffer("factor", torch.tensor(1 / scale, device=device))

    def forward(self, values: Tensor) -> Tensor:
        """Return ``values`` normalised, float32, same shape."""
        return (values.to(self.shift.dtype) - self.shift) * self.factor


def _constants(kind: Normalization, facts: ImageFacts) -> tuple[float, float]:
    """Return shift and scale."""
    if kind == "none":
        return 0.0, 1.0
    if kind == "standardize":
        return facts.mean, facts.deviation if facts.deviation > 0 else 1.0
    low, high = facts.value_range
    return low, high - low
