"""Readers of labelled texts: csv or tsv with a header, or jsonl, told apart by their first line.

Both give texts, labels and the line of each; what is wrong goes into ``problems``. Called by the kind
``labelled_text``.
"""

from __future__ import annotations

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
    rows = _json_rows if _is_jsonl(part, file) else _csv_rows
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


def _is_jsonl(part: str, file: UploadedFile) -> bool:
    first = next((line for line in read_lines(part, file, Problems()) if line.strip()), "")
    return first.lstrip().startswith("{")


def _json_rows(part: str, file: UploadedFile, columns: Columns, problems: Problems) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(read_lines(part, file, problems), start=1):
        if not line.strip():
            continue
        place = f"{shown(file)} line {number}"
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            problems.add(part, f"{place}: is not JSON ({error}); write one object a line")
            continue
        values = [_json_text(row, key) for key in (columns.text, columns.label)]
        missing = [key for key, value in zip((columns.text, columns.label), values, strict=True) if value is None]
        if missing:
            detail = f"has no text under '{missing[0]}'; each line is an object with '{columns.text}' and"
            problems.add(part, f"{place}: {detail} '{columns.label}'")
            continue
        text, label = cast("list[str]", values)
        yield number, text, label


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
            named = ", ".join(column[:50] for column in table.header[:20])
            detail = f"no column is called '{name}'; there are: {named}. Name it with the options 'text' and 'label'"
            table.problem(1, detail)
    if problems.count != before:
        return
    positions = [table.header.index(name) for name in (columns.text, columns.label)]
    for chunk in table.chunks():
        chosen: Sequence[Sequence[str]] = [chunk.columns[position] for position in positions]
        yield from zip(chunk.lines, *chosen, strict=True)
