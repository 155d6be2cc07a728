"""Sprites: white shapes on black, drawn from the class of each factor; whoever learns them can be told what it found.

After dSprites (Matthey, Higgins, Hassabis, Lerchner 2017): square, ellipse, heart in 6 scales, 40 rotations and
32 × 32 positions, 737,280 images of 64 × 64; and a world of ellipses in 6 scales and 32 × 32 positions, 6,144 images of
32 × 32. Drawn by formula, without smoothing, so that equal factors give equal pixels everywhere.

Departure from dSprites: rotations are 40 equal steps of a turn, so that none comes twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.contract.task import Array

SHAPES = ("square", "ellipse", "heart")
SCALES, ROTATIONS, POSITIONS = 6, 40, 32
SMALLEST_SCALE = 0.5
SQUARE_HALF_SIDE = 0.68
ELLIPSE_HALF_AXES = (0.95, 0.55)
HEART_SCALE = 1.35
"""Of the heart (x² + y² − 1)³ ≤ x² y³, whose points lie within 1.3 of the origin."""

DRAW_SEED = 20_170_424


@dataclass(frozen=True)
class World:
    """One world.

    Attributes:
        side: height and width of an image in pixels.
        factors: how many classes each factor has.
        examples: how many combinations of classes the dataset holds, drawn among all without replacement.
    """

    side: int
    factors: Mapping[str, int]
    examples: int

    @property
    def combinations(self) -> int:
        """How many different images there are."""
        return math.prod(self.factors.values())

    def classes(self) -> Array:
        """Return the dataset's combinations (examples, factors) uint8: all of them in order, or a draw."""
        chosen = np.arange(self.combinations)
        if self.examples < self.combinations:
            random = np.random.Generator(np.random.Philox(DRAW_SEED))
            chosen = random.choice(self.combinations, self.examples, replace=False)
        return np.stack(np.unravel_index(chosen, tuple(self.factors.values())), axis=1).astype(np.uint8)

    def draw(self, classes: Array) -> Array:
        """Return images (count, side, side) uint8, 1 within the sprite, of ``classes`` (count, factors)."""
        stamps, chosen, corners = self._stamped(classes)
        images, size = np.zeros((len(classes), self.side, self.side), np.uint8), stamps.shape[1]
        for image, stamp, (top, left) in zip(images, chosen.tolist(), corners.tolist(), strict=True):
            image[top : top + size, left : left + size] = stamps[stamp]
        return images

    def white(self, classes: Array) -> Array:
        """Return how many pixels of each image (count,) are white; nothing is drawn for it but each shape once."""
        stamps, chosen, _ = self._stamped(classes)
        return stamps.sum(axis=(1, 2), dtype=np.int64)[chosen]

    def _stamped(self, classes: Array) -> tuple[Array, Array, Array]:
        """Return the different sprites (stamps, size, size) uint8, which of them each image has, and where.

        A sprite lies whole in a window of half the image's side and one pixel more, whatever its rotation; where
        positions are less than a pixel apart, it differs with their fraction.
        """
        places = np.stack([classes[:, list(self.factors).index(axis)] for axis in ("y", "x")], axis=1)
        corners, fractions = np.divmod(places.astype(np.int64) * self.side, 2 * POSITIONS)
        looks = [classes[:, index] for index, name in enumerate(self.factors) if name not in ("x", "y")]
        rows = np.stack([*looks, *fractions.T], axis=1)
        different, chosen = np.unique(rows, axis=0, return_inverse=True)
        return self._sprites(different.astype(np.float64)), chosen.reshape(-1), corners

    def _sprites(self, rows: Array) -> Array:
        """Return (count, size, size) uint8 of ``rows``: the classes of the look, then the fractions down and across."""
        names = [name for name in self.factors if name not in ("x", "y")]
        look, radius, window = dict(zip(names, rows.T, strict=False)), self.side / 4, np.arange(self.side // 2 + 1)
        scale = radius * (SMALLEST_SCALE + (1 - SMALLEST_SCALE) * look["scale"] / (SCALES - 1))
        angle = look.get("rotation", np.zeros(len(rows))) * 2 * math.pi / ROTATIONS
        down, across = (
            (window + 0.5 - radius - fraction[:, None] / (2 * POSITIONS)) / scale[:, None] for fraction in rows.T[-2:]
        )
        down, across = down[:, :, None], across[:, None, :]
        cosine, sine = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
        return _inside(look.get("shape"), cosine * across + sine * down, cosine * down - sine * across)


WORLDS = {
    "sprites": World(
        64, {"shape": len(SHAPES), "scale": SCALES, "rotation": ROTATIONS, "x": POSITIONS, "y": POSITIONS}, 40_000
    ),
    "ellipses": World(32, {"scale": SCALES, "x": POSITIONS, "y": POSITIONS}, SCALES * POSITIONS**2),
}


def _inside(shape: Array | None, across: Array, down: Array) -> Array:
    """Return 1 where points (count, height, width) of a sprite's own frame lie within it, else 0."""
    wide, high = ELLIPSE_HALF_AXES
    ellipse = (across / wide) ** 2 + (down / high) ** 2 <= 1
    if shape is None:
        return ellipse.astype(np.uint8)
    square = np.maximum(np.abs(across), np.abs(down)) <= SQUARE_HALF_SIDE
    x, y = across * HEART_SCALE, -down * HEART_SCALE
    heart = (x**2 + y**2 - 1) ** 3 <= x**2 * y**3
    kind = shape.astype(np.int64)[:, None, None]
    return np.where(kind == 0, square, np.where(kind == 1, ellipse, heart)).astype(np.uint8)
