"""Readers of labelled texts: csv or tsv with a header, or jsonl, told apart by their first line.

Both give texts, labels and the line of each; what is wrong goes into ``problems``. Called by the kind
``labelled_text``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import orjson

from models.data.kind import UploadedFile
from models.data.problems import Problems
from models.data.tables.csv_table import CsvTable
from models.data.text_lines import read_lines, shown

LONGEST_TEXT = 100_000
LONGEST_LABEL = 200
MOST_NAMED = 20
NAME_THEM = "Name it with the options 'text' and 'label'"
JSON_ARRAY = re.compile(r"\[\s*(?:$|[\[{])")


@dataclass(frozen=True)
class Columns:
    """Names of the columns, or keys, with the text and with the label."""

    text: str
    label: str


@dataclass
class LabelledTexts:
    """Texts and labels in their order, with the line that each begins at."""

    texts: list[str] = field(default_factory=list[str])
    labels: list[str] = field(default_factory=list[str])
    lines: list[int] = field(default_factory=list[int])
    place: str = ""


def read_labelled(part: str, file: UploadedFile, columns: Columns, problems: Problems) -> LabelledTexts:
    """Return what the file holds; rows that are wrong are noted and left out.

    Raises:
        PayloadTooLarge: more bytes, lines or fields than are read.
    """
    found = LabelledTexts(place=shown(file))
    first = next((line.strip() for line in read_lines(part, file, Problems()) if line.strip()), "")
    if told := _document(first):
        problems.add(part, f"{found.place}: {told}; write one object a line")
        return found
    rows = _json_rows if first.startswith("{") else _csv_rows
    before = problems.count
    for line, text, label in rows(part, file, columns, problems):
        wrong = _wrong(text, label)
        if wrong:
            problems.add(part, f"{found.place} line {line}: {wrong}")
            continue
        found.texts.append(text)
        found.labels.append(label.strip())
        found.lines.append(line)
    if not found.texts and problems.count == before:
        problems.add(part, f"{found.place}: holds no labelled text")
    return found


def _wrong(text: str, label: str) -> str | None:
    if not text.strip():
        return "the text is empty; give it words, or leave the row out"
    if len(text) > LONGEST_TEXT:
        return f"the text has {len(text)} characters; at most {LONGEST_TEXT} are read, cut it"
    if not label.strip():
        return "the label is empty; give it one, or leave the row out"
    return f"the label is longer than {LONGEST_LABEL} characters" if len(label) > LONGEST_LABEL else None


def _document(first: str) -> str | None:
    """Say what JSON a file is that holds no object a line, by its first line."""
    if first == "{":
        return "is a JSON object over several lines"
    return "is a JSON array" if JSON_ARRAY.match(first) else None


def _json_rows(part: str, file: UploadedFile, columns: Columns, problems: Problems) -> Iterator[tuple[int, str, str]]:
    keys = (columns.text, columns.label)
    other_keys: frozenset[str] | None = None
    for number, row in _json_lines(part, file, problems):
        place = f"{shown(file)} line {number}"
        absent = _absent(row, keys)
        if other_keys is None:
            other_keys = absent
            if absent:
                problems.add(part, f"{place}: {_told_keys(row, absent)}")
        if absent and absent == other_keys:
            continue
        values = [_json_text(row, key) for key in keys]
        missing = [key for key, value in zip(keys, values, strict=True) if value is None]
        if missing:
            detail = f"has no text under '{missing[0]}'; each line is an object with '{columns.text}' and"
            problems.add(part, f"{place}: {detail} '{columns.label}'")
            continue
        text, label = cast("list[str]", values)
        yield number, text, label


def _json_lines(part: str, file: UploadedFile, problems: Problems) -> Iterator[tuple[int, object]]:
    """Yield the value of each line that has one, with its number."""
    for number, line in enumerate(read_lines(part, file, problems), start=1):
        if line.strip():
            try:
                row: object = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                problems.add(part, f"{shown(file)} line {number}: is not JSON ({error}); write one object a line")
                continue
            yield number, row


def _absent(row: object, keys: Sequence[str]) -> frozenset[str]:
    """Return those of ``keys`` that an object does not have."""
    return frozenset(keys) - cast("dict[str, object]", row).keys() if isinstance(row, dict) else frozenset()


def _told_keys(row: object, absent: frozenset[str]) -> str:
    """Say of the first object, and so of all like it, which keys it has instead."""
    called = " or ".join(f"'{key}'" for key in sorted(absent))
    named = ", ".join(key[:50] for key in list(cast("dict[str, object]", row))[:MOST_NAMED]) or "none"
    return f"no key is called {called}; there are: {named}. {NAME_THEM}"


def _json_text(row: object, key: str) -> str | None:
    """Return the text under ``key``; a label may be written as a number or a truth value."""
    value = cast("dict[str, object]", row).get(key) if isinstance(row, dict) else None
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int) else None


def _csv_rows(part: str, file: UploadedFile, columns: Columns, problems: Problems) -> Iterator[tuple[int, str, str]]:
    before = problems.count
    table = CsvTable(part, file, None, problems)
    for name in (columns.text, columns.label):
        if problems.count == before and name not in table.header:
            named = ", ".join(column[:50] for column in table.header[:MOST_NAMED])
            table.problem(1, f"no column is called '{name}'; there are: {named}. {NAME_THEM}")
    if problems.count != before:
        return
    positions = [table.header.index(name) for name in (columns.text, columns.label)]
    for chunk in table.chunks():
        chosen: Sequence[Sequence[str]] = [chunk.columns[position] for position in positions]
        yield from zip(chunk.lines, *chosen, strict=True)
