"""Unicode composition (NFC) in a time that grows with the length alone; called by all that cuts texts.

Marks that stand on one letter are sorted when it is composed, by every pair of them, and nothing else runs meanwhile.
Texts of any language have few: UAX #15, §13 (Stream-Safe Text Format) lets 30 stand in a row.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

MOST_MARKS = 30
"""Combining marks that are kept in a row; those behind them are left out."""

FIRST_MARK, BEYOND_MARKS = 0x300, 0x20000


def composed(text: str) -> str:
    """Return ``text`` with accents composed, and at most ``MOST_MARKS`` combining marks in a row."""
    return text if text.isascii() else unicodedata.normalize("NFC", _too_many_marks().sub(r"\1", text))


@cache
def _too_many_marks() -> re.Pattern[str]:
    """Return what finds a row of too many marks, and in it those that are kept."""
    ranges: list[list[int]] = []
    for code in filter(_is_mark, range(FIRST_MARK, BEYOND_MARKS)):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    marks = "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)
    return re.compile(f"([{marks}]{{{MOST_MARKS}}})[{marks}]+")


def _is_mark(code: int) -> bool:
    """Return whether a character is sorted among others, or falls apart into such before they are sorted."""
    return unicodedata.combining(unicodedata.normalize("NFD", chr(code))[0]) != 0
