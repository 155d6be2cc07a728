"""Transposed convolution: the map whose matrix is the transpose of a strided correlation's (Dumoulin, Visin 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

KERNEL = 4
"""Pixels of a side; with stride 2 and one pixel of padding a side doubles exactly, and every output has four taps."""


class Doubling(nn.Module):
    """A transposed convolution of 4 × 4 pixels and stride 2: maps of twice the height and twice the width.

    Radford, Metz, Chintala (2016) call it fractionally-strided; it learns its own upsampling (§3).
    """

    def __init__(self, channels: int, maps: int, deviation: float, generator: torch.Generator, *, bias: bool) -> None:
        """Draw kernels from N(0, deviation²); biases start at zero."""
        super().__init__()
        kernels = torch.empty(channels, maps, KERNEL, KERNEL, device=generator.device)
        self.weight = nn.Parameter(kernels.normal_(0, deviation, generator=generator))
        self.bias = nn.Parameter(torch.zeros(maps, device=generator.device)) if bias else None

    def forward(self, images: Tensor) -> Tensor:
        """Return maps (batch, maps, 2 height, 2 width) of ``images`` (batch, channels, height, width)."""
        return functional.conv_transpose2d(images, self.weight, self.bias, stride=2, padding=1)


class Halving(nn.Module):
    """Its counterpart, a cross-correlation of 4 × 4 pixels and stride 2: maps of half the height and half the width."""

    def __init__(self, channels: int, maps: int, deviation: float, generator: torch.Generator, *, bias: bool) -> None:
        """Draw kernels from N(0, deviation²); biases start at zero."""
        super().__init__()
        kernels = torch.empty(maps, channels, KERNEL, KERNEL, device=generator.device)
        self.weight = nn.Parameter(kernels.normal_(0, deviation, generator=generator))
        self.bias = nn.Parameter(torch.zeros(maps, device=generator.device)) if bias else None

    def forward(self, images: Tensor) -> Tensor:
        """Return maps (batch, maps, height // 2, width // 2) of ``images`` (batch, channels, height, width)."""
        return functional.conv2d(images, self.weight, self.bias, stride=2, padding=1)
