"""Numbered records in a folder: each is put only if absent and never changes, so a number has one writer."""

from __future__ import annotations

from models.artifacts.store import ArtifactStore


def numbers(store: ArtifactStore, folder: str) -> list[int]:
    """Return the numbers of the records in ``folder``, sorted; what a file manager left there is none."""
    stems = (name.removesuffix(".json") for name in store.names(folder) if name.endswith(".json"))
    return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit())


class Records:
    """The records ``{folder}/{number}.json``, numbered from 1 on."""

    def __init__(self, store: ArtifactStore, folder: str) -> None:
        """Keep where they lie."""
        self._store = store
        self._folder = folder

    def numbers(self) -> list[int]:
        """Return the numbers that there are, sorted."""
        return numbers(self._store, self._folder)

    def last(self) -> int:
        """Return the highest number, 0 if there is none."""
        return max(self.numbers(), default=0)

    def read(self, number: int) -> bytes:
        """Return a record.

        Raises:
            ObjectMissing: there is none of this number.
        """
        return self._store.get(self._path(number))

    def put(self, number: int, data: bytes) -> bool:
        """Write a record unless its number is taken; return whether it was written.

        Raises:
            StoreFull: no space is left.
        """
        return self._store.put_if_absent(self._path(number), data)

    def _path(self, number: int) -> str:
        return f"{self._folder}/{number:012d}.json"
