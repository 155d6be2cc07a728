"""Consecutive lines joined to texts that are scored one by one, the same for trainer and codec."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from models.data.texts.tokens import LINE_END

LEAST_CHARACTERS = 2_000
"""A segment begins without memory of what came before it; longer ones would change a score by a thousandth."""


def segments(lines: Iterable[str]) -> Iterator[str]:
    """Yield texts of whole lines, each with its line end and at least 2,000 characters but for the last."""
    gathered: list[str] = []
    characters = 0
    for line in lines:
        gathered.append(line)
        characters += len(line) + 1
        if characters >= LEAST_CHARACTERS:
            yield _joined(gathered)
            gathered, characters = [], 0
    if gathered:
        yield _joined(gathered)


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}{LINE_END}" for line in lines)
