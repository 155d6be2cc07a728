"""Columns of a table while its rows stream in: numbers, words that are known already, and labels.

``new_columns`` decides what a column of the training part holds; ``reader`` drives both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models.contract.task import Array
from models.data.problems import MOST_KEPT
from models.data.tables.cells import INFINITE, Codes, number, numbers, numbers_and_gaps, ordered
from models.data.tables.csv_table import CsvTable

UNKNOWN, MISSING = -1, -2
"""Codes of what has no index."""

MOST_CLASSES = 1_000
REPEATING_ROWS = 20
"""Beyond so many rows, values that never come again are names or measurements, no categories or classes."""


@dataclass(frozen=True)
class Source:
    """The file that columns are read from, and the texts that mean a missing value in it."""

    table: CsvTable
    missing: frozenset[str]

    @cached_property
    def _missing_numbers(self) -> bool:
        """Whether some of these texts are numbers, such as -999."""
        return any(number(text) is not None for text in self.missing)

    def number(self, text: str) -> float | None:
        """Return the number that ``text`` writes, NaN if it means missing, None if it is neither."""
        return np.nan if text in self.missing else number(text)

    def numbers(self, texts: Sequence[str]) -> Array | None:
        """Return ``texts`` as float32 if all of them are numbers or missing, the quick way; else None."""
        if self._missing_numbers:
            return numbers_and_gaps(list(map(str.strip, texts)), self.missing)
        found = numbers(texts)
        return numbers_and_gaps(texts, self.missing) if found is None else found

    def problem(self, column: str, detail: str, line: int | None = None, count: int = 1) -> None:
        """Note a problem of a column."""
        self.table.problem(line, f"column '{column}' {detail}", count)

    def infinite(self, column: str, text: str, line: int) -> None:
        """Note a number that no model can take."""
        detail = f"has '{text[:50]}', infinite or beyond 32-bit floats; write a finite number or nothing"
        self.problem(column, detail, line)


class Column(ABC):
    """A column that takes the fields of one chunk after another."""

    def __init__(self, name: str, source: Source) -> None:
        """Start empty."""
        self.name = name
        self.source = source

    @abstractmethod
    def add(self, texts: Sequence[str], lines: Sequence[int]) -> None:
        """Take the next fields and the lines they stand in."""

    @abstractmethod
    def values(self) -> Array:
        """Return all fields, (rows,): float32 with NaN for missing, or int32 indices with 0 for missing or unknown."""

    def check(self) -> None:
        """Note what is wrong with the column as a whole, once all fields have come; by default nothing."""
        return


class Numbers(Column):
    """Numbers; what is none is noted."""

    def __init__(self, name: str, source: Source) -> None:
        """Start empty."""
        super().__init__(name, source)
        self._values = array("f")

    def add(self, texts: Sequence[str], lines: Sequence[int]) -> None:
        """Take numbers and missing values."""
        quick = self.source.numbers(texts)
        if quick is not None:
            self._values.frombytes(quick.tobytes())
            return
        for text, line in zip(map(str.strip, texts), lines, strict=True):
            value = self.source.number(text)
            if value is None:
                self.source.problem(self.name, f"is numeric and has '{text[:50]}'; write a number or nothing", line)
            elif value == INFINITE:
                self.source.infinite(self.name, text, line)
            self._values.append(np.nan if value is None else value)

    def values(self) -> Array:
        """Return (rows,) float32."""
        return np.frombuffer(self._values, np.float32)


class KnownCategories(Column):
    """Words that the training part decided; others count as unknown."""

    def __init__(self, name: str, source: Source, categories: Sequence[str]) -> None:
        """Start empty; ``categories`` have the indices from 1 on."""
        super().__init__(name, source)
        index = {category: place for place, category in enumerate(categories, start=1)}
        self._codes = Codes(source.missing, 0, lambda text: index.get(text, UNKNOWN))
        self._values = array("h")

    def add(self, texts: Sequence[str], lines: Sequence[int]) -> None:
        """Take words."""
        del lines
        self._values.extend(self._codes.of(texts))

    def values(self) -> Array:
        """Return (rows,) int32."""
        values = np.frombuffer(self._values, np.int16)
        return np.where(values == UNKNOWN, 0, values).astype(np.int32)

    @property
    def unknown(self) -> int:
        """How many words the training part does not have."""
        return self._values.count(UNKNOWN)


class Labels(Column):
    """The label of every row, by class; ``known`` are the classes of the training part, None there."""

    def __init__(self, name: str, source: Source, known: Sequence[str] | None = None) -> None:
        """Start empty."""
        super().__init__(name, source)
        self._known = known is not None
        self._index = {label: index for index, label in enumerate(known or ())}
        self._codes = Codes(source.missing, MISSING, self._place)
        self._values = array("i")
        self._strange: Counter[str] = Counter()

    def add(self, texts: Sequence[str], lines: Sequence[int]) -> None:
        """Take labels; a missing one is noted."""
        codes = self._codes.of(texts)
        if MISSING in codes:
            for code, text, line in zip(codes, texts, lines, strict=True):
                if code == MISSING:
                    said = f" ('{text.strip()}')" if text.strip() else ""
                    self.source.problem(self.name, f"is the label and is missing{said}", line)
        if UNKNOWN in codes:
            strange = Counter(text.strip() for text, code in zip(texts, codes, strict=True) if code == UNKNOWN)
            self._strange = Counter(dict((self._strange + strange).most_common(MOST_KEPT)))
        self._values.extend(codes)

    def _place(self, text: str) -> int:
        if self._known or len(self._index) > MOST_CLASSES:
            return self._index.get(text, UNKNOWN)
        return self._index.setdefault(text, len(self._index))

    def classes(self) -> list[str]:
        """Return the classes in the order of their final indices."""
        return ordered(self._index)

    def values(self) -> Array:
        """Return (rows,) int64 indices of ``classes()``; after ``check`` found nothing."""
        position: Mapping[str, int] = {label: index for index, label in enumerate(self.classes())}
        order = np.array([position[label] for label in self._index], np.int64)
        return order[np.frombuffer(self._values, np.int32)]

    def check(self) -> None:
        """Note classes that cannot be learnt."""
        if self._known:
            for label, count in self._strange.items():
                rows = f"{count} row{'s' if count > 1 else ''}"
                detail = f"has the class '{label[:50]}' in {rows}, which the part 'train' does not have"
                self.source.problem(self.name, f"{detail}; add examples there or leave these out")
            return
        rows, classes = len(self._values), len(self._index)
        if classes > MOST_CLASSES or (rows > REPEATING_ROWS and classes > rows / 2):
            count = f"more than {MOST_CLASSES}" if classes > MOST_CLASSES else str(classes)
            detail = f"is the label and has {count} different values in {rows} rows; a class must come again"
            self.source.problem(self.name, f"{detail}. Is another column the label (option 'label')?")
        elif classes == 1:
            only = next(iter(self._index))
            detail = f"is the label and has one class only ('{only[:50]}'); a classifier needs at least two"
            self.source.problem(self.name, detail)
