"""Datasets in the store: records by name, contents by digest. Equal content is kept once.

``{project}/datasets/{name}.json`` is a :class:`DatasetRecord`, put if absent;
``blobs/sha256/{digest}.safetensors`` holds the arrays as ``{split}/{array}``, text as ``…|bytes`` and ``…|ends``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import orjson
from pydantic import JsonValue
from safetensors.numpy import load, save

from models.artifacts.store import ArtifactStore, ObjectMissing
from models.catalog import Catalog
from models.contract.config import Name, Options, is_name
from models.contract.datasets import DatasetRecord
from models.contract.errors import DatasetExists, DatasetNotFound
from models.contract.task import Array, Split
from models.data import builtin
from models.data.kind import Content, UploadedFile
from models.data.splits import complete

BUILT_IN_TIME = datetime(2026, 1, 1, tzinfo=UTC)


class Datasets:
    """The datasets of one project."""

    def __init__(self, store: ArtifactStore, catalog: Catalog, project: str = "default") -> None:
        """Keep the store and the kinds that can be read."""
        self._store = store
        self._catalog = catalog
        self._project = project

    def add(
        self, name: str, kind: str, options: Mapping[str, JsonValue], files: Mapping[str, UploadedFile]
    ) -> DatasetRecord:
        """Read, split and store an upload; return its record.

        Raises:
            ValidationFailed: unknown kind, option or part, or a file that does not hold what it should.
            DatasetExists: the name is taken by other content; the same upload again is no error.
            StoreFull: no space; nothing is left behind under the name.
        """
        _Named.parse({"name": name})
        record, blob = self._read(name, kind, options, files, built_in=False)
        if name in builtin.NAMES:
            message = f"'{name}' is a built-in dataset; choose another name."
            raise DatasetExists(message)
        blob_path = _blob_path(record.digest)
        if not self._store.exists(blob_path):
            self._store.put(blob_path, blob)
        if not self._store.put_if_absent(self._path(name), record.model_dump_json().encode()):
            present = self.record(name)
            if (present.kind, present.digest) != (record.kind, record.digest):
                message = f"A dataset '{name}' with other content exists; choose another name or delete it first."
                raise DatasetExists(message)
            return present
        return record

    def names(self) -> list[str]:
        """Return the names of all datasets, built-in ones first; what a file manager left in the folder is none."""
        files = self._store.names(f"{self._project}/datasets")
        uploaded = (file.removesuffix(".json") for file in files if file.endswith(".json"))
        return [*builtin.NAMES, *filter(is_name, uploaded)]

    def record(self, name: str) -> DatasetRecord:
        """Return a dataset's record.

        Raises:
            DatasetNotFound: there is none of this name; suggests the nearest.
        """
        if name in builtin.NAMES:
            return self._built_in(name)[0]
        try:
            return DatasetRecord.model_validate_json(self._store.get(self._path(name)))
        except ObjectMissing:
            raise DatasetNotFound.named("dataset", name, self.names()) from None

    def content(self, record: DatasetRecord) -> Content:
        """Return a dataset's arrays and facts.

        Raises:
            DatasetNotFound: the record is there, but what it names is gone from the store.
        """
        try:
            blob = self._built_in(record.name)[1] if record.built_in else self._store.get(_blob_path(record.digest))
        except ObjectMissing:
            message = f"The content of dataset '{record.name}' is gone from the artifact store; upload it again."
            raise DatasetNotFound(message) from None
        return Content(_unpack(load(blob)), record.meta)

    def delete(self, name: str) -> None:
        """Remove a dataset's record; its content stays until nothing refers to it.

        Raises:
            DatasetNotFound: there is none of this name.
            DatasetExists: the dataset is built in.
        """
        if name in builtin.NAMES:
            message = f"'{name}' is a built-in dataset and cannot be deleted."
            raise DatasetExists(message)
        self.record(name)
        self._store.delete(self._path(name))

    def _built_in(self, name: str) -> tuple[DatasetRecord, bytes]:
        return self._read(name, builtin.KINDS[name], builtin.OPTIONS[name], builtin.upload(name), built_in=True)

    def _read(
        self,
        name: str,
        kind: str,
        options: Mapping[str, object],
        files: Mapping[str, UploadedFile],
        *,
        built_in: bool,
    ) -> tuple[DatasetRecord, bytes]:
        reader = self._catalog.kind(kind)
        parsed = reader.options.parse(dict(options), "/options")
        uploaded = reader.read(files, parsed)
        splits, rule = complete(uploaded.splits, parsed, reader.stratify)
        content = Content(splits, uploaded.meta)
        meta = {**content.meta, **reader.facts(content)}
        blob = save(_pack(splits))
        digest = hashlib.sha256(kind.encode() + b"\0" + orjson.dumps(meta, option=orjson.OPT_SORT_KEYS) + b"\0" + blob)
        record = DatasetRecord(
            name=name,
            kind=kind,
            options=parsed.model_dump(mode="json"),
            digest=f"sha256:{digest.hexdigest()}",
            payload_bytes=len(blob),
            counts=content.counts(),
            split_rule=rule,
            meta=meta,
            built_in=built_in,
            created=BUILT_IN_TIME if built_in else datetime.now(UTC),
        )
        return record, blob

    def _path(self, name: str) -> str:
        if not is_name(name):
            raise DatasetNotFound.named("dataset", name, self.names())
        return f"{self._project}/datasets/{name}.json"


class _Named(Options):
    name: Name


def _blob_path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}.safetensors"


def _pack(splits: Mapping[str, Split]) -> dict[str, Array]:
    packed: dict[str, Array] = {}
    for split, arrays in splits.items():
        for name, array in arrays.items():
            if array.dtype.kind == "T":
                encoded = [str(value).encode() for value in array]
                packed[f"{split}/{name}|bytes"] = np.frombuffer(b"".join(encoded), dtype=np.uint8)
                packed[f"{split}/{name}|ends"] = np.cumsum([len(item) for item in encoded], dtype=np.int64)
            else:
                packed[f"{split}/{name}"] = np.ascontiguousarray(array)
    return packed


def _unpack(packed: Mapping[str, Array]) -> dict[str, Split]:
    splits: dict[str, dict[str, Array]] = {}
    for key, array in packed.items():
        split, name = key.split("/", 1)
        if name.endswith("|ends"):
            continue
        arrays = splits.setdefault(split, {})
        if name.endswith("|bytes"):
            name = name.removesuffix("|bytes")
            arrays[name] = _strings(array, packed[f"{split}/{name}|ends"])
        else:
            arrays[name] = array
    return dict[str, Split](splits)


def _strings(data: Array, ends: Array) -> Array:
    blob = data.tobytes()
    starts = [0, *ends[:-1].tolist()]
    texts = [blob[start:end].decode() for start, end in zip(starts, ends.tolist(), strict=True)]
    return np.array(texts, dtype=np.dtypes.StringDType())
