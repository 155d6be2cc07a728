"""The values of one tensor: from JSON or bytes to an array of its dtype and shape, and nothing changed on the way."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache
from math import isfinite
from typing import cast

import numpy as np

from models.contract.errors import ValidationFailed
from models.contract.task import Array
from models.contract.tensors import Dtype, TensorSignature

warnings.filterwarnings("ignore", "overflow encountered in dot", RuntimeWarning)  # it is what is asked

PRODUCT_ELEMENTS = 2**13
"""Longer products would be computed by several threads."""

LONGEST_SQUARE = float(np.finfo(np.float32).max) ** 2

DATATYPES: dict[Dtype, str] = {
    "float32": "FP32",
    "float64": "FP64",
    "int64": "INT64",
    "int32": "INT32",
    "bool": "BOOL",
    "uint8": "UINT8",
}


@lru_cache
def sent_as(dtype: Dtype) -> np.dtype[np.generic]:
    """Return how the protocol sends values of ``dtype`` as bytes: little-endian on any machine."""
    return np.dtype(dtype).newbyteorder("<")


def from_bytes(data: memoryview, shape: Sequence[int], wanted: TensorSignature, pointer: str) -> Array:
    """Return little-endian values in row-major order as an array.

    Raises:
        ValidationFailed: their number is not that of the shape, or one is no value of the datatype.
    """
    dtype = sent_as(wanted.dtype)
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        detail = f"is {len(data)}; {list(shape)} of {DATATYPES[wanted.dtype]} are {expected} bytes"
        raise ValidationFailed.at(f"{pointer}/parameters/binary_data_size", detail)
    if dtype.kind == "b":
        numbers = np.frombuffer(data, np.uint8)
        if int(numbers.max()) > 1:
            raise ValidationFailed.at(pointer, "holds a byte that is neither 0 nor 1")
        return numbers.view(np.bool_).reshape(shape)
    values = np.frombuffer(data, dtype)
    if dtype.kind == "f" and not is_finite(values):
        raise ValidationFailed.at(pointer, "holds NaN or an infinity; send missing values by /v1, as null")
    return values.reshape(shape)


def from_json(data: object, shape: Sequence[int], wanted: TensorSignature, pointer: str) -> Array:
    """Return values, flat or nested as the shape says, or a flat array of float64, as an array.

    Raises:
        ValidationFailed: a value is not of the datatype, or they are more, fewer or nested in another way.
    """
    pointer = f"{pointer}/data"
    found = cast("Array", data) if isinstance(data, np.ndarray) else _listed(data, len(shape), wanted, pointer)
    if found.size != math.prod(shape) or (found.ndim > 1 and found.shape != tuple(shape)):
        raise ValidationFailed.at(pointer, f"has the shape {list(found.shape)}; {list(shape)} was announced")
    return _cast(found, np.dtype(wanted.dtype), pointer).reshape(shape)


def is_finite(values: Array) -> bool:
    """Return whether no float of ``values`` (any length,) is NaN or infinite."""
    if len(values) <= PRODUCT_ELEMENTS and isfinite(values.dot(values)):
        return True  # a product is faster than looking at each; where it overflows, each is looked at
    return bool(np.isfinite(values).all())


def _listed(data: object, axes: int, wanted: TensorSignature, pointer: str) -> Array:
    """Return a list, flat or nested to ``axes``, as numpy takes it."""
    if not isinstance(data, list):
        raise ValidationFailed.at(pointer, "must be a list of values")
    values = cast("list[object]", data)
    _check_values(values, axes, wanted, pointer)
    try:
        return np.asarray(values)
    except (ValueError, OverflowError) as error:
        raise ValidationFailed.at(pointer, "is ragged; send the values flat or nested as the shape says") from error


def _check_values(values: list[object], axes: int, wanted: TensorSignature, pointer: str) -> None:
    """Refuse text before numpy makes every value as wide as the longest, and lists deeper than ``axes``."""
    kinds = set(map(type, values))
    if str in kinds:
        raise ValidationFailed.at(pointer, f"holds something that is not {DATATYPES[wanted.dtype]}")
    if list in kinds:
        if axes <= 1:
            raise ValidationFailed.at(pointer, f"is nested deeper than the shape says; '{wanted.name}' has fewer axes")
        for value in values:
            if isinstance(value, list):
                _check_values(cast("list[object]", value), axes - 1, wanted, pointer)


def _cast(values: Array, dtype: np.dtype[np.generic], pointer: str) -> Array:
    """Return ``values`` as ``dtype`` if none of them changes more than by rounding."""
    if values.dtype == np.float64 and dtype == np.float32 and _is_short(values):
        return values.astype(dtype)
    kinds = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}[dtype.kind]
    if values.dtype.kind not in kinds:
        raise ValidationFailed.at(pointer, f"holds something that is not {DATATYPES[cast('Dtype', dtype.name)]}")
    if dtype.kind in "iu":
        bounds = np.iinfo(dtype.name)
        if int(values.min()) < bounds.min or int(values.max()) > bounds.max:
            raise ValidationFailed.at(pointer, f"holds a number outside [{bounds.min}, {bounds.max}]")
    with np.errstate(over="ignore"):
        converted = values.astype(dtype)
    if dtype.kind == "f" and not is_finite(converted.reshape(-1)):
        raise ValidationFailed.at(pointer, f"holds a number that is too large for {dtype.name}")
    return converted


def _is_short(values: Array) -> bool:
    """Return whether ``values``, flat float64, are no longer as a vector than the largest float32; if so, none is."""
    return values.ndim == 1 and len(values) <= PRODUCT_ELEMENTS and float(values.dot(values)) <= LONGEST_SQUARE
