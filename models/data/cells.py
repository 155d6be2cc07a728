"""What one field of a table says: a finite number, one too large, or text. Reader and codec agree by sharing it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from models.contract.task import Array

LARGEST = float(np.finfo(np.float32).max)
"""Models compute in float32; what is beyond it counts as infinite."""

INFINITE = float("inf")


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
    """Return all ``texts`` as float32 if each writes a finite number, else None: the quick way for most columns."""
    try:
        values = np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        return None
    joined = "".join(texts)
    if "_" in joined or not joined.isascii() or not (np.abs(values) <= LARGEST).all():
        return None
    return values.astype(np.float32)


def ordered(names: Iterable[str]) -> list[str]:
    """Return ``names`` sorted: numbers by their value, then texts by their letters."""

    def key(name: str) -> tuple[float, str]:
        value = number(name)
        return (INFINITE if value is None else value, name)

    return sorted(names, key=key)
