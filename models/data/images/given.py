"""An image as a request brings it: bytes or base64 of a picture, or nested numbers in the dataset's scale.

Called by the codecs of every task that takes images.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from models.contract.errors import ValidationFailed
from models.contract.task import Array
from models.data.images.facts import ImageFacts
from models.data.images.pixels import Decoder, decode_base64


def image_of(facts: ImageFacts, decoder: Decoder, value: object, pointer: str) -> Array:
    """Return ``facts.shape`` float32 in the dataset's scale.

    Args:
        facts: of the dataset that the model learnt from.
        decoder: reads all encoded pictures of the request.
        value: the bytes of a picture, ``{"image": base64}``, or nested numbers.
        pointer: of the value in the request, for errors.

    Raises:
        ValidationFailed: it is none of them, of another size, or not finite; says what would be taken.
    """
    if isinstance(value, bytes):
        return decoder.decode(value, "/")
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        encoded = fields.get("image")
        if not isinstance(encoded, str) or len(fields) != 1:
            raise ValidationFailed.at(pointer, 'must be nested numbers or {"image": "<base64 PNG or JPEG>"}')
        data = decode_base64(encoded, f"{pointer}/image")
        return decoder.decode(data, f"{pointer}/image")
    return _numbers(value, facts.shape, pointer)


def _numbers(value: object, shape: tuple[int, ...], pointer: str) -> Array:
    if not isinstance(value, list | np.ndarray):
        raise ValidationFailed.at(pointer, 'must be nested numbers or {"image": "<base64 PNG or JPEG>"}')
    if isinstance(value, list):
        _check_nesting(cast("list[object]", value), len(shape) + 1, shape, pointer)
    try:
        array = np.asarray(cast("list[object]", value))
    except ValueError as error:
        raise ValidationFailed.at(pointer, f"is ragged; the model takes numbers of shape {list(shape)}") from error
    if array.dtype.kind not in "iuf":
        raise ValidationFailed.at(pointer, f"holds something that is not a number; the model takes shape {list(shape)}")
    if array.shape != shape and ((array.ndim != 1 and array.shape != (*shape, 1)) or array.size != np.prod(shape)):
        raise ValidationFailed.at(pointer, f"has shape {list(array.shape)}; the model takes {list(shape)}")
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite, and is refused as such
        array = array.astype(np.float32).reshape(shape)
    if not np.isfinite(array).all():
        raise ValidationFailed.at(pointer, "holds NaN or infinite values")
    return array


def _check_nesting(values: list[object], axes: int, shape: tuple[int, ...], pointer: str) -> None:
    """Refuse text before numpy makes every value as wide as the longest, and lists deeper than ``axes``."""
    kinds = set(map(type, values))
    if not kinds <= {int, float, list}:
        raise ValidationFailed.at(pointer, f"holds something that is not a number; the model takes shape {list(shape)}")
    if list in kinds:
        if axes <= 1:
            raise ValidationFailed.at(pointer, f"is nested too deep; the model takes shape {list(shape)}")
        for value in values:
            if isinstance(value, list):
                _check_nesting(cast("list[object]", value), axes - 1, shape, pointer)
