"""Composed accents: rows of marks are bounded before they are sorted, and texts of languages stay as they are."""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.conversation import replying
from models.data.kind import DatasetKind, UploadedFile
from models.data.kinds.parallel import KIND as PARALLEL
from models.data.kinds.text import KIND as TEXT
from models.data.texts import composition, segmentation, tokens
from models.data.texts.composition import BEYOND_MARKS, FIRST_MARK, MOST_MARKS, composed
from models.seq2seq.languages import Languages

TWO_CLASSES = "a" + "\u0301" * 9_999 + "\u0323" * 9_999
FALLS_APART = "a" + "\u0f73" * 9_999
"""A mark of class 0 that becomes two of others."""


class Composing:
    """Stands for ``unicodedata`` and keeps what is composed."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def combining(self, letter: str) -> int:
        return unicodedata.combining(letter)

    def normalize(self, form: Literal["NFC", "NFD"], text: str) -> str:
        self.seen.append(text)
        return unicodedata.normalize(form, text)

    @property
    def longest_row(self) -> int:
        """The most marks that were ever sorted together."""
        longest = 0
        for text in self.seen:
            row = 0
            for letter in unicodedata.normalize("NFD", text[:5_000]):
                row = row + 1 if unicodedata.combining(letter) else 0
                longest = max(longest, row)
        return longest


@pytest.fixture
def composing(monkeypatch: pytest.MonkeyPatch) -> Composing:
    """Return what sees everything that is composed."""
    composed("\u0301")  # the marks are known
    found = Composing()
    for module in (composition, segmentation, tokens):
        if hasattr(module, "unicodedata"):
            monkeypatch.setattr(module, "unicodedata", found)
    return found


@pytest.mark.parametrize("text", [TWO_CLASSES, FALLS_APART, "é" + TWO_CLASSES * 2])
def test_no_row_of_marks_is_sorted_that_is_longer_than_any_language_has(composing: Composing, text: str) -> None:
    """In requests and readers of every kind of text; those behind are left out."""
    found = segmentation.one_line(text, lowercase=False), tokens.normalized(text, lowercase=True)
    assert composing.seen
    assert composing.longest_row <= 2 * MOST_MARKS
    assert all(len(kept) <= 5 * MOST_MARKS for kept in found)


@given(text=st.text(max_size=60))
def test_other_texts_are_composed_as_they_always_were(text: str) -> None:
    """Nothing is left out of them."""
    assert composed(text) == unicodedata.normalize("NFC", text)


def test_all_marks_are_known() -> None:
    """Of the Unicode version that Python has."""
    outside = [*range(FIRST_MARK), *range(BEYOND_MARKS, sys.maxunicode + 1)]
    assert not any(unicodedata.combining(chr(code)) for code in outside)


def _refused(folder: Path, kind: DatasetKind, **parts: str) -> str:
    files: dict[str, UploadedFile] = {}
    for part, text in parts.items():
        (folder / part).write_text(text)
        files[part] = UploadedFile(part, folder / part)
    with pytest.raises(Exception, match=r".") as refused:
        kind.read(files, kind.options())
    return str(refused.value)


def test_lines_that_are_too_long_are_refused_unread(composing: Composing, tmp_path: Path) -> None:
    """Their length is looked at first."""
    assert "the source is longer than 20000" in _refused(tmp_path, PARALLEL, train="é" * 20_001 + "\tb\n")
    assert "100001 characters" in _refused(tmp_path, TEXT, train="é" * 100_001 + "\n")
    assert max(map(len, composing.seen), default=0) < 20


def test_turns_that_are_not_read_are_not_composed(composing: Composing) -> None:
    """Only as many as the model looks at, empty ones not counted."""
    model: Any = SimpleNamespace(config={"context_turns": 2, "longest": 60})
    known = segmentation.Segmentation.study(["a b"], "word", most=9, least=1, lowercase=False)
    turns = ["é 1", "é 2", "é 3", " ", "é 4"]
    sentence = replying._sentence(model, Languages(known, known, reverse_source=False), turns)
    assert [token for token in sentence.tokens if token[-1].isdecimal()] == ["▁3", "▁4"]
    assert composing.seen[:2] == ["é 4", "é 3"]
    assert not {"é 1", "é 2"} & set(composing.seen)
