"""What ``classify`` takes, as the arrays of the part ``classifier``: one item per prediction, in the dataset's scale.

Called by ``task``; knows the kinds of dataset that classifiers learn from, and nothing of answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, cast

import numpy as np
from pydantic import WithJsonSchema

from models.classification.table_inputs import table_arrays
from models.contract.errors import ValidationFailed
from models.contract.task import Array, Arrays, ServedModel, Split
from models.data.images.facts import ImageFacts
from models.data.images.pixels import Decoder, decode_base64
from models.data.tables.facts import TableFacts

Input = Annotated[
    object,
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "array",
                    "description": "Nested numbers (height × width[ × channels]) in the dataset's scale, or the "
                    "values of a table's row in the order of its columns: numbers, texts, null for missing.",
                },
                {
                    "type": "object",
                    "properties": {"image": {"type": "string", "description": "Base64 PNG or JPEG."}},
                    "description": "An image, or a table's row by column; a column that is left out is missing.",
                },
                {
                    "type": "object",
                    "properties": {"text": {"type": "string"}},
                    "description": "A text.",
                },
            ]
        }
    ),
]


def arrays_of(model: ServedModel, inputs: Sequence[object]) -> Arrays:
    """Return all inputs as the classifier takes them.

    ``images`` (batch, height, width[, channels]) float32; of a table ``numbers`` (batch, numeric columns) float32 and
    ``categories`` (batch, categorical columns) int64, each if there are such columns.

    Raises:
        ValidationFailed: an input is not what the model takes; names it and says what would be.
    """
    if _takes_rows(model):
        return table_arrays(TableFacts.of(model.meta), inputs)
    facts = ImageFacts.of(model.meta)
    decoder = Decoder(facts.wanted, facts.value_range)
    images = [_image(facts, decoder, value, f"/inputs/{index}") for index, value in enumerate(inputs)]
    return {"images": np.stack(images)}


def inputs_of(model: ServedModel, split: Split, start: int, stop: int) -> tuple[object, ...]:
    """Return the examples from ``start`` up to ``stop`` as a request brings them."""
    if _takes_rows(model):
        return tuple(TableFacts.of(model.meta).rows(split, start, stop))
    if "texts" in split:
        return tuple({"text": text} for text in split["texts"][start:stop].tolist())
    return tuple(split["images"][start:stop].astype(np.float32))


def _takes_rows(model: ServedModel) -> bool:
    return "columns" in model.meta


def _image(facts: ImageFacts, decoder: Decoder, value: object, pointer: str) -> Array:
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
