"""Arrays against the signature of a part: the one check before ONNX Runtime, for codecs and tensors alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.contract.errors import ValidationFailed
from models.contract.task import Array, Arrays
from models.contract.tensors import PartSignature, TensorSignature


def check_shape(signature: TensorSignature, shape: Sequence[int], sizes: dict[str, int], pointer: str) -> None:
    """Check rank and axes; ``sizes`` keeps what each symbolic axis was first.

    Raises:
        ValidationFailed: the shape does not fit, or contradicts that of another input.
    """
    axes = signature.shape
    if len(shape) == len(axes) > 0 and isinstance(axes[0], str) and tuple(shape[1:]) == axes[1:]:
        size = shape[0]
        if size >= 1 and sizes.setdefault(axes[0], size) == size:
            return  # as most are: any number of rows of one shape
    wanted = list(signature.shape)
    if len(shape) != len(wanted):
        detail = f"has {len(shape)} axes {list(shape)}; '{signature.name}' takes {len(wanted)}: {wanted}"
        raise ValidationFailed.at(pointer, detail)
    for position, (size, axis) in enumerate(zip(shape, wanted, strict=True)):
        if size < 1:
            raise ValidationFailed.at(pointer, f"axis {position} is {size}; every axis must be at least 1")
        if isinstance(axis, int) and size != axis:
            raise ValidationFailed.at(pointer, f"axis {position} is {size}; '{signature.name}' takes {wanted}")
        if isinstance(axis, str) and sizes.setdefault(axis, size) != size:
            detail = f"axis {position} ('{axis}') is {size}, but {sizes[axis]} in an input before"
            raise ValidationFailed.at(pointer, detail)


def check_arrays(part: str, signature: PartSignature, arrays: Arrays) -> None:
    """Check that ``arrays`` are exactly the inputs of a part.

    Raises:
        ValidationFailed: an input is missing, unknown, or of another dtype or shape.
    """
    wanted = {tensor.name for tensor in signature.inputs}
    if wanted != set(arrays):
        detail = f"the part '{part}' takes the inputs {sorted(wanted)}, not {sorted(arrays)}"
        raise ValidationFailed.at("/inputs", detail)
    sizes: dict[str, int] = {}
    for tensor in signature.inputs:
        array = arrays[tensor.name]
        pointer = f"/inputs/{tensor.name}"
        if array.dtype != np.dtype(tensor.dtype):
            raise ValidationFailed.at(pointer, f"is {array.dtype}; the part '{part}' takes {tensor.dtype}")
        check_shape(tensor, array.shape, sizes, pointer)


def largest_difference(found: Array, expected: Array) -> float:
    """Return the largest difference, relative where ``expected`` is above magnitude 1; infinite if shapes differ."""
    if found.shape != expected.shape:
        return float("inf")
    if found.size == 0:
        return 0.0
    wide, reference = found.astype(np.float64), expected.astype(np.float64)
    both_missing = np.isnan(wide) & np.isnan(reference)
    difference = np.abs(wide - reference) / np.maximum(1.0, np.abs(reference))
    difference[(wide == reference) | both_missing] = 0.0
    return float(np.nan_to_num(difference, nan=np.inf).max())
