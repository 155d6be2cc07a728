"""What families and codecs know of a dataset of kind ``table``, read from its ``meta``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from models.contract.task import Split

Value = float | str | None


@dataclass(frozen=True)
class NumericColumn:
    """A column of numbers; the figures are those of the training split's present values.

    Attributes:
        name: as the header has it.
        mean: their mean, which stands in for a missing value.
        deviation: their standard deviation.
        minimum: the smallest.
        maximum: the largest.
        missing: how many are missing.
    """

    name: str
    mean: float
    deviation: float
    minimum: float
    maximum: float
    missing: int


@dataclass(frozen=True)
class CategoricalColumn:
    """A column of words; index 0 means missing or unknown, index i the i-th of ``categories``.

    Attributes:
        name: as the header has it.
        categories: what occurs in the uploaded training part.
        counts: how often each occurs in the training split.
        missing: how many values of the training split are missing.
    """

    name: str
    categories: tuple[str, ...]
    counts: tuple[int, ...]
    missing: int


Column = NumericColumn | CategoricalColumn


@dataclass(frozen=True)
class TableFacts:
    """Facts of a dataset of kind ``table``.

    Attributes:
        label: name of the column with the label.
        columns: what is learnt from, in the order of the header.
        classes: labels in the order of their indices.
        missing_tokens: texts that mean a missing value.
        ignored: columns of the upload that are not learnt from.
    """

    label: str
    columns: tuple[Column, ...]
    classes: tuple[str, ...]
    missing_tokens: frozenset[str]
    ignored: tuple[str, ...]

    @classmethod
    def of(cls, meta: Mapping[str, object]) -> TableFacts:
        """Return the facts that the dataset kind recorded."""
        facts = cast("Mapping[str, Any]", meta)
        return cls(
            label=facts["label"],
            columns=tuple(map(_column, facts["columns"])),
            classes=tuple(facts["classes"]),
            missing_tokens=frozenset(facts["missing_tokens"]),
            ignored=tuple(facts["ignored"]),
        )

    @cached_property
    def numeric(self) -> tuple[NumericColumn, ...]:
        """The columns of the array ``numbers``, in its order."""
        return tuple(column for column in self.columns if isinstance(column, NumericColumn))

    @cached_property
    def categorical(self) -> tuple[CategoricalColumn, ...]:
        """The columns of the array ``categories``, in its order."""
        return tuple(column for column in self.columns if isinstance(column, CategoricalColumn))

    def rows(self, split: Split, start: int, stop: int) -> list[tuple[Value, ...]]:
        """Return the examples from ``start`` up to ``stop`` in the columns' order, None for missing or unknown."""
        numbers, codes = (
            iter(split[name][start:stop].T.tolist() if name in split else ()) for name in ("numbers", "categories")
        )
        columns: list[list[Value]] = []
        for column in self.columns:
            if isinstance(column, NumericColumn):
                columns.append([None if math.isnan(value) else value for value in cast("list[float]", next(numbers))])
            else:
                words = (None, *column.categories)
                columns.append([words[code] for code in cast("list[int]", next(codes))])
        return list(zip(*columns, strict=True))


def _column(facts: Mapping[str, Any]) -> Column:
    missing = facts["missing"].get("train", 0)
    if facts["type"] == "categorical":
        return CategoricalColumn(facts["name"], tuple(facts["categories"]), tuple(facts["counts"]), missing)
    figures = {name: float(facts[name]) for name in ("mean", "deviation", "minimum", "maximum")}
    return NumericColumn(name=facts["name"], missing=missing, **figures)
