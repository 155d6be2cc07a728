"""What ``classify`` takes of texts, as runs of the part ``classifier``: ``{"text": …}``, texts of like length together.

Called by ``task``; cuts texts as the reader of the dataset and the trainer do (``models.data.texts``).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import cast

import numpy as np

from models.contract.errors import ValidationFailed
from models.contract.task import Array, Arrays, Call, ServedModel
from models.data.padding import padded, runs_of_like_length
from models.data.texts.encoding import TextEncoding

LONGEST_TEXT = 100_000
TOKENS_A_RUN = 2**15
"""Padding included: other requests get their turn between two runs."""


def takes_texts(model: ServedModel) -> bool:
    """Return whether the model classifies texts."""
    return "vocabulary" in model.assets


def run_texts(model: ServedModel, part: str, inputs: Sequence[object]) -> Generator[Call, Arrays, Arrays]:
    """Yield runs of ``part`` over all texts; return its outputs in the order of ``inputs``.

    Raises:
        ValidationFailed: an input is no text, or one without a token; names it.
    """
    encoding, longest = TextEncoding.of(model.assets), cast("int", model.assets["longest"])
    texts = [_encoded(encoding, value, f"/inputs/{index}")[:longest] for index, value in enumerate(inputs)]
    found: dict[str, list[Array]] = {}
    order: list[int] = []
    for chosen in runs_of_like_length(texts, TOKENS_A_RUN):
        tokens, lengths = padded([texts[position] for position in chosen])
        outputs = yield Call(part, {"tokens": tokens, "lengths": lengths})
        order += chosen
        for name, array in outputs.items():
            found.setdefault(name, []).append(array)
    back = np.argsort(order)
    return {name: np.concatenate(arrays)[back] for name, arrays in found.items()}


def _encoded(encoding: TextEncoding, value: object, pointer: str) -> Array:
    text = cast("dict[str, object]", value).get("text") if isinstance(value, dict) else value
    if not isinstance(text, str) or (isinstance(value, dict) and len(cast("dict[str, object]", value)) != 1):
        raise ValidationFailed.at(pointer, 'must be {"text": "…"}')
    place = pointer if isinstance(value, str) else f"{pointer}/text"
    if len(text) > LONGEST_TEXT:
        raise ValidationFailed.at(place, f"has {len(text)} characters; at most {LONGEST_TEXT} are read, cut it")
    indices = encoding.encode(text)
    if not len(indices):
        raise ValidationFailed.at(place, "holds no token; send a text with words in it")
    return indices
