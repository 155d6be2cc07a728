"""Images as arrays of an upload: what they may be, their range and statistics, and each as a PNG to look at.

Shared by the kinds of dataset that hold images; each problem names its part.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping

import numpy as np
from pydantic import JsonValue

from models.contract.errors import InvalidDataset
from models.contract.task import Array
from models.data.chunks import chunks
from models.data.images.facts import ImageFacts

LARGEST_SIDE = 4_096


def check_header(part: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Refuse by shape and dtype alone, before a pixel is read.

    Raises:
        InvalidDataset: they are no images, or too large; names the part.
    """
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3, 4)):
        found = " × ".join(map(str, shape))
        raise InvalidDataset.at(
            f"/{part}",
            f"images must be (count, height, width) or (count, height, width, 1, 3 or 4 channels), not {found}",
        )
    if shape[0] == 0:
        raise InvalidDataset.at(f"/{part}", "holds no images")
    if 0 in shape or max(shape[1:3]) > LARGEST_SIDE:
        raise InvalidDataset.at(
            f"/{part}",
            f"images are {shape[1]} × {shape[2]} pixels; sides from 1 to {LARGEST_SIDE} are read, so scale them down",
        )
    if dtype.kind not in "uif":
        raise InvalidDataset.at(f"/{part}", f"images must be numbers, not {dtype}")


def check_images(part: str, images: Array, train: Array) -> None:
    """Refuse images of another size than those of the training part, and pixels that are no numbers.

    Raises:
        InvalidDataset: names the part, and the first image with such pixels.
    """
    if images.shape[1:] != train.shape[1:]:
        detail = f"images are {images.shape[1:]}, those of 'train' are {train.shape[1:]}; all must have one size"
        raise InvalidDataset.at(f"/{part}", detail)
    if images.dtype.kind == "f" and (first := _first_not_finite(images)) is not None:
        detail = f"image {first} has pixels that are NaN or infinite; replace them and upload again"
        raise InvalidDataset.at(f"/{part}", detail)


def value_range_of(images: Array) -> tuple[float, float]:
    """Return 0 to 255 for whole numbers in it, 0 to 1 for fractions in it, else the data's own range."""
    low, high = float(images.min()), float(images.max())
    if images.dtype.kind in "iu" and low >= 0 and high <= 255:
        return 0.0, 255.0
    if images.dtype.kind == "f" and low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high if high > low else low + 1.0


def check_range(images: Array, low: float, high: float) -> None:
    """Refuse training images outside the range.

    Raises:
        InvalidDataset: a pixel lies outside.
    """
    if images.min() < low or images.max() > high:
        detail = f"pixels run from {images.min()} to {images.max()}, outside value_range [{low}, {high}]"
        raise InvalidDataset.at("/train", detail)


def pixel_statistics(images: Array) -> dict[str, JsonValue]:
    """Return mean and standard deviation of the pixels, summed in float64 a chunk at a time."""
    mean = sum(float(chunk.sum(dtype=np.float64)) for _, chunk in chunks(images)) / images.size
    squares = sum(float(np.square(chunk.astype(np.float64) - mean).sum()) for _, chunk in chunks(images))
    return {"pixel_mean": mean, "pixel_standard_deviation": math.sqrt(squares / images.size)}


def shape_facts(images: Array) -> dict[str, JsonValue]:
    """Return height, width and channels (null for grey) of ``images``."""
    height, width, *channels = images.shape[1:]
    return {"height": height, "width": width, "channels": channels[0] if channels else None}


def encoded(image: Array, meta: Mapping[str, object]) -> str:
    """Return one image of a dataset with these facts as a base64 PNG."""
    from PIL import Image  # noqa: PLC0415 - only previews need it, and the gateway starts without

    low, high = ImageFacts.of(meta).value_range
    fractions = np.clip((image.astype(np.float64) - low) / (high - low), 0, 1)
    pixels = (fractions * 255).round().astype(np.uint8)
    buffer = io.BytesIO()
    grey = pixels.ndim == 3 and pixels.shape[2] == 1
    Image.fromarray(pixels[..., 0] if grey else pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _first_not_finite(images: Array) -> int | None:
    for start, chunk in chunks(images):
        finite = (np.abs(chunk) <= np.finfo(np.float32).max).reshape(len(chunk), -1).all(axis=1)
        if not finite.all():
            return start + int(np.flatnonzero(~finite)[0])
    return None
