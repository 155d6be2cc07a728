"""Pooling: one number for each rectangle of a feature map (Goodfellow, "Deep Learning", §9.3).

Lp pooling is the power mean of Sermanet, Chintala, LeCun, "Convolutional Neural Networks Applied to House Numbers
Digit Classification", ICPR (2012), Eq. 1, with equal weights: (mean |x|ᵖ)^(1/p). Dividing by the number of pixels,
which a plain norm does not, makes p = 1 the average and p → ∞ the maximum of maps that are not negative.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

Sides = tuple[int, int]
SMALLEST = 1e-30
"""Stands in for the largest of a rectangle of zeros, so that nothing is divided by zero."""


def lp_pool(maps: Tensor, size: Sides, stride: Sides, p: float) -> Tensor:
    """Return the power mean of |x| over each rectangle, (batch, channels, height, width).

    Each rectangle is first divided by its largest value m, and the mean multiplied by it: powers neither overflow
    nor vanish, whatever p. The mean of the divided powers is then at least 1 over the pixels; only in a rectangle
    of zeros it is less, and held from the root there, whose slope at 0 has no bound.
    """
    sizes = maps.abs()
    largest = functional.max_pool2d(sizes.detach(), size, stride)
    (height, width), (down, across) = size, stride
    windows = sizes.unfold(2, height, down).unfold(3, width, across)
    share = windows / largest.clamp_min(SMALLEST)[..., None, None]  # (batch, channels, height, width, rows, columns)
    mean = share.pow(p).mean(dim=(4, 5)).clamp_min(0.5 / (height * width))
    return largest * mean.pow(1 / p)


def gaussian_weights(size: Sides, sigma: float) -> Tensor:
    """Return weights (height, width) ∝ exp(−d² / 2σ²), d the distance from the rectangle's centre, of sum 1."""
    rows, columns = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2 for side in size)
    squares = rows[:, None] ** 2 + columns**2
    return (-squares / (2 * sigma**2)).flatten().softmax(dim=0).reshape(size).float()


class MaxPooling(nn.Module):
    """The largest value."""

    def __init__(self, size: Sides, stride: Sides) -> None:
        """Keep rectangle and stride, (height, width) in pixels."""
        super().__init__()
        self._size, self._stride = size, stride

    def forward(self, maps: Tensor) -> Tensor:
        """Return the pooled ``maps`` (batch, channels, height, width)."""
        return functional.max_pool2d(maps, self._size, self._stride)


class AveragePooling(nn.Module):
    """The mean."""

    def __init__(self, size: Sides, stride: Sides) -> None:
        """Keep rectangle and stride, (height, width) in pixels."""
        super().__init__()
        self._size, self._stride = size, stride

    def forward(self, maps: Tensor) -> Tensor:
        """Return the pooled ``maps`` (batch, channels, height, width)."""
        return functional.avg_pool2d(maps, self._size, self._stride)


class LpPooling(nn.Module):
    """The power mean of the absolute values."""

    def __init__(self, size: Sides, stride: Sides, p: float) -> None:
        """Keep rectangle, stride and exponent."""
        super().__init__()
        self._size, self._stride, self._p = size, stride, p

    def forward(self, maps: Tensor) -> Tensor:
        """Return the pooled ``maps`` (batch, channels, height, width)."""
        return lp_pool(maps, self._size, self._stride, self._p)


class WeightedAveragePooling(nn.Module):
    """A mean with weights that fall with the distance from the central pixel, as a Gaussian; they are not learnt."""

    weights: Tensor

    def __init__(self, size: Sides, stride: Sides, sigma: float, device: torch.device) -> None:
        """Compute the weights; ``sigma`` is in pixels."""
        super().__init__()
        self._stride = stride
        self.register_buffer("weights", gaussian_weights(size, sigma).to(device))

    def forward(self, maps: Tensor) -> Tensor:
        """Return the pooled ``maps`` (batch, channels, height, width)."""
        channels = maps.shape[1]
        weights = self.weights.expand(channels, 1, *self.weights.shape)
        return functional.conv2d(maps, weights, stride=self._stride, groups=channels)
