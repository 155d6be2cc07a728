"""What can be measured of a drawn digit without knowing which it is: how it leans, and how wide it is."""

from __future__ import annotations

import numpy as np

from models.contract.task import Array


def slants_and_widths(images: Array) -> tuple[Array, Array]:
    """Return slant and width (count,) of ``images`` (count, height, width), bright on dark.

    The slant is the shear that stands the strokes upright, μ₁₁ / μ₀₂ by central moments of brightness; the width is the
    standard deviation along the rows after it, in pixels.
    """
    weights = images / images.sum(axis=(1, 2), keepdims=True).clip(min=1e-9)
    rows: Array = np.arange(images.shape[1])[None, :, None]
    columns: Array = np.arange(images.shape[2])[None, None, :]
    down = rows - (weights * rows).sum(axis=(1, 2), keepdims=True)
    across = columns - (weights * columns).sum(axis=(1, 2), keepdims=True)
    slants = (weights * down * across).sum(axis=(1, 2)) / (weights * down**2).sum(axis=(1, 2)).clip(min=1e-9)
    upright = across - slants[:, None, None] * down
    return slants, np.sqrt((weights * upright**2).sum(axis=(1, 2)))


def correlation(codes: Array, measures: Array, groups: Array) -> float:
    """Return the correlation of codes and measures (count,) within groups: both less the mean of their group."""
    one, other = codes.astype(np.float64).copy(), measures.astype(np.float64).copy()
    for group in np.unique(groups):
        one[groups == group] -= one[groups == group].mean()
        other[groups == group] -= other[groups == group].mean()
    return float((one * other).sum() / np.sqrt(np.square(one).sum() * np.square(other).sum()))
