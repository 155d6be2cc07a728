"""What images and memory allow of both networks, checked when a job is submitted. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from models.contract.errors import ValidationFailed
from models.data.images.facts import ImageFacts

MOST_PARAMETERS = 50_000_000
"""Weights of one side."""

TAPS = 16
"""Of a kernel of 4 × 4 pixels."""


def check_sides(generator: Sequence[int], discriminator: Sequence[int], facts: ImageFacts) -> None:
    """Return if images can be halved once for each of the discriminator's channels, and made by as many doublings.

    Raises:
        ValidationFailed: a side would have less than a pixel, or a single pixel would become more than twice the image;
            says how many numbers fit.
    """
    height, width = facts.shape[:2]
    smallest, largest = min(height, width), max(height, width)
    if smallest >> len(discriminator) < 1:
        detail = (
            f"halves images of {height} × {width} pixels {len(discriminator)} times; use at most "
            f"{smallest.bit_length() - 1} numbers, or larger images"
        )
        raise ValidationFailed.at("/config/discriminator_channels", detail)
    if 2 ** len(generator) > 2 * largest:
        detail = (
            f"makes {2 ** len(generator)} pixels a side of one, and images have {height} × {width}; use at most "
            f"{(2 * largest).bit_length() - 1} numbers"
        )
        raise ValidationFailed.at("/config/generator_channels", detail)


def check_parameters(counts: Mapping[str, int]) -> None:
    """Return if neither side has more than ``MOST_PARAMETERS``.

    Args:
        counts: weights by the pointer of the option that decides most about them.

    Raises:
        ValidationFailed: there are more; says how many.
    """
    for pointer, count in counts.items():
        if count > MOST_PARAMETERS:
            detail = f"makes {count:,} weights of these images, more than {MOST_PARAMETERS:,}; use smaller numbers"
            raise ValidationFailed.at(pointer, detail)


def dense_weights(sizes: Sequence[int]) -> int:
    """Return the weights of fully connected layers between layers of these ``sizes``."""
    return sum(before * after for before, after in pairwise(sizes))


def generator_weights(latent: int, hidden: Sequence[int], channels: Sequence[int], facts: ImageFacts) -> int:
    """Return the weights of a convolutional generator."""
    sides = [-(-side // 2 ** len(channels)) for side in facts.shape[:2]]
    maps = TAPS * dense_weights([*channels, _planes(facts)])
    return dense_weights([latent, *hidden, channels[0] * math.prod(sides)]) + maps


def trunk_weights(channels: Sequence[int], hidden: Sequence[int], facts: ImageFacts) -> int:
    """Return the weights of a convolutional discriminator, its fully connected layers of ``hidden`` units."""
    sides = [side // 2 ** len(channels) for side in facts.shape[:2]]
    maps = TAPS * dense_weights([_planes(facts), *channels])
    return maps + dense_weights([channels[-1] * math.prod(sides), *hidden])


def _planes(facts: ImageFacts) -> int:
    return facts.shape[2] if len(facts.shape) == 3 else 1
