"""Input normalisation as part of the network, so that requests carry the dataset's own scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

import torch
from torch import Tensor, nn

Normalization = Literal["scale", "standardize", "none"]


class InputNormalization(nn.Module):
    """Return (x − shift) / scale with one shift and one scale for all inputs.

    ``scale`` maps the dataset's value range to [0, 1]; ``standardize`` subtracts the mean of the training
    pixels and divides by their standard deviation; ``none`` leaves the values as they are.
    """

    shift: Tensor
    factor: Tensor

    def __init__(self, kind: Normalization, meta: Mapping[str, object], device: torch.device) -> None:
        """Take the constants from the dataset's facts."""
        super().__init__()
        shift, scale = _constants(kind, meta)
        self.register_buffer("shift", torch.tensor(shift, device=device))
        self.register_buffer("factor", torch.tensor(1 / scale, device=device))

    def forward(self, values: Tensor) -> Tensor:
        """Return ``values`` normalised, float32, same shape."""
        return (values.to(self.shift.dtype) - self.shift) * self.factor


def _constants(kind: Normalization, meta: Mapping[str, object]) -> tuple[float, float]:
    if kind == "none":
        return 0.0, 1.0
    if kind == "standardize":
        deviation = cast("float", meta["pixel_standard_deviation"])
        return cast("float", meta["pixel_mean"]), deviation if deviation > 0 else 1.0
    low, high = cast("tuple[float, float]", meta["value_range"])
    return low, high - low
