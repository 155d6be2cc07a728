"""Fixed image filters by name: 3 × 3 kernels, cross-correlated with each channel, as ``scipy.ndimage`` does it.

Edges are repeated outwards, which with these kernels is both ``nearest`` and ``reflect`` (the default) of SciPy.
``x`` differs along the width and finds vertical edges, ``y`` along the height.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.nn.convolution import Placement, cross_correlate

Kernel = tuple[tuple[float, ...], ...]

PREWITT: Kernel = ((-1, 0, 1), (-1, 0, 1), (-1, 0, 1))
SOBEL: Kernel = ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1))


def _transposed(kernel: Kernel) -> Kernel:
    return tuple(zip(*kernel, strict=True))


def _divided(kernel: Kernel, divisor: float) -> Kernel:
    return tuple(tuple(tap / divisor for tap in row) for row in kernel)


FILTERS: Mapping[str, Kernel] = {
    "average": _divided(((1, 1, 1), (1, 1, 1), (1, 1, 1)), 9),
    # Binomial, which is the Gaussian of σ = 1 / √(2 ln 2) = 0.849 sampled at −1, 0, 1.
    "gaussian": _divided(((1, 2, 1), (2, 4, 2), (1, 2, 1)), 16),
    "prewitt_x": PREWITT,
    "prewitt_y": _transposed(PREWITT),
    "sobel_x": SOBEL,
    "sobel_y": _transposed(SOBEL),
    # What a pixel differs by from its eight neighbours; the image and that; the image and what it differs from four.
    "high_pass": ((-1, -1, -1), (-1, 8, -1), (-1, -1, -1)),
    "sharpen": ((-1, -1, -1), (-1, 9, -1), (-1, -1, -1)),
    "sharpen_low": ((0, -1, 0), (-1, 5, -1), (0, -1, 0)),
}


class ImageFilter(nn.Module):
    """One of :data:`FILTERS` over every channel; not trained."""

    kernels: Tensor

    def __init__(self, name: str, channels: int, device: torch.device) -> None:
        """Keep the kernel once for each of ``channels``."""
        super().__init__()
        kernel = torch.tensor(FILTERS[name], dtype=torch.float32, device=device)
        self.register_buffer("kernels", kernel.expand(channels, 1, 3, 3).clone())

    def forward(self, images: Tensor) -> Tensor:
        """Return ``images`` (batch, channels, height, width) filtered, same shape."""
        padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
        return cross_correlate(padded, self.kernels, Placement(groups=len(self.kernels)))
