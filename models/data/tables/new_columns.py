"""Columns of the training part: what they hold is found out while their rows stream in.

A column is kept as numbers for as long as every value is one, and as categories for as long as there are few of
them: 5 bytes a field, whatever the file holds. Called by ``reader``.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np

from models.contract.task import Array
from models.data.problems import MOST_KEPT
from models.data.tables.cells import INFINITE, Codes, number, ordered
from models.data.tables.columns import REPEATING_ROWS, Column, Numbers, Source

MOST_CATEGORIES = 255
"""What one byte tells apart beside 0, and what other libraries take for categorical at most."""

EMPTY = "has no value in any row"
LONGEST_CATEGORY = 200
MOST_NAMED = 3
"""Texts among numbers that are named with their lines."""

IGNORE = "list it under the option 'ignore'"
MISSING = "list what means a missing value under the option 'missing'"

DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+", re.ASCII)
THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d*)?", re.ASCII)

ColumnType = Literal["numeric", "categorical"]


class _NoCategories(Exception):
    """There are too many texts, or too long ones."""


class NewNumbers(Numbers):
    """A column that the options say is numeric."""

    def idle(self) -> str | None:
        """Return why there is nothing to learn from it, if there is not."""
        return _idle(self.values())


class NewColumn(Column):
    """A column of any type, or one that the options say is categorical."""

    def __init__(self, name: str, source: Source, *, categorical: bool) -> None:
        """Start empty; without ``categorical`` it is numeric if every value that is there is a number."""
        super().__init__(name, source)
        self._declared = categorical
        self._numbers: array[float] | None = None if categorical else array("f")
        self._values: bytearray | None = bytearray()
        self._index: dict[str, int] = {}
        self._codes = Codes(source.missing, 0, self._place)
        self._infinite: list[tuple[int, str]] = []
        self._infinite_count = 0
        self._strays: dict[str, int] = {}
        self._overflowed_by_numbers = False
        self._long_line: int | None = None

    @property
    def type(self) -> ColumnType:
        """What the column is, as far as its rows have come."""
        return "categorical" if self._numbers is None else "numeric"

    @property
    def note(self) -> str | None:
        """A sentence about what may be a slip in the file."""
        if not self._mostly_numbers:
            return None
        strays = self._named_strays(f"{self.source.table.name} line")
        told = f"Column '{self.name}' holds numbers but for {strays}, which makes it categorical"
        return f"{told}; mend that, or {MISSING}."

    def add(self, texts: Sequence[str], lines: Sequence[int]) -> None:
        """Take fields of whatever kind."""
        if self._numbers is not None:
            quick = self.source.numbers(texts)
            if quick is None:
                self._add_numbers(self._numbers, texts, lines)
            else:
                self._numbers.frombytes(quick.tobytes())
        if self._numbers is None and not self._declared:
            self._find_strays(texts, lines)
        if self._values is not None:
            self._add_codes(self._values, texts, lines)

    def _add_numbers(self, kept: array[float], texts: Sequence[str], lines: Sequence[int]) -> None:
        for text, line in zip(map(str.strip, texts), lines, strict=True):
            value = self.source.number(text)
            if value is None:
                self._numbers = None
                return
            if value == INFINITE:
                self._infinite_count += 1
                self._infinite += [(line, text)] if self._infinite_count <= MOST_KEPT else []
            kept.append(value)

    def _find_strays(self, texts: Sequence[str], lines: Sequence[int]) -> None:
        """Keep the first texts that are no numbers, and one more to tell that there are more."""
        if len(self._strays) > MOST_NAMED or self.source.numbers(texts) is not None:
            return
        fresh = {text.strip() for text in set(texts)} - self._strays.keys()
        fresh = {text for text in fresh if self.source.number(text) is None}
        for text, line in zip(map(str.strip, texts), lines, strict=True) if fresh else ():
            if len(self._strays) > MOST_NAMED:
                return
            if text in fresh:
                self._strays.setdefault(text, line)

    def _add_codes(self, kept: bytearray, texts: Sequence[str], lines: Sequence[int]) -> None:
        try:
            kept.extend(self._codes.of(texts))
        except _NoCategories:
            long = (line for text, line in zip(texts, lines, strict=True) if len(text.strip()) > LONGEST_CATEGORY)
            self._long_line = next(long, None)
            present = [number(text) is not None for text in map(str.strip, texts) if text not in self.source.missing]
            self._overflowed_by_numbers = 2 * sum(present) > len(present)
            self._values = None

    def _place(self, text: str) -> int:
        if text in self._index:
            return self._index[text]
        if len(text) > LONGEST_CATEGORY or len(self._index) == MOST_CATEGORIES:
            raise _NoCategories
        return self._index.setdefault(text, len(self._index) + 1)

    def values(self) -> Array:
        """Return (rows,) float32 or int32; after ``check``."""
        if self._numbers is not None:
            return np.frombuffer(self._numbers, np.float32)
        assert self._values is not None
        position = {category: index for index, category in enumerate(self.categories(), start=1)}
        order = np.array([0, *(position[category] for category in self._index)], np.int32)
        return order[np.frombuffer(self._values, np.uint8)]

    def categories(self) -> list[str]:
        """Return the categories in the order of their indices, 1 and on."""
        return ordered(self._index)

    def check(self) -> None:
        """Note what makes the column one that cannot be learnt from."""
        if self._numbers is None and self._values is None:
            self.source.problem(self.name, self._told_texts())
        elif self._numbers is not None and self._infinite:
            for line, text in self._infinite:
                self.source.infinite(self.name, text, line)
            if left := self._infinite_count - len(self._infinite):
                self.source.problem(self.name, "has more infinite values", count=left)
        elif self._values is not None and self._numbers is None and not self._declared:
            self._check_texts(len(self._values) - self._values.count(0))

    def idle(self) -> str | None:
        """Return why there is nothing to learn from the column, if there is not; after ``check`` found nothing."""
        return _idle(self.values())

    @property
    def _mostly_numbers(self) -> bool:
        """Whether more than half of the values of a column that is not numeric are numbers."""
        if self._numbers is not None or not self._strays:
            return False
        if self._values is None:
            return self._overflowed_by_numbers
        counts = np.bincount(np.frombuffer(self._values, np.uint8), minlength=len(self._index) + 1)
        numbers = sum(int(counts[place]) for text, place in self._index.items() if number(text) is not None)
        return 2 * numbers > int(counts[1:].sum())

    def _named_strays(self, place: str) -> str:
        """Return the texts among the numbers with their lines; ``place`` is what stands before a line's number."""
        named = [f"'{text[:50]}' in {place} {line}" for text, line in self._strays.items()]
        return ", ".join(named[:MOST_NAMED]) + (" and further texts" if len(named) > MOST_NAMED else "")

    def _check_texts(self, present: int) -> None:
        """Note texts that are no categories."""
        detail = ""
        if commas := _told_commas(self._index):
            detail = f"{commas}, or name it under 'categorical'"
        elif present > REPEATING_ROWS and len(self._index) == present:
            detail = f"has {present} texts, each only once, so that nothing can be learnt from it; {IGNORE}"
            if self._mostly_numbers:
                detail = f"holds numbers but for {self._named_strays('line')}; mend that, {MISSING}, or {IGNORE}"
        if detail:
            self.source.problem(self.name, detail)

    def _told_texts(self) -> str:
        if commas := _told_commas(self._index):
            return commas
        if self._long_line is not None:
            return f"holds text of more than {LONGEST_CATEGORY} characters (line {self._long_line}); {IGNORE}"
        told = f"is not numeric and has more than {MOST_CATEGORIES} different texts"
        if not self._mostly_numbers:
            return f"{told}; {IGNORE}, or merge categories"
        return f"{told}, most of them numbers; mend {self._named_strays('line')}, {MISSING}, or {IGNORE}"


def _told_commas(texts: Collection[str]) -> str | None:
    """Tell of numbers with commas: all of them, or beside plain ones if they can all separate thousands."""
    commas = [text for text in texts if number(text) is None]
    if not commas:
        return None
    if all(map(THOUSANDS.fullmatch, commas)):
        said = f"has numbers with commas ({commas[0]}); leave out commas that separate thousands"
        return f"{said}, and write a point for those that mark decimals"
    if all(map(DECIMAL_COMMA.fullmatch, texts)):
        return f"has decimal commas ({commas[0]}); write a point"
    return None


def _idle(values: Array) -> str | None:
    """Tell of values that are all missing, or all there and all the same."""
    missing = np.isnan(values) if values.dtype == np.float32 else values == 0
    if missing.all():
        return EMPTY
    if missing.any() or (values != values[0]).any():
        return None
    same = f"{values[0]:g} as a 32-bit float" if values.dtype == np.float32 else "the same text"
    return f"has one value in every row ({same})"
