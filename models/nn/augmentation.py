"""Random shifts, flips and rotations of training images, a batch at a time, drawn from a generator that is given.

Simard, Steinkraus, Platt, "Best Practices for Convolutional Neural Networks Applied to Visual Document Analysis",
ICDAR (2003), §2. Pixels from beyond the edge repeat it, so that no frame appears whatever the background.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class Augmentation(nn.Module):
    """In training every image is shifted, mirrored and rotated at random; else identity."""

    def __init__(self, shift: int, rotation: float, generator: torch.Generator, *, horizontal_flip: bool) -> None:
        """Keep the largest shift in pixels, the largest rotation in degrees, and the generator of the draws."""
        super().__init__()
        self._shift, self._rotation, self._flip = shift, rotation, horizontal_flip
        self._generator = generator

    def forward(self, images: Tensor) -> Tensor:
        """Return ``images`` (batch, channels, height, width), each changed by draws of its own."""
        if not self.training:
            return images
        count, device = len(images), self._generator.device
        if self._rotation > 0:
            angles = torch.rand(count, generator=self._generator, device=device) * 2 - 1
            images = rotate(images, angles * self._rotation)
        if self._shift > 0 or self._flip:
            bounds = (-self._shift, self._shift + 1)
            shifts = torch.randint(*bounds, (2, count), generator=self._generator, device=device)
            share = 0.5 if self._flip else 0.0
            mirrored = torch.rand(count, generator=self._generator, device=device) < share
            images = displace(images, shifts, mirrored)
        return images


def displace(images: Tensor, shifts: Tensor, mirrored: Tensor) -> Tensor:
    """Return images moved down and right by whole pixels, then mirrored left and right where asked.

    Args:
        images: (batch, channels, height, width).
        shifts: (2, batch) int64, pixels down and right.
        mirrored: (batch,) bool.
    """
    count, _, height, width = images.shape
    rows = (torch.arange(height, device=images.device) - shifts[0, :, None]).clamp(0, height - 1)  # (batch, height)
    across = torch.arange(width, device=images.device).expand(count, width)
    across = torch.where(mirrored[:, None], width - 1 - across, across)
    columns = (across - shifts[1, :, None]).clamp(0, width - 1)  # (batch, width)
    chosen = torch.arange(count, device=images.device)[:, None, None]
    pixels = images.permute(0, 2, 3, 1)[chosen, rows[:, :, None], columns[:, None, :]]
    return pixels.permute(0, 3, 1, 2)  # (batch, channels, height, width), channels last in memory


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Return images turned counter-clockwise about their centre, bilinear between pixels.

    Args:
        images: (batch, channels, height, width).
        degrees: (batch,) angles.
    """
    height, width = images.shape[2:]
    radians = degrees * (math.pi / 180)
    cosine, sine, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    # Where each pixel comes from, in coordinates that run from −1 to 1 on both axes however long the sides.
    across = torch.stack([cosine, -sine * (height / width), zero], dim=1)
    down = torch.stack([sine * (width / height), cosine, zero], dim=1)
    grid = functional.affine_grid(torch.stack([across, down], dim=1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
