"""Files of columns, a token a line and an empty line between sentences: read sentence by sentence, problems by line.

Called by the kind ``tagged``; knows nothing of what tags mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from models.data.kind import UploadedFile
from models.data.problems import Problems
from models.data.text_lines import read_lines, shown

DOCUMENT_START = "-DOCSTART-"
REPLACEMENT = "\ufffd"
LONGEST_SENTENCE = 2_000
LONGEST_TOKEN = 1_000
SPACES = re.compile(r"[ \t]+")
NOT_A_WORD = re.compile(r"\d+[-.]\d+")
"""Ids of CoNLL-U for words written as one (``3-4``) and words that are not written (``8.1``)."""

TOKEN_COLUMN, TAG_COLUMN = 1, 3
"""Of CoNLL-U: FORM and UPOS."""


class Columns(Protocol):
    """Which column is what; None leaves it to the format."""

    @property
    def token(self) -> int | None: ...  # noqa: D102

    @property
    def tag(self) -> int | None: ...  # noqa: D102

    @property
    def features(self) -> tuple[int, ...]: ...  # noqa: D102


@dataclass
class Sentence:
    """Tokens with their tags, further columns one after another, and the lines that they stand in."""

    features: list[list[str]]
    tokens: list[str] = field(default_factory=list[str])
    tags: list[str] = field(default_factory=list[str])
    lines: list[int] = field(default_factory=list[int])


def read_columns(
    part: str, file: UploadedFile, columns: Columns, problems: Problems, notes: list[str]
) -> list[Sentence]:
    """Return the sentences of a file.

    What is wrong is noted in ``problems`` with its line, what was left out in ``notes``.
    """
    reader = _Reader(part, file, columns, problems)
    sentences = list(reader.sentences())
    kept = [sentence for sentence in sentences if sentence.tokens[0] != DOCUMENT_START]
    if len(kept) < len(sentences):
        notes.append(f"{part}: {len(sentences) - len(kept)} lines of {DOCUMENT_START} were left out.")
    if reader.skipped:
        notes.append(f"{part}: {reader.skipped} lines of fused or empty words (ids like 3-4 or 8.1) were left out.")
    if reader.empty:
        lines = f"{len(reader.empty)} lines have no token, the first is {reader.empty[0]}"
        notes.append(f"{part}: {lines}; they were read as '{REPLACEMENT}'.")
    if not kept and problems.count == 0:
        problems.add(part, f"{shown(file)}: holds no sentence; write a token and its tag a line")
    return kept


class _Reader:
    """One file as it is read."""

    def __init__(self, part: str, file: UploadedFile, columns: Columns, problems: Problems) -> None:
        self._part, self._file, self._problems = part, file, problems
        self._conllu = file.filename.lower().removesuffix(".gz").endswith(".conllu")
        self._token = columns.token if columns.token is not None else TOKEN_COLUMN if self._conllu else 0
        self._tag = columns.tag if columns.tag is not None else TAG_COLUMN if self._conllu else -1
        self._features = columns.features
        self._width: int | None = None
        self._tabs = self._conllu
        self.skipped = 0
        self.empty: list[int] = []

    def sentences(self) -> Iterator[Sentence]:
        """Yield what stands between empty lines."""
        sentence = self._fresh()
        for number, line in enumerate(read_lines(self._part, self._file, self._problems), start=1):
            text = line.rstrip("\r\n")
            if not text.strip():
                if sentence.tokens:
                    yield self._checked(sentence)
                sentence = self._fresh()
            elif not (self._conllu and text.startswith("#")) and not self._add(sentence, text, number):
                return
        if sentence.tokens:
            yield self._checked(sentence)

    def _fresh(self) -> Sentence:
        return Sentence(features=[[] for _ in self._features])

    def _add(self, sentence: Sentence, text: str, number: int) -> bool:
        """Add a line to the sentence; return False when nothing more of the file can be made sense of."""
        if self._width is None:
            self._tabs = self._tabs or "\t" in text
        fields = text.split("\t") if self._tabs else SPACES.split(text.strip())
        if self._conllu and NOT_A_WORD.fullmatch(fields[0]):
            self.skipped += 1
            return True
        if self._width is None:
            self._width = len(fields)
            if not self._has_columns(number):
                return False
        if len(fields) != self._width:
            mark = "tabs" if self._tabs else "spaces"
            self._problem(number, f"has {len(fields)} columns divided by {mark}, and the lines before {self._width}")
            return True
        token = fields[self._token].strip()
        if not token:
            self.empty.append(number)
            token = REPLACEMENT
        if len(token) > LONGEST_TOKEN:
            self._problem(number, f"has a token of {len(token)} characters; at most {LONGEST_TOKEN} are read")
        tag = fields[self._tag].strip()
        if not tag:
            self._problem(number, f"has no tag in column {self._tag}")
        sentence.tokens.append(token)
        sentence.tags.append(tag)
        sentence.lines.append(number)
        for column, values in zip(self._features, sentence.features, strict=True):
            values.append(fields[column].strip())
        return True

    def _has_columns(self, number: int) -> bool:
        assert self._width is not None
        asked = {"token": self._token, "tag": self._tag, **{f"features: {item}": item for item in self._features}}
        for name, column in asked.items():
            if not -self._width <= column < self._width:
                detail = f"has {self._width} columns, counted from 0; there is no column {column} (option '{name}')"
                self._problem(number, detail)
                return False
        if self._token % self._width == self._tag % self._width:
            self._problem(number, f"has {self._width} columns, so token and tag are the same one; name them by options")
            return False
        return True

    def _checked(self, sentence: Sentence) -> Sentence:
        if len(sentence.tokens) > LONGEST_SENTENCE:
            detail = (
                f"a sentence of {len(sentence.tokens)} tokens begins here; at most {LONGEST_SENTENCE} are learnt from. "
                "Put an empty line between sentences"
            )
            self._problem(sentence.lines[0], detail)
        return sentence

    def _problem(self, number: int, detail: str) -> None:
        self._problems.add(self._part, f"{shown(self._file)} line {number}: {detail}")
