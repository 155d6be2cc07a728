"""Arrays a chunk at a time, so that what is computed of a large one needs little memory beside it."""

from __future__ import annotations

from collections.abc import Iterator

from models.contract.task import Array

CHUNK_BYTES = 2**22


def chunks(array: Array) -> Iterator[tuple[int, Array]]:
    """Yield the first index and the rows of each chunk of about ``CHUNK_BYTES``, at least one row."""
    rows = max(1, CHUNK_BYTES * len(array) // max(1, array.nbytes))
    for start in range(0, len(array), rows):
        yield start, array[start : start + rows]
