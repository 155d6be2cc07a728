"""From the files of an upload to a dataset: read by its kind, split, packed into one file, described by a record.

Nothing is stored here: that is for ``models/artifacts/datasets.py``. ``reading_process`` calls it in a process with
limits; tests and the built-in datasets call it where they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import orjson
from pydantic import JsonValue

from models.catalog import Catalog
from models.contract.config import Name, Options
from models.contract.datasets import DatasetRecord
from models.data import packing
from models.data.kind import Content, DatasetKind, SplitOptions, UploadedFile
from models.data.splits import complete

CONTENT_NAME = "content.safetensors"
PIECE_BYTES = 2**20


class Order(Options):
    """What is to be read: the dataset's name and kind, the options of the kind, and the files by part."""

    name: Name
    kind: str
    options: dict[str, JsonValue]
    files: Mapping[str, UploadedFile]


def read(order: Order, catalog: Catalog, folder: Path) -> DatasetRecord:
    """Write the content to ``folder / CONTENT_NAME`` and return the record of it.

    Raises:
        ValidationFailed: unknown kind, option or part, or a file that does not hold what it should.
        PayloadTooLarge: a file unpacks to more than is read.
    """
    kind = catalog.kind(order.kind)
    options = kind.options.parse(order.options, "/options")
    path = folder / CONTENT_NAME
    meta, rule = _write(order.files, kind, options, path)
    content = Content(packing.mapped(path), meta)
    meta = {**meta, **kind.facts(content)}
    return DatasetRecord(
        name=order.name,
        kind=order.kind,
        options=options.model_dump(mode="json"),
        digest=_digest(order.kind, meta, path),
        payload_bytes=path.stat().st_size,
        counts=content.counts(),
        split_rule=rule,
        meta=meta,
        created=datetime.now(UTC),
    )


def _write(
    files: Mapping[str, UploadedFile], kind: DatasetKind, options: SplitOptions, path: Path
) -> tuple[dict[str, JsonValue], str]:
    """Write the content; return the kind's facts and how the splits came about. What was read goes with the return."""
    uploaded = kind.read(files, options)
    splits, rule = complete(uploaded.splits, options, kind.stratify, contiguous=kind.contiguous)
    packing.write(path, splits)
    return dict(uploaded.meta), rule


def _digest(kind: str, meta: Mapping[str, JsonValue], path: Path) -> str:
    """Return what names the content: equal kind, facts and arrays, equal digest."""
    digest = hashlib.sha256(kind.encode() + b"\0" + orjson.dumps(meta, option=orjson.OPT_SORT_KEYS) + b"\0")
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    return f"sha256:{digest.hexdigest()}"
