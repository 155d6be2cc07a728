"""Labelled tables: csv files with a header, one column of which is the label.

Parts: ``train``, optional ``validation`` and ``test``, each csv, plain or gzipped. The training part decides the types
of the columns, their categories and the classes; the other parts have the same columns, in any order.

Arrays of a split: ``numbers`` (examples, numeric columns) float32 with NaN for missing and ``categories`` (examples,
categorical columns) int32 with 0 for missing or unknown, each only if there are such columns; ``labels`` (examples,)
int64 indices into ``meta["classes"]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
from pydantic import Field, JsonValue, StringConstraints, model_validator

from models.contract.task import Array
from models.data.kind import Content, DatasetKind, SplitOptions, UploadedFile
from models.data.problems import check_parts
from models.data.tables.facts import TableFacts
from models.data.tables.new_columns import MOST_CATEGORIES, ColumnType
from models.data.tables.reader import LABEL_NAMES, Asked, Schema, read_other, read_training

PARTS = ("train", "validation", "test")
MISSING = ("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None")

RULES = (
    (
        "A column is numeric when every value that the training part has in it is a finite number, else categorical "
        f"with at most {MOST_CATEGORIES} categories, unless the options say which it is."
    ),
    "Missing is what is written as {}, and null in a request.",
    (
        "A missing number counts as the mean of the training split; an input of its own says that it was missing if "
        "the training split misses any in that column."
    ),
    (
        "A category that is missing or unknown has the index 0: an input of its own if the training split misses any "
        "in that column, else all inputs of the column are 0."
    ),
)

Text = Annotated[str, StringConstraints(max_length=200, strip_whitespace=True)]
Texts = Annotated[tuple[Text, ...], Field(max_length=4_096)]


class TableOptions(SplitOptions):
    """Options of the kind ``table``."""

    label: Text | None = Field(
        default=None,
        description="Column with the label; by default the only one called label, target or class.",
    )
    numeric: Texts = Field(default=(), description="Columns to read as numbers, whatever they look like.")
    categorical: Texts = Field(default=(), description="Columns to read as categories, even if all values are numbers.")
    ignore: Texts = Field(default=(), description="Columns to leave out.")
    missing: Texts = Field(default=MISSING, description="Texts that mean a missing value, as they are written.")
    constant: Literal["drop", "refuse"] = Field(
        default="drop", description="What happens to columns that are the same in every row of train."
    )
    delimiter: str | None = Field(
        default=None,
        pattern=r'^[^"\r\n\x00 ]$',
        description="Mark between fields; by default the one of , ; and tab that cuts the header into most columns.",
    )

    @model_validator(mode="after")
    def _named_once(self) -> TableOptions:
        named = [*self.numeric, *self.categorical, *self.ignore]
        twice = next((name for name in named if named.count(name) > 1), None)
        if twice is not None:
            message = f"the column '{twice}' is named more than once among numeric, categorical and ignore"
            raise ValueError(message)
        return self

    def asked(self) -> Asked:
        """Return these options as the reader takes them."""
        types: dict[str, ColumnType] = dict.fromkeys(self.numeric, "numeric")
        types |= dict.fromkeys(self.categorical, "categorical")
        return Asked(
            label=self.label,
            types=types,
            ignore=self.ignore,
            missing=frozenset(self.missing),
            delimiter=self.delimiter,
            drop_constant=self.constant == "drop",
        )


class Table(DatasetKind):
    """Labelled tables."""

    name = "table"
    title = "Table with a label column (csv)"
    options: ClassVar[type[SplitOptions]] = TableOptions
    stratify = "labels"

    def read(self, files: Mapping[str, UploadedFile], options: SplitOptions) -> Content:
        """Return the splits found in ``files``; see the module docstring for their names."""
        assert isinstance(options, TableOptions)
        foreign = f"is not a part of a table; use {', '.join(PARTS)}, each a csv file"
        check_parts(files, PARTS, foreign, "is missing; send a csv file as 'train'")
        asked = options.asked()
        schema, train = read_training("train", files["train"], asked)
        splits, notes = {"train": train}, list(schema.notes)
        for part in PARTS[1:]:
            if part in files:
                splits[part], found = read_other(part, files[part], asked, schema)
                notes += found
        return Content(splits, _meta(schema, options, notes))

    def facts(self, content: Content) -> dict[str, JsonValue]:
        """Return the class balance and missing values per split, and the training figures of every column."""
        classes = cast("list[str]", content.meta["classes"])
        balance: dict[str, JsonValue] = {
            name: dict(zip(classes, np.bincount(split["labels"], minlength=len(classes)).tolist(), strict=True))
            for name, split in content.splits.items()
        }
        columns = cast("list[dict[str, JsonValue]]", content.meta["columns"])
        following = {"numeric": 0, "categorical": 0}
        described: list[JsonValue] = []
        for column in columns:
            kind = cast("str", column["type"])
            array = "numbers" if kind == "numeric" else "categories"
            values = {name: split[array][:, following[kind]] for name, split in content.splits.items()}
            following[kind] += 1
            described.append({**column, **_figures(column, values)})
        return {"columns": described, "class_balance": balance}

    def preview(self, content: Content, split: str, count: int) -> list[dict[str, JsonValue]]:
        """Return labels and rows by column, null for missing or unknown; a row is what ``classify`` takes."""
        facts = TableFacts.of(content.meta)
        labels = content.splits[split]["labels"][:count].tolist()
        rows = facts.rows(content.splits[split], 0, count)
        names = [column.name for column in facts.columns]
        return [
            {"label": facts.classes[label], "row": dict(zip(names, map(_shortest, row), strict=True))}
            for label, row in zip(labels, rows, strict=True)
        ]


KIND = Table()


def _shortest(value: float | str | None) -> JsonValue:
    """Return a number with the digits that float32 needs and no more."""
    return float(str(np.float32(value))) if isinstance(value, float) else value


def _meta(schema: Schema, options: TableOptions, notes: list[str]) -> dict[str, JsonValue]:
    tokens = ", ".join(repr(token) for token in options.missing)
    found = f", as the only one called {' or '.join(LABEL_NAMES)}" if options.label is None else ""
    rules = (f"Column '{schema.label}' is the label{found}.", *(rule.format(tokens or "nothing") for rule in RULES))
    return {
        "label": schema.label,
        "columns": schema.columns(),
        "classes": list(schema.classes),
        "missing_tokens": list(options.missing),
        "ignored": list(schema.ignored),
        "rules": list(rules),
        "notes": list(notes),
    }


def _figures(column: Mapping[str, JsonValue], values: Mapping[str, Array]) -> dict[str, JsonValue]:
    """Return missing values per split, and what the training split's values are like."""
    train = values["train"]
    if column["type"] == "categorical":
        categories = cast("list[str]", column["categories"])
        counts = np.bincount(train, minlength=len(categories) + 1)
        missing: dict[str, Any] = {name: int((codes == 0).sum()) for name, codes in values.items()}
        return {"counts": counts[1:].tolist(), "missing": missing}
    missing = {name: int(np.isnan(numbers).sum()) for name, numbers in values.items()}
    present = train[~np.isnan(train)].astype(np.float64)
    if len(present) == 0:  # the only values went into another split
        present = np.zeros(1)
    return {
        "mean": float(present.mean()),
        "deviation": float(present.std()),
        "minimum": float(present.min()),
        "maximum": float(present.max()),
        "missing": missing,
    }
