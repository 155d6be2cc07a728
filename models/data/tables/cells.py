"""What one field of a table says: a finite number, one too large, or text. Reader and codec agree by sharing it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np

from models.contract.task import Array

LARGEST = float(np.finfo(np.float32).max)
"""Models compute in float32; what is beyond it counts as infinite."""

INFINITE = float("inf")

MOST_KNOWN = 2**16
"""Distinct texts of a column that are kept in memory; beyond them the list starts anew."""


def number(text: str) -> float | None:
    """Return the number that ``text`` writes, infinite if it is beyond float32, None if it is no number.

    Numbers are written as in Python and C: ``-1.5``, ``.5``, ``3e-7``, ``inf``; no thousands marks, no decimal
    comma, no ``nan``.
    """
    if "_" in text or not text.isascii():
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    if value != value:  # noqa: PLR0124 - the one value that is not itself is NaN
        return None
    return value if abs(value) <= LARGEST else INFINITE


def numbers(texts: Sequence[str]) -> Array | None:
    """Return ``texts`` as float32 if each writes a finite number, else None: the quick way for most columns."""
    values = _floats(texts)
    return None if values is None or np.isnan(values).any() else values


def numbers_and_gaps(texts: Sequence[str], missing: Collection[str]) -> Array | None:
    """Return ``texts`` as float32, NaN for those written exactly as one of ``missing``; None if one is neither."""
    gaps = [text in missing for text in texts]
    values = _floats(["nan" if gap else text for text, gap in zip(texts, gaps, strict=True)])
    return None if values is None or (np.isnan(values) != gaps).any() else values


def _floats(texts: Sequence[str]) -> Array | None:
    """Return ``texts`` as float32 if each writes a finite number or NaN, else None."""
    try:
        values = np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        return None
    joined = "".join(texts)
    if "_" in joined or not joined.isascii() or (np.abs(values) > LARGEST).any():
        return None
    return values.astype(np.float32)


class Codes:
    """Whole numbers for texts: every distinct text of a chunk is looked up once, stripped."""

    def __init__(self, missing: Iterable[str], code: int, find: Callable[[str], int]) -> None:
        """Give the texts of ``missing`` the number ``code``, others what ``find`` says."""
        self._missing = dict.fromkeys(missing, code)
        self._find = find
        self._known = dict(self._missing)

    def of(self, texts: Sequence[str]) -> list[int]:
        """Return the number of each text."""
        if len(self._known) > MOST_KNOWN:
            self._known = dict(self._missing)
        for text in sorted(set(texts).difference(self._known)):
            stripped = text.strip()
            found = self._missing.get(stripped)
            self._known[text] = self._find(stripped) if found is None else found
        return list(map(self._known.__getitem__, texts))


def ordered(names: Iterable[str]) -> list[str]:
    """Return ``names`` sorted: numbers by their value, then texts by their letters."""

    def key(name: str) -> tuple[float, str]:
        value = number(name)
        return (INFINITE if value is None else value, name)

    return sorted(names, key=key)
