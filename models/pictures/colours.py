"""From values to pixels."""

from __future__ import annotations

import numpy as np

from models.contract.task import Array

DIVERGING = np.array([[33, 102, 172], [146, 197, 222], [247, 247, 247], [244, 165, 130], [178, 24, 43]], np.float64)
"""Blue, white, red: the colours of ColorBrewer's RdBu (C. Brewer, 2002) at equal steps."""

SEQUENTIAL = np.array([[247, 251, 255], [198, 219, 239], [107, 174, 214], [33, 113, 181], [8, 48, 107]], np.float64)
"""White to dark blue: the colours of ColorBrewer's Blues (C. Brewer, 2002) at equal steps."""


def grey(values: Array, low: float, high: float) -> Array:
    """Return ``values`` of any shape as uint8, ``low`` black and ``high`` white."""
    return (_fractions(values, low, high) * 255).round().astype(np.uint8)


def sequential(values: Array, low: float, high: float) -> Array:
    """Return ``values`` (…) as colours (…, 3) uint8: ``low`` white, ``high`` dark blue."""
    return _interpolated(_fractions(values, low, high), SEQUENTIAL)


def diverging(values: Array) -> Array:
    """Return ``values`` (…) as colours (…, 3) uint8: blue below zero, white at it, red above."""
    largest = float(np.abs(values).max(initial=0.0)) or 1.0
    return _interpolated((values.astype(np.float64) / largest + 1) / 2, DIVERGING)


def _fractions(values: Array, low: float, high: float) -> Array:
    span = high - low if high > low else 1.0
    return np.clip((values.astype(np.float64) - low) / span, 0, 1)


def _interpolated(fractions: Array, palette: Array) -> Array:
    position = fractions * (len(palette) - 1)
    channels = [np.interp(position, np.arange(len(palette)), palette[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)
