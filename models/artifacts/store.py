"""Objects by path over obstore: ``file://`` on one machine, ``s3://`` and others by URL.

Paths are relative, with ``/``. Every write is whole or not at all: the file store writes beside the target
and renames, object stores publish on completion.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from models.contract.errors import StoreFull, StoreUnavailable

if TYPE_CHECKING:
    from obstore import ListResult, ObjectMeta

FULL_MARKS = ("No space left", "os error 28", "os error 122", "Quota exceeded", "os error 27")


class ObjectMissing(KeyError):
    """The store holds no object at this path."""


@dataclass(frozen=True)
class Stored:
    """An object as a listing shows it; ``modified`` is by the clock of the store."""

    path: str
    payload_bytes: int
    modified: datetime


class ArtifactStore:
    """The store behind datasets, checkpoints and versions. Safe to use from several threads."""

    def __init__(self, url: str) -> None:
        """Open the store at ``url``; a ``file://`` folder is made if missing.

        Raises:
            StoreUnavailable: the URL cannot be opened; says why.
        """
        self.url = url
        try:
            self._store = _open(url)
        except (BaseError, ValueError, OSError) as error:
            message = (
                f"The artifact store {url} cannot be opened: {str(error).splitlines()[0]}. Check LECTERN_STORE_URL."
            )
            raise StoreUnavailable(message) from error

    def put(self, path: str, data: bytes | Path) -> None:
        """Write an object, replacing what was there; a ``Path`` is streamed from disk."""
        with self._translated(path):
            obstore.put(self._store, path, data)

    def put_content(self, path: str, file: Path) -> None:
        """Write an object that is called by its content, from a file that nobody changes any more.

        On the disk of a file store the file becomes the object as it is: copying a gigabyte takes a second in which
        everything else on a small machine waits. Elsewhere it is sent one piece after the other.
        """
        if isinstance(self._store, LocalStore) and self._store.prefix is not None:
            target = Path(self._store.prefix) / path
            with suppress(OSError):  # another disk, or one without links: copied below
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(file, target)
                return
        with self._translated(path):
            obstore.put(self._store, path, file, max_concurrency=1)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Write an object unless one exists; return whether it was written."""
        with self._translated(path):
            try:
                obstore.put(self._store, path, data, mode="create")
            except AlreadyExistsError:
                return False
        return True

    def get(self, path: str) -> bytes:
        """Return an object's bytes.

        Raises:
            ObjectMissing: there is none.
        """
        with self._translated(path):
            return bytes(obstore.get(self._store, path).bytes())

    def get_range(self, path: str, start: int, stop: int) -> bytes:
        """Return the bytes of an object from ``start`` up to ``stop``, fewer where it ends before.

        Raises:
            ObjectMissing: there is none.
        """
        if start >= stop:
            return b""
        with self._translated(path):
            return bytes(obstore.get_range(self._store, path, start=start, end=stop))

    def stream(self, path: str, chunk_bytes: int = 2**20) -> Iterator[bytes]:
        """Yield an object's bytes in chunks."""
        with self._translated(path):
            for chunk in obstore.get(self._store, path).stream(min_chunk_size=chunk_bytes):
                yield bytes(chunk)

    def exists(self, path: str) -> bool:
        """Return whether there is an object at ``path``."""
        with self._translated(path):
            try:
                obstore.head(self._store, path)
            except FileNotFoundError:
                self._check_folder()
                return False
        return True

    def folders(self, prefix: str) -> list[str]:
        """Return the names of the folders directly under ``prefix``, sorted."""
        with self._translated(prefix):
            listing = self._listing(prefix)
        return sorted(path.rstrip("/").rsplit("/", 1)[-1] for path in listing["common_prefixes"])

    def names(self, prefix: str) -> list[str]:
        """Return the names of the objects directly under ``prefix``, sorted."""
        with self._translated(prefix):
            listing = self._listing(prefix)
        return sorted(item["path"].rsplit("/", 1)[-1] for item in listing["objects"])

    def below(self, prefix: str) -> Iterator[Stored]:
        """Yield every object under the folder ``prefix``, however deep, in no order."""
        with self._translated(prefix):
            for chunk in obstore.list(self._store, prefix):
                for item in chunk:
                    yield Stored(item["path"], item["size"], item["last_modified"])

    def delete(self, path: str) -> None:
        """Remove an object; one that does not exist is no error."""
        with self._translated(path):
            try:
                obstore.delete(self._store, path)
            except FileNotFoundError:
                return

    def _listing(self, prefix: str) -> ListResult[Sequence[ObjectMeta]]:
        listing = obstore.list_with_delimiter(self._store, prefix)
        if not listing["common_prefixes"] and not listing["objects"]:
            self._check_folder()
        return listing

    @contextmanager
    def _translated(self, path: str) -> Generator[None]:
        """Turn obstore's errors into ours."""
        try:
            yield
        except FileNotFoundError as error:
            self._check_folder()
            raise ObjectMissing(path) from error
        except (BaseError, OSError) as error:
            text = str(error)
            if any(mark in text for mark in FULL_MARKS):
                message = f"No space left to write '{path}' in the artifact store; free some space and try again."
                raise StoreFull(message) from error
            message = f"The artifact store failed at '{path}': {text.splitlines()[0] if text else type(error).__name__}"
            raise StoreUnavailable(message) from error

    def _check_folder(self) -> None:
        """Tell a store without an object from one whose folder has gone, as when its disk is no longer there."""
        if isinstance(self._store, LocalStore) and self._store.prefix and not Path(self._store.prefix).is_dir():
            message = f"The folder of the artifact store {self.url} is not there any more; mount or restore it."
            raise StoreUnavailable(message)


def _open(url: str) -> ObjectStore:
    if urlparse(url).scheme != "file":
        return from_url(url)
    # Split by hand: ``?`` and ``#`` belong to the name of a folder.
    folder = Path(unquote(url[len("file:") :].removeprefix("//").removeprefix("localhost")))
    if not folder.is_absolute():
        message = "a file URL names a folder from the root on, as in file:///home/me/store"
        raise ValueError(message)
    return LocalStore(prefix=folder, mkdir=True)
