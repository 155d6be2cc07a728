"""What ``classify`` takes of a table, as the arrays of the part ``classifier``: rows, by position or by column name.

The reader of the dataset and this codec share what a field says (``models.data.tables.cells``). Called by ``inputs``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import cast

import numpy as np

from models.contract.errors import ValidationFailed
from models.contract.task import Array, Arrays
from models.data.tables.cells import LARGEST, number
from models.data.tables.facts import CategoricalColumn, NumericColumn, TableFacts

MOST_LISTED = 20
PLAIN = frozenset({float, type(None)})
"""Types of numbers that need no look at each."""


def table_arrays(facts: TableFacts, inputs: Sequence[object]) -> Arrays:
    """Return all rows as ``numbers`` (batch, numeric columns) float32, NaN for missing, and ``categories`` int64.

    Raises:
        ValidationFailed: a row or a value is not what the model takes; names it and says what would be.
    """
    rows = [_row(facts, value, f"/inputs/{index}") for index, value in enumerate(inputs)]
    found: dict[type, list[Array]] = {NumericColumn: [], CategoricalColumn: []}
    for position, column in enumerate(facts.columns):
        values = [row[position] for row in rows]
        read = _numbers if isinstance(column, NumericColumn) else _indices
        try:
            found[type(column)].append(read(facts, column, values))
        except _Wrong as wrong:
            by_name = isinstance(inputs[wrong.row], dict)
            step = column.name.replace("~", "~0").replace("/", "~1") if by_name else position
            raise ValidationFailed.at(f"/inputs/{wrong.row}/{step}", wrong.detail) from None
    arrays = {"numbers": found[NumericColumn], "categories": found[CategoricalColumn]}
    return {name: np.stack(columns, axis=1) for name, columns in arrays.items() if columns}


class _Wrong(Exception):
    """A value of a column is not what the model takes."""

    def __init__(self, row: int, detail: str) -> None:
        super().__init__(detail)
        self.row = row
        self.detail = detail


def _row(facts: TableFacts, value: object, pointer: str) -> Sequence[object]:
    """Return the values in the columns' order, None for a column that an object leaves out."""
    count = len(facts.columns)
    if isinstance(value, dict):
        fields = cast("Mapping[str, object]", value)
        row = [fields.get(column.name) for column in facts.columns]
        known = {column.name for column in facts.columns}
        for name in fields:
            if name not in known:
                raise ValidationFailed.at(pointer, _told_unknown(facts, name))
        return row
    if not isinstance(value, list | tuple):
        detail = f"must be a list of {count} values or an object by column; the columns are: {_listing(facts)}"
        raise ValidationFailed.at(pointer, detail)
    row = cast("Sequence[object]", value)
    if len(row) != count:
        detail = f"has {len(row)} values; the model takes {count}: {_listing(facts)}"
        raise ValidationFailed.at(pointer, detail)
    return row


def _told_unknown(facts: TableFacts, name: str) -> str:
    if name == facts.label:
        return f"'{name[:50]}' is the label, which is what is asked; leave it out"
    if name in facts.ignored:
        return f"'{name[:50]}' was ignored when the dataset was read; leave it out"
    near = get_close_matches(name, [column.name for column in facts.columns], n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"the columns are: {_listing(facts)}"
    return f"there is no column '{name[:50]}'; {hint}"


def _listing(facts: TableFacts) -> str:
    names = [column.name[:50] for column in facts.columns]
    rest = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _numbers(facts: TableFacts, column: object, values: Sequence[object]) -> Array:
    """Return (batch,) float32 of numbers, texts that write one, and missing values."""
    del column
    if PLAIN.issuperset(map(type, values)):
        plain = np.array([math.nan if value is None else value for value in values], np.float64)
        if not (np.abs(plain) > LARGEST).any():
            return plain.astype(np.float32)
    return np.array([_number(facts, value, row) for row, value in enumerate(values)], np.float32)


def _number(facts: TableFacts, value: object, row: int) -> float:
    found: float | None = None
    if value is None:
        return math.nan
    if isinstance(value, str):
        text = value.strip()
        found = math.nan if text in facts.missing_tokens else number(text)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = value
    if found is None:
        raise _Wrong(row, f"must be a number or null, not {_shown(value)}")
    if abs(found) > LARGEST:
        raise _Wrong(row, "is infinite or beyond 32-bit floats; send a finite number or null")
    return found


def _indices(facts: TableFacts, column: object, values: Sequence[object]) -> Array:
    """Return (batch,) int64 indices of categories, 0 for missing and unknown ones."""
    del facts  # a text that means missing is never a category
    assert isinstance(column, CategoricalColumn)
    index = {category: place for place, category in enumerate(column.categories, start=1)}
    return np.array([_index(index, value, row) for row, value in enumerate(values)], np.int64)


def _index(index: Mapping[str, int], value: object, row: int) -> int:
    if value is None:
        return 0
    if isinstance(value, str) and value in index:
        return index[value]
    if not isinstance(value, str | int | float):
        raise _Wrong(row, f"must be a text, a number or null, not {_shown(value)}")
    for text in _texts(value):
        if text in index:
            return index[text]
    return 0


def _texts(value: str | float) -> tuple[str, ...]:
    """Return how a csv file may have written ``value``."""
    if isinstance(value, str):
        return (value.strip(),)
    if isinstance(value, bool):
        return (str(value).lower(), str(value), str(value).upper(), str(int(value)))
    whole = isinstance(value, float) and value.is_integer()
    try:
        return (str(value), str(int(value))) if whole else (str(value), f"{value}.0")
    except ValueError:  # an integer of more digits than Python writes
        return ()


def _shown(value: object) -> str:
    if isinstance(value, str):
        return f"'{value[:50]}'"
    if isinstance(value, bool):
        return "true or false"
    return "a list" if isinstance(value, list) else "an object"
