"""Rows of a csv file, read as a stream: header, delimiter, and rows in chunks of bounded size.

Reads the form of RFC 4180: fields apart by a delimiter, quotes around what holds delimiters, quotes or line ends.
Called by ``columns``; what a field means is decided there.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from models.contract.errors import PayloadTooLarge
from models.data.kind import UploadedFile
from models.data.problems import Problems
from models.data.text_lines import read_lines, shown

DELIMITERS = (",", ";", "\t")
NAMES = {",": "commas", ";": "semicolons", "\t": "tabs"}
MOST_COLUMNS = 4_096
MOST_CELLS = 100_000_000
CHUNK_CELLS = 200_000
LONGEST_NAME = 200


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows: the line each begins at, and their fields by column."""

    lines: Sequence[int]
    columns: Sequence[tuple[str, ...]]


class CsvTable:
    """One csv file with a header; every problem goes into ``problems``."""

    def __init__(self, part: str, file: UploadedFile, delimiter: str | None, problems: Problems) -> None:
        """Read the header; ``delimiter`` None takes the one of , ; and tab that cuts it into most fields."""
        self.part = part
        self.name = shown(file)
        self._problems = problems
        lines = read_lines(part, file, problems)
        begin = list(_until_text(lines))
        self.delimiter = delimiter or max(DELIMITERS, key=lambda mark: _fields(begin[-1], mark) if begin else 0)
        self._reader = csv.reader(chain(begin, lines), delimiter=self.delimiter, skipinitialspace=True, strict=True)
        self.header: tuple[str, ...] = next((tuple(map(str.strip, row)) for _, row in self._rows()), ())
        self._check_header()

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows; those with another number of fields than the header are noted and left out.

        Raises:
            PayloadTooLarge: more fields than are read.
        """
        width = len(self.header)
        size = max(1, CHUNK_CELLS // max(1, width))
        lines: list[int] = []
        rows: list[list[str]] = []
        cells = 0
        for line, row in self._rows():
            if len(row) != width:
                fields = f"{len(row)} field{'s' if len(row) != 1 else ''}"
                self.problem(line, f"{fields}, the header has {width}")
                continue
            lines.append(line)
            rows.append(row)
            if len(rows) == size:
                cells += size * width
                if cells > MOST_CELLS:
                    message = f"/{self.part}: more than {MOST_CELLS} fields; send fewer rows or columns"
                    raise PayloadTooLarge(message)
                yield Chunk(lines, list(zip(*rows, strict=True)))
                lines, rows = [], []
        if rows:
            yield Chunk(lines, list(zip(*rows, strict=True)))

    def problem(self, line: int | None, detail: str, count: int = 1) -> None:
        """Note a problem of this file, at a line or as a whole."""
        place = self.name if line is None else f"{self.name} line {line}"
        self._problems.add(self.part, f"{place}: {detail}", count)

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield each row that is not blank with the line it begins at."""
        while True:
            line = self._reader.line_num + 1
            try:
                row = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                self.problem(line, _told(error))
                continue
            if len(row) > 1 or "".join(row).strip():
                yield line, row

    def _check_header(self) -> None:
        width = len(self.header)
        if width == 0:
            self.problem(None, "holds no header; the first line names the columns")
        elif width == 1:
            remedy = "a table needs a label and a column to learn from; if another mark divides the fields, say so"
            self.problem(1, f"the header is one column, '{self.header[0][:50]}': {remedy} (option 'delimiter')")
        elif width > MOST_COLUMNS:
            self.problem(1, f"{width} columns; at most {MOST_COLUMNS} are read")
        for position, name in enumerate(self.header, start=1):
            if not name and width > 1:
                self.problem(1, f"column {position} has no name; name it, or write the file without it")
            if len(name) > LONGEST_NAME:
                self.problem(1, f"the name of column {position} is longer than {LONGEST_NAME} characters")
        for name, count in Counter(self.header).items():
            if name and count > 1:
                self.problem(1, f"{count} columns are called '{name[:50]}'; give each a name of its own")


def _until_text(lines: Iterator[str]) -> Iterator[str]:
    """Yield lines up to the first that is not blank."""
    for line in lines:
        yield line
        if line.strip():
            return


def _fields(line: str, delimiter: str) -> int:
    try:
        return max(map(len, csv.reader([line], delimiter=delimiter, skipinitialspace=True)), default=0)
    except csv.Error:
        return 0


def _told(error: csv.Error) -> str:
    text = str(error)
    if "field limit" in text:
        return f"a field is longer than {csv.field_size_limit()} characters; is a quote left open?"
    if "unexpected end" in text:
        return "a quote opens here and never closes; was the file cut off?"
    return f"is not csv ({text}); double the quotes inside a quoted field"
