"""Running text for language models: plain files of lines.

Parts: ``train``, optional ``validation`` and ``test``, each a text file, plain or gzipped; several files of a part are
sent as ``train_1``, ``train_2`` … and read in the order of their names. What is set aside is the end of the text.

Array of a split: ``lines`` (lines,) text, normalized, without line ends. Facts: ``lowercase``, and how many lines,
words and characters each split has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, cast

import numpy as np
from pydantic import Field, JsonValue

from models.contract.errors import InvalidDataset
from models.contract.task import Array, Split
from models.data.kind import Content, DatasetKind, SplitOptions, UploadedFile
from models.data.problems import Problems
from models.data.text_lines import read_lines, shown
from models.data.texts.tokens import WORD, normalized

PART = re.compile(r"(train|validation|test)(_\w+)?")
LONGEST_LINE = 100_000

RULES = (
    "Accents are composed (Unicode NFC), and each line end is a token.",
    "Words are letters and digits with apostrophes between them; each other mark is a token, white space is none.",
)


class TextOptions(SplitOptions):
    """Options of the kind ``text``."""

    lowercase: bool = Field(default=False, description="Whether letters are made small, here and in requests.")


class Text(DatasetKind):
    """Running text."""

    name = "text"
    title = "Running text (txt)"
    options: ClassVar[type[SplitOptions]] = TextOptions
    contiguous = True

    def read(self, files: Mapping[str, UploadedFile], options: SplitOptions) -> Content:
        """Return the lines of each split; see the module docstring for the names of parts."""
        assert isinstance(options, TextOptions)
        found: dict[str, list[str]] = {}
        problems = Problems()
        for part in sorted(files, key=_natural):
            match = PART.fullmatch(part)
            if match is None:
                detail = "is not a part of a text; use train, validation, test, or train_1, train_2 and so on"
                raise InvalidDataset.at(f"/{part}", detail)
            lines = _lines(part, files[part], problems, lowercase=options.lowercase)
            found.setdefault(match[1], []).extend(lines)
        if "train" not in found:
            raise InvalidDataset.at("/train", "is missing; send a text file as 'train'")
        problems.check()
        splits: dict[str, Split] = {
            name: {"lines": np.array(lines, np.dtypes.StringDType())} for name, lines in found.items()
        }
        return Content(splits, {"lowercase": options.lowercase, "rules": list(RULES)})

    def facts(self, content: Content) -> dict[str, JsonValue]:
        """Return lines, words and characters per split, and how many different ones the training split has."""
        train = _texts(content.splits["train"]["lines"])
        words = {word for line in train for word in WORD.findall(line)}
        different: dict[str, JsonValue] = {"words": len(words), "characters": len(set("".join(train)))}
        return {"size": {name: _size(split["lines"]) for name, split in content.splits.items()}, "different": different}

    def preview(self, content: Content, split: str, count: int) -> list[dict[str, JsonValue]]:
        """Return the first lines."""
        return [{"line": line} for line in _texts(content.splits[split]["lines"][:count])]


KIND = Text()


def _natural(part: str) -> tuple[str, int, str]:
    """Order ``train_2`` before ``train_10``."""
    name, _, number = part.partition("_")
    return (name, int(number) if number.isdecimal() else 0, number)


def _lines(part: str, file: UploadedFile, problems: Problems, *, lowercase: bool) -> list[str]:
    lines: list[str] = []
    for number, line in enumerate(read_lines(part, file, problems), start=1):
        text = line.rstrip("\r\n")
        if len(text) > LONGEST_LINE:
            detail = f"{shown(file)} line {number}: {len(text)} characters; break lines at {LONGEST_LINE} or fewer"
            problems.add(part, detail)
            continue
        lines.append(normalized(text, lowercase=lowercase))
    if not any(map(str.strip, lines)) and not problems.count:
        problems.add(part, f"{shown(file)}: holds no text")
    return lines


def _texts(array: Array) -> list[str]:
    return cast("list[str]", array.tolist())


def _size(array: Array) -> dict[str, JsonValue]:
    """Return what a split has; a line end is one word and one character."""
    lines = _texts(array)
    words = sum(len(WORD.findall(line)) + 1 for line in lines)
    return {"lines": len(lines), "words": words, "characters": sum(len(line) + 1 for line in lines)}
