"""What families and codecs know of a dataset of images, labelled or not, read from its ``meta``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from models.data.images.pixels import Wanted


@dataclass(frozen=True)
class ImageFacts:
    """Facts of a dataset of images.

    Attributes:
        shape: (height, width) or (height, width, channels).
        classes: labels in the order of their indices; none where images have none.
        value_range: smallest and largest value a pixel can have.
        mean: mean of the training pixels.
        deviation: standard deviation of the training pixels.
        wanted: what an encoded picture becomes, by the rule that the dataset's own pictures were read by.
    """

    shape: tuple[int, ...]
    classes: tuple[str, ...]
    value_range: tuple[float, float]
    mean: float
    deviation: float
    wanted: Wanted

    @classmethod
    def of(cls, meta: Mapping[str, object]) -> ImageFacts:
        """Return the facts that the dataset kind recorded."""
        facts = cast("Mapping[str, Any]", meta)
        sides = (facts["height"], facts["width"], facts["channels"])
        shape = tuple(side for side in sides if side is not None)
        low, high = facts["value_range"]
        return cls(
            shape=shape,
            classes=tuple(facts.get("classes", ())),
            value_range=(float(low), float(high)),
            mean=float(facts["pixel_mean"]),
            deviation=float(facts["pixel_standard_deviation"]),
            wanted=Wanted(shape, facts.get("resize", "refuse"), facts.get("background", "white")),
        )
