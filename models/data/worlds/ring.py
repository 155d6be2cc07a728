"""Eight Gaussians on a ring: points of the plane on which it shows whether a generator finds all modes."""

from __future__ import annotations

import numpy as np

from models.contract.task import Array

MODES = 8
RADIUS = 2.0
DEVIATION = 0.02
NEAR = 3.0
"""Deviations within which a point belongs to a mode."""


def ring(count: int, random: np.random.Generator) -> Array:
    """Return points (count, 2) float32, each of a mode drawn at random."""
    centres = _centres()[random.integers(MODES, size=count)]
    return (centres + DEVIATION * random.standard_normal((count, 2))).astype(np.float32)


def modes_of(points: Array) -> Array:
    """Return how many of ``points`` (count, 2) lie within three deviations of each mode, (modes,)."""
    distances = np.linalg.norm(points[:, None] - _centres()[None], axis=2)
    return (distances <= NEAR * DEVIATION).sum(axis=0)


def _centres() -> Array:
    angles = 2 * np.pi * np.arange(MODES) / MODES
    return RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1)
