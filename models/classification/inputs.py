"""What ``classify`` takes, as the arrays of the part ``classifier``: one item per prediction, in the dataset's scale.

Called by ``task``; knows the kinds of dataset that classifiers learn from, and nothing of answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import WithJsonSchema

from models.classification.table_inputs import table_arrays
from models.contract.task import Arrays, ServedModel, Split
from models.data.images.facts import ImageFacts
from models.data.images.given import image_of
from models.data.images.pixels import Decoder
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
    images = [image_of(facts, decoder, value, f"/inputs/{index}") for index, value in enumerate(inputs)]
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
