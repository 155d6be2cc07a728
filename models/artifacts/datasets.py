"""Datasets in the store: records by name, contents by digest. Equal content is kept once.

``{project}/datasets/{name}.json`` is a :class:`DatasetRecord`, put if absent;
``blobs/sha256/{digest}.safetensors`` holds the arrays (see ``models/data/packing.py``).

A content is deleted with the last record, of any project, that names it. Who deletes one says so first, under
``blobs/sha256/{digest}.leaving/``, and looks for records then; who adds one writes the record first and looks for
such signs then. So whichever comes second sees the other: a record never names a content that is deleted.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from pydantic import JsonValue, ValidationError
from safetensors.numpy import load

from models.artifacts.store import ArtifactStore, ObjectMissing, Stored
from models.catalog import Catalog
from models.contract.config import is_name
from models.contract.datasets import DatasetRecord
from models.contract.errors import DatasetExists, DatasetNotFound, LecternError
from models.contract.task import Array
from models.data import builtin
from models.data.kind import Content, UploadedFile
from models.data.packing import LENGTH_BYTES, Packed, texts_of, unpack
from models.data.reading import CONTENT_NAME, Order, read

BUILT_IN_TIME = datetime(2026, 1, 1, tzinfo=UTC)
LEAVING_SECONDS = 10.0
"""How long a deletion under way is waited for; one that takes longer has died."""

LEAVING_PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class _BuiltIn:
    record: DatasetRecord
    blob: bytes


class Datasets:
    """The datasets of one project."""

    def __init__(self, store: ArtifactStore, catalog: Catalog, project: str = "default") -> None:
        """Keep the store and the kinds that can be read."""
        self._store = store
        self._catalog = catalog
        self._project = project
        self._built_in = lru_cache(maxsize=None)(self._read_built_in)

    def add(
        self, name: str, kind: str, options: Mapping[str, JsonValue], files: Mapping[str, UploadedFile]
    ) -> DatasetRecord:
        """Read, split and store an upload in this process; return its record.

        Raises:
            ValidationFailed: unknown kind, option or part, or a file that does not hold what it should.
            DatasetExists: the name is taken by other content; the same upload again is no error.
            StoreFull: no space; nothing is left behind under the name.
        """
        order = Order.parse({"name": name, "kind": kind, "options": dict(options), "files": dict(files)})
        self.check_name(name)
        with TemporaryDirectory(prefix="lectern-reading-") as folder:
            record = read(order, self._catalog, Path(folder))
            return self.keep(record, Path(folder) / CONTENT_NAME)

    def keep(self, record: DatasetRecord, content: Path) -> DatasetRecord:
        """Store what was read; ``content`` is streamed. Return the record that has the name now.

        Raises:
            DatasetExists: the name is taken by other content; the same again is no error.
            StoreFull: no space; nothing is left behind under the name.
        """
        self.check_name(record.name)
        blob = _blob_path(record.digest)
        if not self._store.exists(blob):
            self._store.put_content(blob, content)
        try:
            kept = self._named(record)
        except LecternError:
            with suppress(LecternError):  # what is told is why there is no record
                release(self._store, record.digest)
            raise
        self._wait_for_deletions(record.digest)
        if not self._store.exists(blob):
            self._store.put_content(blob, content)
        return kept

    def check_name(self, name: str) -> None:
        """Return if a dataset can be added under ``name``.

        Raises:
            DatasetExists: a built-in dataset has it.
        """
        if name in builtin.NAMES:
            message = f"'{name}' is a built-in dataset; choose another name."
            raise DatasetExists(message)

    def names(self) -> list[str]:
        """Return the names of all datasets, built-in ones first; what a file manager left in the folder is none."""
        return [*builtin.NAMES, *_names_in(self._store, self._project)]

    def record(self, name: str) -> DatasetRecord:
        """Return a dataset's record.

        Raises:
            DatasetNotFound: there is none of this name; suggests the nearest.
        """
        if name in builtin.NAMES:
            return self._built_in(name).record
        try:
            return DatasetRecord.model_validate_json(self._store.get(self._path(name)))
        except ObjectMissing:
            raise DatasetNotFound.named("dataset", name, self.names()) from None

    def content(self, record: DatasetRecord) -> Content:
        """Return a dataset's arrays and facts.

        Raises:
            DatasetNotFound: the record is there, but what it names is gone from the store.
        """
        with _found(record):
            blob = self._built_in(record.name).blob if record.built_in else self._store.get(_blob_path(record.digest))
        return self._catalog.kind(record.kind).drawn(Content(unpack(load(blob)), record.meta))

    def head(self, record: DatasetRecord, split: str, count: int) -> Content:
        """Return the first ``count`` examples of one split and the facts; nothing else is read from the store.

        Raises:
            DatasetNotFound: the record is there, but what it names is gone from the store.
        """
        with _found(record):
            length = Packed.header_bytes(self._range(record, 0, LENGTH_BYTES))
            packed = Packed(self._range(record, LENGTH_BYTES, LENGTH_BYTES + length))
            arrays = {
                name: self._texts(record, packed, f"{split}/{name}", count)
                if is_text
                else self._rows(record, packed, f"{split}/{name}", count)
                for name, is_text in packed.arrays(split).items()
            }
        return self._catalog.kind(record.kind).drawn(Content({split: arrays}, record.meta))

    def delete(self, name: str) -> None:
        """Remove a dataset, and its content unless another record names it.

        Raises:
            DatasetNotFound: there is none of this name.
            DatasetExists: the dataset is built in.
        """
        if name in builtin.NAMES:
            message = f"'{name}' is a built-in dataset and cannot be deleted."
            raise DatasetExists(message)
        record = self.record(name)
        self._store.delete(self._path(name))
        release(self._store, record.digest)

    def _named(self, record: DatasetRecord) -> DatasetRecord:
        """Put the record under its name; return the one that is there."""
        while not self._store.put_if_absent(self._path(record.name), record.model_dump_json().encode()):
            try:
                present = self.record(record.name)
            except DatasetNotFound:  # deleted just now
                continue
            if (present.kind, present.digest) == (record.kind, record.digest):
                return present
            message = f"A dataset '{record.name}' with other content exists; choose another name or delete it first."
            raise DatasetExists(message)
        return record

    def _wait_for_deletions(self, digest: str) -> None:
        deadline = time.monotonic() + LEAVING_SECONDS
        while signs := self._store.names(_leaving_path(digest)):
            if time.monotonic() > deadline:
                for sign in signs:
                    self._store.delete(f"{_leaving_path(digest)}/{sign}")
                return
            time.sleep(LEAVING_PAUSE_SECONDS)

    def _range(self, record: DatasetRecord, start: int, stop: int) -> bytes:
        if record.built_in:
            return self._built_in(record.name).blob[start:stop]
        return self._store.get_range(_blob_path(record.digest), start, stop)

    def _rows(self, record: DatasetRecord, packed: Packed, key: str, count: int) -> Array:
        return packed.array(key, self._range(record, *packed.rows(key, 0, count)))

    def _texts(self, record: DatasetRecord, packed: Packed, key: str, count: int) -> Array:
        ends = self._rows(record, packed, f"{key}|ends", count)
        data = self._rows(record, packed, f"{key}|bytes", int(ends[-1]) if len(ends) else 0)
        return texts_of(data, ends)

    def _read_built_in(self, name: str) -> _BuiltIn:
        options = dict(builtin.OPTIONS[name])
        order = Order.parse(
            {"name": name, "kind": builtin.KINDS[name], "options": options, "files": builtin.upload(name)}
        )
        with TemporaryDirectory(prefix="lectern-reading-") as folder:
            record = read(order, self._catalog, Path(folder))
            blob = (Path(folder) / CONTENT_NAME).read_bytes()
        return _BuiltIn(record.model_copy(update={"built_in": True, "created": BUILT_IN_TIME}), blob)

    def _path(self, name: str) -> str:
        if not is_name(name):
            raise DatasetNotFound.named("dataset", name, self.names())
        return f"{self._project}/datasets/{name}.json"


def release(store: ArtifactStore, digest: str) -> bool:
    """Delete a content that no record names, as the module docstring says; return whether it was."""
    sign = f"{_leaving_path(digest)}/{uuid4().hex}"
    store.put(sign, b"")
    try:
        # Without its sign nobody waits for this deletion any more: the looking took too long.
        if _is_named(store, digest) or not store.exists(sign):
            return False
        store.delete(_blob_path(digest))
    finally:
        store.delete(sign)
    return True


def unnamed_contents(store: ArtifactStore) -> dict[str, Stored]:
    """Return the contents that no record of any project names, by digest; none while a record cannot be read."""
    contents = {digest: stored for stored in store.below("blobs/sha256") if (digest := _digest_of(stored.path))}
    if not contents:
        return {}
    try:
        named = {record.digest for record in _records(store)}
    except ValidationError:  # of another Lectern: whatever it names is not ours to delete
        return {}
    return {digest: stored for digest, stored in contents.items() if digest not in named}


@contextmanager
def _found(record: DatasetRecord) -> Generator[None]:
    try:
        yield
    except ObjectMissing:
        message = f"The content of dataset '{record.name}' is gone from the artifact store; upload it again."
        raise DatasetNotFound(message) from None


def _blob_path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}.safetensors"


def _leaving_path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}.leaving"


def _digest_of(path: str) -> str | None:
    found = re.fullmatch(r"blobs/(sha256)/([0-9a-f]+)\.safetensors", path)
    return ":".join(found.groups()) if found else None


def _is_named(store: ArtifactStore, digest: str) -> bool:
    try:
        return any(record.digest == digest for record in _records(store))
    except ValidationError:  # of another Lectern: whatever it names is not ours to delete
        return True


def _records(store: ArtifactStore) -> Iterator[DatasetRecord]:
    """Yield the records of all projects.

    Raises:
        ValidationError: one of them is of another Lectern.
    """
    for project in store.folders(""):
        for name in _names_in(store, project):
            try:
                yield DatasetRecord.model_validate_json(store.get(f"{project}/datasets/{name}.json"))
            except ObjectMissing:
                continue


def _names_in(store: ArtifactStore, project: str) -> list[str]:
    files = store.names(f"{project}/datasets")
    return [*filter(is_name, (file.removesuffix(".json") for file in files if file.endswith(".json")))]
