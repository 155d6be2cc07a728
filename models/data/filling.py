"""Bytes of a stream of known length, read into one array that is never copied."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from models.contract.task import Array

PIECE_BYTES = 2**20


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, none at the end."""
        ...


def filled(file: Readable, expected: int) -> tuple[Array, int]:
    """Return a buffer (expected,) uint8 filled from ``file``, and how many bytes came.

    The count is less than ``expected`` when the stream ends early, and ``expected + 1`` when it goes on.
    """
    buffer, found = np.empty(expected, np.uint8), 0
    while found < expected and (piece := file.read(min(PIECE_BYTES, expected - found))):
        buffer[found : found + len(piece)] = np.frombuffer(piece, np.uint8)
        found += len(piece)
    return buffer, found + len(file.read(1))
