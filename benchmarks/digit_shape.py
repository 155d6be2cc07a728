"""What can be measured of a drawn digit without knowing which it is: how it leans, and how wide it is."""

from __future__ import annotations

from typing import cast

import numpy as np

from models.contract.task import Array

FAINTEST = 1e-9
"""Least divisor: an image without any brightness has neither slant nor width."""


def slants_and_widths(images: Array) -> tuple[Array, Array]:
    """Return slant and width (count,) of ``images`` (count, height, width), bright on dark.

    The slant is the shear that stands the strokes upright, μ₁₁ / μ₀₂ by central moments of brightness; the width is the
    standard deviation along the rows after it, in pixels.
    """
    rows, columns = cast("Array", np.indices(images.shape[1:], np.float64))
    weights = cast("Array", images / np.maximum(images.sum(axis=(1, 2), keepdims=True), FAINTEST))

    def mean(values: Array) -> Array:
        """Return the mean of values (count, height, width) by brightness, (count, 1, 1)."""
        return (weights * values).sum(axis=(1, 2), keepdims=True)

    down, across = cast("Array", rows - mean(rows)), cast("Array", columns - mean(columns))
    slants = cast("Array", mean(down * across) / np.maximum(mean(down * down), FAINTEST))
    upright = cast("Array", across - slants * down)
    return slants.ravel(), np.sqrt(mean(upright * upright)).ravel()


def correlation(codes: Array, measures: Array, groups: Array) -> float:
    """Return the correlation of codes and measures (count,) within groups: both less the mean of their group."""
    one, other = codes.astype(np.float64).copy(), measures.astype(np.float64).copy()
    for group in np.unique(groups):
        one[groups == group] -= one[groups == group].mean()
        other[groups == group] -= other[groups == group].mean()
    return float((one * other).sum() / np.sqrt(np.square(one).sum() * np.square(other).sum()))
