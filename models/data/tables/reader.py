"""From csv files to the arrays and facts of a table: the training part decides, the other parts obey.

Called by the dataset kind ``table``. All problems of a file are gathered before any is raised.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from pydantic import JsonValue

from models.contract.errors import InvalidDataset
from models.contract.task import Array, Split
from models.data.kind import UploadedFile
from models.data.problems import Problems
from models.data.tables.columns import Column, KnownCategories, Labels, Numbers, Source
from models.data.tables.csv_table import CsvTable
from models.data.tables.new_columns import EMPTY, ColumnType, NewColumn, NewNumbers

LABEL_NAMES = ("label", "target", "class")
MOST_LISTED = 30
MOST_REASONS = 5


@dataclass(frozen=True)
class Schema:
    """What the training part decided.

    Attributes:
        label: name of the column with the label.
        categories: by name, the categories of categorical columns and None for numeric ones, in the header's order.
        classes: labels in the order of their indices.
        missing: texts that mean a missing value.
        ignored: columns of the file that are left out.
        notes: sentences about what may be a slip in the file.
    """

    label: str
    categories: Mapping[str, Sequence[str] | None]
    classes: Sequence[str]
    missing: frozenset[str]
    ignored: tuple[str, ...]
    notes: tuple[str, ...]

    def columns(self) -> list[JsonValue]:
        """Return name, type and categories of each column, as the dataset's facts have them."""
        return [
            {"name": name, "type": "numeric"}
            if found is None
            else {"name": name, "type": "categorical", "categories": list(found)}
            for name, found in self.categories.items()
        ]


@dataclass(frozen=True)
class Asked:
    """What the options say.

    Attributes:
        label: column with the label, if named.
        types: of the columns whose type is named.
        ignore: columns to leave out.
        missing: texts that mean a missing value.
        delimiter: the mark between fields, if named.
        drop_constant: leave out columns that are the same in every row, instead of refusing them.
    """

    label: str | None
    types: Mapping[str, ColumnType]
    ignore: tuple[str, ...]
    missing: frozenset[str]
    delimiter: str | None
    drop_constant: bool


def read_training(part: str, file: UploadedFile, asked: Asked) -> tuple[Schema, Split]:
    """Return what the training part decides, and its arrays.

    Raises:
        InvalidDataset: the file or an option is wrong; lists every problem.
        PayloadTooLarge: more bytes, lines or fields than are read.
    """
    problems = Problems()
    table = CsvTable(part, file, asked.delimiter, problems)
    problems.check()
    label = _label(table.header, asked)
    _check_names(table.header, asked, label)
    source = Source(table, asked.missing)
    labels = Labels(label, source)
    columns: dict[str, NewColumn | NewNumbers] = {}
    for name in table.header:
        if name == label or name in asked.ignore:
            continue
        declared = asked.types.get(name)
        numeric = declared == "numeric"
        columns[name] = (
            NewNumbers(name, source) if numeric else NewColumn(name, source, categorical=declared is not None)
        )
    _read(table, {label: labels, **columns}, problems)
    idle = {name: reason for name, column in columns.items() if (reason := column.idle())}
    for name, reason in idle.items():
        if reason == EMPTY or not asked.drop_constant:
            source.problem(name, f"{reason}; list it under the option 'ignore'")
    problems.check()
    columns = {name: column for name, column in columns.items() if name not in idle}
    if not columns:
        raise _nothing_left(table, label, asked, idle)
    found = columns.values()
    notes = [column.note for column in found if isinstance(column, NewColumn) and column.note]
    notes += [f"Column '{name}' is left out: it {reason}." for name, reason in idle.items()]
    schema = Schema(
        label=label,
        categories={
            column.name: column.categories() if isinstance(column, NewColumn) and column.type == "categorical" else None
            for column in found
        },
        classes=labels.classes(),
        missing=asked.missing,
        ignored=tuple(name for name in table.header if name in asked.ignore or name in idle),
        notes=tuple(notes),
    )
    return schema, _split(schema, labels, columns)


def read_other(part: str, file: UploadedFile, asked: Asked, schema: Schema) -> tuple[Split, list[str]]:
    """Return the arrays of another part, its columns in the training part's order, and notes on it.

    Raises:
        InvalidDataset: the file does not fit the training part; lists every problem.
        PayloadTooLarge: more bytes, lines or fields than are read.
    """
    problems = Problems()
    table = CsvTable(part, file, asked.delimiter, problems)
    wanted = {schema.label, *schema.categories}
    for name in sorted(wanted - set(table.header)):
        table.problem(1, f"the column '{name}' of the part 'train' is missing")
    for name in table.header:
        if name not in wanted and name not in schema.ignored:
            table.problem(1, f"the column '{name[:50]}' is not in the part 'train'; leave it out, or add it there")
    problems.check()
    source = Source(table, schema.missing)
    labels = Labels(schema.label, source, schema.classes)
    columns: dict[str, Column] = {
        name: Numbers(name, source) if found is None else KnownCategories(name, source, found)
        for name, found in schema.categories.items()
    }
    _read(table, {schema.label: labels, **columns}, problems)
    unknown = [column for column in columns.values() if isinstance(column, KnownCategories) and column.unknown]
    notes = [
        f"Part '{part}': {column.unknown} values of '{column.name}' do not occur in 'train' and count as unknown."
        for column in unknown
    ]
    return _split(schema, labels, columns), notes


def _read(table: CsvTable, columns: Mapping[str, Column], problems: Problems) -> None:
    """Stream the rows into ``columns`` and raise all problems found."""
    taken = [(position, columns[name]) for position, name in enumerate(table.header) if name in columns]
    rows = 0
    for chunk in table.chunks():
        rows += len(chunk.lines)
        for position, column in taken:
            column.add(chunk.columns[position], chunk.lines)
    if rows == 0:
        table.problem(None, "holds no rows that can be read under its header")
    problems.check()  # rows that could not be read may be what a column lacks
    for _, column in taken:
        column.check()
    problems.check()


def _nothing_left(table: CsvTable, label: str, asked: Asked, idle: Mapping[str, str]) -> InvalidDataset:
    """Return why no column is left: each is ignored, or does not vary."""
    detail = f"leaves no column to learn '{label}' from"
    told = [f"'{name[:50]}' {reason}" for name, reason in idle.items()]
    if not told:
        return InvalidDataset.at("/options/ignore", f"{detail}; the columns are: {_listing(table.header)}")
    more = [f"and {len(told) - MOST_REASONS} more"] if len(told) > MOST_REASONS else []
    remedy = "add one that varies; from large numbers that hardly differ take an offset away"
    detail = f"{detail}: {', '.join([*told[:MOST_REASONS], *more])}; {remedy}"
    if asked.ignore:
        return InvalidDataset.at("/options/ignore", detail)
    return InvalidDataset.at(f"/{table.part}", f"{table.name}: {detail}")


def _split(schema: Schema, labels: Labels, columns: Mapping[str, Column]) -> Split:
    """Return ``numbers`` (rows, n) float32, ``categories`` (rows, m) int32, if any, and ``labels`` (rows,) int64."""
    arrays: dict[str, Array] = {}
    for name, numeric in (("numbers", True), ("categories", False)):
        chosen = [columns[column].values() for column, found in schema.categories.items() if (found is None) is numeric]
        if chosen:
            arrays[name] = np.stack(chosen, axis=1)
    return {**arrays, "labels": labels.values()}


def _label(header: Sequence[str], asked: Asked) -> str:
    listing = _listing(header)
    if asked.label is None:
        usual = [name for name in header if name.lower() in LABEL_NAMES]
        if len(usual) == 1:
            return usual[0]
        known = " or ".join(LABEL_NAMES)
        found = f"{len(usual)} columns are" if usual else "no column is"
        detail = f"is missing, and {found} called {known}; name the column with the label. The columns are: {listing}"
        raise InvalidDataset.at("/options/label", detail)
    if asked.label not in header:
        detail = f"there is no column '{asked.label[:50]}'{_near(asked.label, header)}; the columns are: {listing}"
        raise InvalidDataset.at("/options/label", detail)
    return asked.label


def _check_names(header: Sequence[str], asked: Asked, label: str) -> None:
    options = {name: asked.types[name] for name in asked.types} | dict.fromkeys(asked.ignore, "ignore")
    for name, option in options.items():
        if name not in header:
            detail = f"there is no column '{name[:50]}'{_near(name, header)}; the columns are: {_listing(header)}"
            raise InvalidDataset.at(f"/options/{option}", detail)
        if name == label:
            raise InvalidDataset.at(f"/options/{option}", f"'{name[:50]}' is the label; leave it out here")


def _near(name: str, header: Iterable[str]) -> str:
    near = get_close_matches(name, list(header), n=1, cutoff=0.5)
    return f", did you mean '{near[0][:50]}'" if near else ""


def _listing(header: Sequence[str]) -> str:
    shown = ", ".join(name[:50] for name in header[:MOST_LISTED])
    return shown if len(header) <= MOST_LISTED else f"{shown} and {len(header) - MOST_LISTED} more"
