"""Sentences as a request brings them: tokens or text to be cut into tokens, with the further columns of a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, cast

from pydantic import WithJsonSchema

from models.contract.errors import ValidationFailed
from models.data.columns import LONGEST_SENTENCE, LONGEST_TOKEN

TOKEN = re.compile(r"\w+(?:['\u2019.,\-_/]\w+)*|[^\w\s]")
"""Words, with marks inside them, and every other mark by itself."""

_TOKENS = {"type": "array", "items": {"type": "string"}, "minItems": 1}

Input = Annotated[
    object,
    WithJsonSchema(
        {
            "anyOf": [
                {**_TOKENS, "description": "The tokens."},
                {"type": "string", "minLength": 1, "description": "Text; cut at spaces and before and behind marks."},
                {
                    "type": "object",
                    "properties": {
                        "tokens": _TOKENS,
                        "features": {
                            "type": "array",
                            "items": _TOKENS,
                            "description": "The further columns of the dataset, one after another, each as long as the "
                            "sentence.",
                        },
                    },
                    "required": ["tokens"],
                    "description": "Tokens with the further columns that the model learnt from.",
                },
            ]
        }
    ),
]


@dataclass(frozen=True)
class Sentence:
    """Tokens, and for each further column a value per token."""

    tokens: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...] = ()


def sentences_of(inputs: Sequence[object], columns: int) -> list[Sentence]:
    """Return the sentences of a request to a model that reads ``columns`` further columns.

    Raises:
        ValidationFailed: a sentence is empty, too long, not text, or lacks a column; names it.
    """
    return [_sentence(value, columns, f"/sentences/{index}") for index, value in enumerate(inputs)]


def _sentence(value: object, columns: int, pointer: str) -> Sentence:
    match value:
        case Sentence():
            return value
        case str():
            tokens = tuple(TOKEN.findall(value))
            given: object = ()
        case dict():
            fields = cast("dict[str, object]", value)
            unknown = sorted(fields.keys() - {"tokens", "features"})
            if unknown or "tokens" not in fields:
                raise ValidationFailed.at(pointer, 'must be tokens, text, or {"tokens": [...], "features": [[...]]}')
            tokens, given = _texts(fields["tokens"], f"{pointer}/tokens"), fields.get("features", ())
        case _:
            tokens, given = _texts(value, pointer), ()
    if not tokens:
        raise ValidationFailed.at(pointer, "is empty; send one token at least")
    if len(tokens) > LONGEST_SENTENCE:
        detail = f"has {len(tokens)} tokens; at most {LONGEST_SENTENCE} are read at once. Cut it into sentences"
        raise ValidationFailed.at(pointer, detail)
    return Sentence(tokens, _columns(given, len(tokens), columns, pointer))


def _columns(given: object, tokens: int, columns: int, pointer: str) -> tuple[tuple[str, ...], ...]:
    if not isinstance(given, list | tuple):
        raise ValidationFailed.at(f"{pointer}/features", "must be an array of columns, each an array of texts")
    values = cast("Sequence[object]", given)
    if len(values) != columns:
        wanted = "none" if columns == 0 else f"{columns} ({{'tokens': [...], 'features': [[...]]}})"
        detail = f"has {len(values)} further columns; this model reads {wanted}"
        raise ValidationFailed.at(pointer, detail.replace("'", '"'))
    found = tuple(_texts(column, f"{pointer}/features/{index}") for index, column in enumerate(values))
    for index, column in enumerate(found):
        if len(column) != tokens:
            detail = f"has {len(column)} values for {tokens} tokens"
            raise ValidationFailed.at(f"{pointer}/features/{index}", detail)
    return found


def _texts(value: object, pointer: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ValidationFailed.at(pointer, 'must be an array of tokens, a text, or {"tokens": [...]}')
    for index, item in enumerate(cast("Sequence[object]", value)):
        if not isinstance(item, str) or not item.strip():
            raise ValidationFailed.at(f"{pointer}/{index}", "must be a text that is not empty")
        if len(item) > LONGEST_TOKEN:
            detail = f"has {len(item)} characters; a token has at most {LONGEST_TOKEN}"
            raise ValidationFailed.at(f"{pointer}/{index}", detail)
    return tuple(cast("Sequence[str]", value))
