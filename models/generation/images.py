"""Images of requests and answers: as the encoder takes them, and as the generator gives them."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence

import numpy as np

from models.contract.errors import ValidationFailed
from models.contract.task import Array, Arrays, Call, ServedModel
from models.data.images.facts import ImageFacts
from models.data.images.given import image_of
from models.data.images.pixels import Decoder
from models.generation.codes import Codes

GENERATOR = "generator"
STEPS = 65_535
"""Values are whole multiples of one part in so many: what two machines compute differs by less."""

MOST_NUMBERS = 2**22
"""Pixels × channels of all images of an answer, some 50 MB of JSON; an answer has at least one image."""


def most_images(model: ServedModel) -> int:
    """Return how many images of this model's size an answer has at most."""
    return max(1, MOST_NUMBERS // math.prod(ImageFacts.of(model.meta).shape))


def check_count(model: ServedModel, count: int, pointer: str) -> None:
    """Return if an answer may have ``count`` images.

    Raises:
        ValidationFailed: it may not; names ``pointer``, which asks for so many, and how many there may be.
    """
    most = most_images(model)
    if count > most:
        size = " × ".join(map(str, ImageFacts.of(model.meta).shape))
        detail = f"makes {count:,} images of {size}; at most {most:,} of this size are answered, so ask for fewer"
        raise ValidationFailed.at(pointer, detail)


def images_of(model: ServedModel, inputs: Sequence[object], pointers: Sequence[str]) -> Array:
    """Return ``inputs`` as (batch, height, width[, channels]) float32 in the dataset's scale.

    Raises:
        ValidationFailed: one is no image, or of another size; names it.
    """
    facts = ImageFacts.of(model.meta)
    decoder = Decoder(facts.wanted, facts.value_range)
    pairs = zip(inputs, pointers, strict=True)
    return np.stack([image_of(facts, decoder, value, pointer) for value, pointer in pairs])


def input_pointers(count: int) -> list[str]:
    """Return the JSON pointers of the inputs of a request."""
    return [f"/inputs/{index}" for index in range(count)]


def unit(model: ServedModel, images: Array) -> Array:
    """Return images of the dataset's scale in [0, 1]."""
    low, high = ImageFacts.of(model.meta).value_range
    return np.clip((images.astype(np.float64) - low) / (high - low), 0, 1)


def generated(codes: Codes, latents: Array) -> Generator[Call, Arrays, Array]:
    """Yield a run of the generator over ``latents`` (count, width); return images in [0, 1], rounded, float32."""
    outputs = yield Call(GENERATOR, codes.arrays(latents))
    return rounded(outputs["images"])


def rounded(images: Array) -> Array:
    """Return values clipped to [0, 1] and rounded to ``STEPS``, float32."""
    return (np.rint(np.clip(images.astype(np.float64), 0, 1) * STEPS) / STEPS).astype(np.float32)
