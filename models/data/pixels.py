"""From an encoded image (PNG or JPEG) to the array a model takes, in the dataset's own scale."""

from __future__ import annotations

import base64
import binascii
import io
from typing import TYPE_CHECKING, cast

import numpy as np

from models.contract.errors import ValidationFailed
from models.contract.task import Array

if TYPE_CHECKING:
    from PIL.Image import Image

MODES = {None: "L", 1: "L", 3: "RGB", 4: "RGBA"}
LARGEST_SAMPLE = {"I;16": 65_535, "I;16B": 65_535, "I": 65_535}


def decode_base64(text: str, pointer: str) -> bytes:
    """Return the bytes of a base64 string, with or without a ``data:`` prefix.

    Raises:
        ValidationFailed: not base64.
    """
    try:
        return base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValidationFailed.at(pointer, f"is not valid base64 ({error})") from error


def decode_image(data: bytes, shape: tuple[int, ...], value_range: tuple[float, float], pointer: str) -> Array:
    """Return the image as float32 of ``shape`` (height, width[, channels]), its samples mapped to ``value_range``.

    The size is read from the header and compared before a pixel is decoded, so a picture of 50,000 × 50,000
    pixels costs nothing.

    Raises:
        ValidationFailed: not a PNG or JPEG, cut off, or of another size.
    """
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - keeps the gateway's start fast

    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            width, height = image.size
            if (height, width) != shape[:2]:
                detail = f"is {width} × {height} pixels; the model takes {shape[1]} × {shape[0]} (width × height)"
                raise ValidationFailed.at(pointer, detail)
            samples = _samples(image, shape[2] if len(shape) == 3 else None)
    except UnidentifiedImageError as error:
        raise ValidationFailed.at(pointer, "is not a PNG or JPEG image") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        detail = f"has far more pixels than the {shape[1]} × {shape[0]} that the model takes"
        raise ValidationFailed.at(pointer, detail) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ValidationFailed.at(pointer, f"is a damaged or cut-off image ({error})") from error
    low, high = value_range
    return (low + (high - low) * samples).reshape(shape).astype(np.float32)


def _samples(image: Image, channels: int | None) -> Array:
    """Return the samples as fractions of the largest, (height, width) or (height, width, channels)."""
    largest = LARGEST_SAMPLE.get(image.mode)
    if largest is not None and MODES[channels] == "L":
        return cast("Array", np.asarray(image, dtype=np.float64) / largest)
    return cast("Array", np.asarray(image.convert(MODES[channels]), dtype=np.float64) / 255)
