"""Datasets: uploaded, listed, looked into, deleted."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Annotated

import orjson
from anyio import to_thread
from fastapi import APIRouter, Query, status
from pydantic import Field, JsonValue
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response

from app.dependencies import After, DatasetName, Limit, Services, Serving, media_type, page_of
from app.forms import read_form
from app.problems import documented
from app.schemas import Page, Preview
from models.contract.config import Name, Options
from models.contract.datasets import DatasetRecord
from models.contract.errors import (
    DatasetExists,
    DatasetInUse,
    DatasetNotFound,
    InvalidDataset,
    MalformedBody,
    PayloadTooLarge,
    StoreFull,
    UnsupportedMedia,
    ValidationFailed,
)
from models.data.kind import UploadedFile

UPLOADS = frozenset({"/v1/datasets"})
"""Paths whose bodies may be as large as an upload."""

LARGEST_PREVIEW = 100
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["name", "kind", "train"],
                    "properties": {
                        "name": {"type": "string"},
                        "kind": {"type": "string"},
                        "options": {"type": "string", "description": "JSON object with options of the kind."},
                        "train": {"type": "string", "format": "binary"},
                    },
                    "additionalProperties": {
                        "type": "string",
                        "format": "binary",
                        "description": "Other parts, such as `validation`, `test`, `train_images`, `train_labels`.",
                    },
                }
            }
        },
    }
}

router = APIRouter(tags=["datasets"])


class _Fields(Options):
    name: Name
    kind: str
    options: dict[str, JsonValue] = Field(default_factory=dict)


@router.post(
    "/v1/datasets",
    summary="Upload a dataset",
    status_code=status.HTTP_201_CREATED,
    openapi_extra=UPLOAD,
    responses=documented(MalformedBody, UnsupportedMedia, PayloadTooLarge, DatasetExists, InvalidDataset),
)
async def upload(request: Request, response: Response, services: Serving) -> DatasetRecord:
    """Read the file parts as the kind says, split them, and return the summary."""
    given = media_type(request)
    if given != "multipart/form-data":
        raise UnsupportedMedia(f"A dataset is uploaded as multipart/form-data, not as '{given}'.")
    with _room_for_files():
        form = await read_form(request)
        try:
            record = await to_thread.run_sync(_add, services, _fields(form), _files(form))
        finally:
            await form.close()
    response.headers["Location"] = f"/v1/datasets/{record.name}"
    return record


@router.get("/v1/datasets", summary="List the datasets", responses=documented())
def datasets(services: Serving, limit: Limit = 100, after: After = None) -> Page[DatasetRecord]:
    """Return the datasets by name."""
    names, following = page_of(sorted(services.datasets.names()), limit, after)
    items: list[DatasetRecord] = []
    for name in names:
        with suppress(DatasetNotFound):  # deleted just now
            items.append(services.datasets.record(name))
    return Page(items=items, next=following)


@router.get("/v1/datasets/{name}", summary="Show a dataset", responses=documented(DatasetNotFound))
def dataset(services: Serving, name: DatasetName) -> DatasetRecord:
    """Return one dataset's summary."""
    return services.datasets.record(name)


@router.get("/v1/datasets/{name}/preview", summary="Look into a dataset", responses=documented(DatasetNotFound))
def preview(
    services: Serving,
    name: DatasetName,
    split: Annotated[str, Query(description="Which split to look into.")] = "train",
    count: Annotated[int, Query(ge=1, le=LARGEST_PREVIEW, description="How many examples.")] = 10,
) -> Preview:
    """Return the first examples of a split, in a form to look at."""
    record = services.datasets.record(name)
    if split not in record.counts:
        known = ", ".join(record.counts)
        raise ValidationFailed.at("/split", f"'{name}' has no split '{split}'; it has: {known}")
    content = services.datasets.content(record)
    items = services.catalog.kind(record.kind).preview(content, split, count)
    return Preview(dataset=name, split=split, items=items)


@router.delete(
    "/v1/datasets/{name}",
    summary="Delete a dataset",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=documented(DatasetNotFound, DatasetInUse, DatasetExists),
)
async def delete(services: Serving, name: DatasetName) -> None:
    """Delete a dataset that no unfinished job needs."""
    await to_thread.run_sync(services.datasets.record, name)
    needing = [job.id for job in await services.queue.active() if job.dataset == name]
    if needing:
        raise DatasetInUse(f"Job {needing[0]} still needs '{name}'; cancel it or wait until it has ended.")
    await to_thread.run_sync(services.datasets.delete, name)


def _fields(form: FormData) -> _Fields:
    found: dict[str, object] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            continue
        if name in found:
            raise ValidationFailed.at(f"/{name}", "comes more than once")
        found[name] = value
    options = found.get("options")
    if isinstance(options, str):
        try:
            found["options"] = orjson.loads(options)
        except orjson.JSONDecodeError as error:
            raise ValidationFailed.at("/options", f"is not JSON: {error}") from error
    return _Fields.parse(found)


def _files(form: FormData) -> dict[str, UploadFile]:
    found: dict[str, UploadFile] = {}
    for name, value in form.multi_items():
        if not isinstance(value, UploadFile):
            continue
        if name in found:
            raise ValidationFailed.at(f"/{name}", "comes more than once; send one file per part")
        if not value.size:
            raise InvalidDataset.at(f"/{name}", "is empty; was the right file sent?")
        found[name] = value
    return found


@contextmanager
def _room_for_files() -> Generator[None]:
    """Turn a full temporary folder into the error of a full store: the remedy is the same."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise StoreFull(f"No space left for the upload in {gettempdir()}; free some and try again.") from error


def _add(services: Services, fields: _Fields, files: Mapping[str, UploadFile]) -> DatasetRecord:
    with TemporaryDirectory(prefix="lectern-upload-") as folder:
        saved = {name: _save(file, Path(folder) / str(position)) for position, (name, file) in enumerate(files.items())}
        return services.datasets.add(fields.name, fields.kind, fields.options, saved)


def _save(file: UploadFile, path: Path) -> UploadedFile:
    with path.open("wb") as target:
        shutil.copyfileobj(file.file, target, 2**20)
    return UploadedFile(filename=file.filename or "", path=path)
