"""Readers of sentence pairs: two files line by line, or one of tab-separated pairs; called by the kind ``parallel``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest

from models.data.kind import UploadedFile
from models.data.problems import Problems
from models.data.text_lines import read_lines, shown
from models.data.texts.segmentation import one_line

LONGEST_SENTENCE = 20_000
SIDES = ("source", "target")


@dataclass(frozen=True)
class Pairs:
    """Sentences of both sides, as many of one as of the other."""

    sources: list[str]
    targets: list[str]

    def add(self, source: str, target: str) -> None:
        """Add a pair."""
        self.sources.append(source)
        self.targets.append(target)

    def __len__(self) -> int:
        return len(self.sources)


@dataclass(frozen=True)
class PairsRead:
    """What files hold, and how many lines were empty on both sides."""

    pairs: Pairs
    empty: int


def read_pairs(
    split: str, files: Mapping[str, UploadedFile], languages: tuple[str, str], problems: Problems, *, lowercase: bool
) -> PairsRead:
    """Return the pairs of a split, from its two files or its one; what is wrong is noted.

    Raises:
        PayloadTooLarge: more bytes or lines than are read.
    """
    found, empty, before = Pairs([], []), 0, problems.count
    rows = _rows_of_one(split, files[split], languages, problems) if split in files else None
    for place, source, target in rows or _rows_of_two(split, files, problems):
        sides = [_kept(text, lowercase=lowercase) for text in (source, target)]
        if not any(sides):
            empty += 1
            continue
        wrong = {side: detail for side, text in zip(SIDES, sides, strict=True) if (detail := _wrong(text))}
        for side, detail in wrong.items():
            problems.add(split if rows is not None else f"{split}_{side}", f"{place}: the {side} {detail}")
        if not wrong:
            found.add(*sides)
    if not found and problems.count == before:
        problems.add(split if split in files else f"{split}_source", "holds no sentence")
    return PairsRead(found, empty)


def _wrong(text: str) -> str | None:
    """Return what is wrong with one side of a pair that is not empty on both."""
    if not text:
        return "is empty and the other side is not; fill it, or leave out both lines"
    if len(text) > LONGEST_SENTENCE:
        return f"is longer than {LONGEST_SENTENCE} characters; break it into sentences"
    return None


def _kept(text: str, *, lowercase: bool) -> str:
    """Return a sentence as it is kept; one that is too long as it is, for it is refused."""
    return text if len(text.rstrip("\r\n")) > LONGEST_SENTENCE else one_line(text, lowercase=lowercase)


def _rows_of_two(split: str, files: Mapping[str, UploadedFile], problems: Problems) -> Iterator[tuple[str, str, str]]:
    """Yield place, source and target; files of different length are a problem with both counts."""
    parts = [f"{split}_{side}" for side in SIDES]
    lines = [read_lines(part, files[part], problems) for part in parts]
    counts, before = [0, 0], problems.count
    for number, texts in enumerate(zip_longest(*lines), start=1):
        for side, text in enumerate(texts):
            counts[side] += text is not None
        if None not in texts:
            yield f"line {number}", str(texts[0]), str(texts[1])
    if counts[0] != counts[1] and problems.count == before:
        told = f"'{parts[0]}' has {counts[0]} lines and '{parts[1]}' has {counts[1]}"
        problems.add(parts[1], f"{told}; line n of one must be the translation of line n of the other")


def _rows_of_one(
    part: str, file: UploadedFile, languages: tuple[str, str], problems: Problems
) -> Iterator[tuple[str, str, str]]:
    """Yield place, source and target; a first line that names both languages is a header."""
    columns = (0, 1)
    for number, line in enumerate(read_lines(part, file, problems), start=1):
        cells = line.rstrip("\r\n").split("\t")
        if number == 1 and set(languages) <= {cell.strip() for cell in cells}:
            header = [cell.strip() for cell in cells]
            columns = (header.index(languages[0]), header.index(languages[1]))
            continue
        if cells == [""]:
            yield f"{shown(file)} line {number}", "", ""
        elif len(cells) <= max(columns):
            detail = f"{len(cells)} tab-separated columns; there must be {max(columns) + 1} or more"
            problems.add(part, f"{shown(file)} line {number}: {detail}")
        else:
            yield f"{shown(file)} line {number}", cells[columns[0]], cells[columns[1]]
