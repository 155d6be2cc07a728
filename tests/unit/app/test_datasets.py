"""Datasets over HTTP: what is uploaded is read, or refused with the part's name; nothing is left behind."""

from __future__ import annotations

import errno
import gzip
import io
import struct
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from app.dependencies import Services

IMAGES = np.arange(40 * 4, dtype=np.uint8).reshape(40, 2, 2)
LABELS = np.arange(40) % 2


def _npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def _idx(array: np.ndarray, magic: int | None = None, count: int | None = None) -> bytes:
    header = [magic or 0x0800 + array.ndim, count or len(array), *array.shape[1:]]
    return struct.pack(f">{len(header)}I", *header) + array.astype(np.uint8).tobytes()


GOOD = {"train": _npz(images=IMAGES, labels=LABELS)}


async def _upload(
    client: httpx.AsyncClient, parts: dict[str, bytes], name: str = "dots", **fields: str
) -> httpx.Response:
    files = {part: (f"{part}.bin", data) for part, data in parts.items()}
    return await client.post("/v1/datasets", data={"name": name, "kind": "images", **fields}, files=files)


async def test_uploaded_dataset_is_summarised_listed_and_deleted(client: httpx.AsyncClient) -> None:
    """The way of a dataset."""
    answer = await _upload(client, GOOD, options='{"test_fraction": 0.5}')
    assert (answer.status_code, answer.headers["location"]) == (201, "/v1/datasets/dots"), answer.text
    summary = answer.json()
    assert sum(summary["counts"].values()) == 40
    assert summary["counts"]["test"] == 20
    assert summary["meta"]["classes"] == ["0", "1"]
    again = await _upload(client, GOOD, options='{"test_fraction": 0.5}')
    assert again.json() == summary
    assert (await client.get("/v1/datasets/dots")).json() == summary
    listed = (await client.get("/v1/datasets")).json()["items"]
    assert [item["name"] for item in listed] == ["digits", "dots", "ellipses", "sprites"]
    preview = (await client.get("/v1/datasets/dots/preview?split=test&count=3")).json()
    assert (preview["split"], len(preview["items"])) == ("test", 3)
    assert (await client.get("/v1/datasets/dots/preview?split=x")).json()["errors"][0]["pointer"] == "/split"
    assert (await client.delete("/v1/datasets/dots")).status_code == 204
    assert (await client.get("/v1/datasets/dots")).json()["code"] == "dataset_not_found"


async def test_gzipped_idx_pair_is_read(client: httpx.AsyncClient) -> None:
    """As the files come."""
    parts = {"train_images": gzip.compress(_idx(IMAGES)), "train_labels": gzip.compress(_idx(LABELS))}
    answer = await _upload(client, parts)
    assert answer.status_code == 201, answer.text


NAN = IMAGES.astype(np.float32)
NAN[3, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("parts", "pointer", "words"),
    [
        ({}, "/train", "is missing"),
        ({"train": b""}, "/train", "is empty"),
        ({"train": b"no archive"}, "/train", "npz"),
        ({"train": GOOD["train"][:-40]}, "/train", "npz"),
        ({"train": _npz(images=IMAGES, labels=np.array([None] * 40))}, "/train", "pickled"),
        ({"train": _npz(images=IMAGES, labels=LABELS * 0)}, "/train", "one class"),
        ({"train": _npz(images=NAN, labels=LABELS)}, "/train", "NaN"),
        ({"train": _npz(images=IMAGES, labels=LABELS[:30])}, "/train", "30"),
        ({"trian": GOOD["train"]}, "/trian", "is not a part"),
        ({"train_images": _idx(IMAGES)}, "/train_labels", "is missing"),
        (
            {"train_images": _idx(IMAGES, magic=0x0D03), "train_labels": _idx(LABELS)},
            "/train_images",
            "magic number",
        ),
        (
            {"train_images": _idx(IMAGES, count=41), "train_labels": _idx(LABELS)},
            "/train_images",
            "promises",
        ),
        (
            {"train_images": gzip.compress(_idx(IMAGES))[:-9], "train_labels": _idx(LABELS)},
            "/train_images",
            "gzip",
        ),
    ],
)
async def test_wrong_file_is_refused_by_part(
    client: httpx.AsyncClient, parts: dict[str, bytes], pointer: str, words: str
) -> None:
    """Each problem names the part it is in."""
    answer = await _upload(client, parts) if parts else await _multipart(client, {"name": "dots", "kind": "images"})
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert problem["errors"][0]["pointer"] == pointer
    assert words in problem["detail"]
    assert [item["name"] for item in (await client.get("/v1/datasets")).json()["items"]] == [
        "digits",
        "ellipses",
        "sprites",
    ]


async def _multipart(client: httpx.AsyncClient, fields: dict[str, str]) -> httpx.Response:
    parts = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    return await client.post("/v1/datasets", content=f"{parts}--x--\r\n".encode(), headers=headers)


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"name": "../up"}, "/name"),
        ({"name": ""}, "/name"),
        ({"kind": "imagery"}, "/kind"),
        ({"options": "{"}, "/options"),
        ({"options": '{"test_fraction": NaN}'}, "/options"),
        ({"options": "[]"}, "/options"),
        ({"options": '{"color": 1}'}, "/options/color"),
        ({"options": '{"test_fraction": 2}'}, "/options/test_fraction"),
        ({"flavour": "x"}, "/flavour"),
    ],
)
async def test_wrong_field_is_refused(client: httpx.AsyncClient, fields: dict[str, str], pointer: str) -> None:
    """Text fields are checked as JSON bodies are."""
    answer = await _upload(client, GOOD, **fields)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer), answer.text


@pytest.mark.parametrize(
    ("content", "media", "status"),
    [
        (b"{}", "application/json", 415),
        (b"x", "multipart/form-data", 400),
        (b"x", "multipart/form-data; boundary=x", 400),
        (
            b'--x\r\nContent-Disposition: form-data; name="train"; filename="a"\r\n\r\nab',
            "multipart/form-data; boundary=x",
            400,
        ),
        (b"--x--\r\n", "multipart/form-data; boundary=x", 422),
    ],
)
async def test_body_that_is_no_form_is_refused(
    client: httpx.AsyncClient, content: bytes, media: str, status: int
) -> None:
    """Also when it is cut short."""
    answer = await client.post("/v1/datasets", content=content, headers={"Content-Type": media})
    assert answer.status_code == status, answer.text


async def test_name_of_other_content_is_a_conflict(client: httpx.AsyncClient) -> None:
    """Datasets do not change under a job's feet; built-in ones not at all."""
    await _upload(client, GOOD)
    other = {"train": _npz(images=IMAGES[::-1].copy(), labels=LABELS)}
    assert (await _upload(client, other)).json()["code"] == "dataset_exists"
    assert (await _upload(client, GOOD, name="digits")).json()["code"] == "dataset_exists"
    assert (await client.delete("/v1/datasets/digits")).status_code == 409


async def test_dataset_of_an_unfinished_job_stays(client: httpx.AsyncClient) -> None:
    """Until the job has ended."""
    await _upload(client, GOOD)
    job = await client.post("/v1/jobs", json={"family": "mlp", "dataset": "dots", "model": "m"})
    assert job.status_code == 202, job.text
    assert (await client.delete("/v1/datasets/dots")).json()["code"] == "dataset_in_use"
    await client.post(f"/v1/jobs/{job.json()['id']}/cancel")
    assert (await client.delete("/v1/datasets/dots")).status_code == 204


@pytest.mark.parametrize("overrides", [{"upload_limit_bytes": 4096, "json_limit_bytes": 1024}])
async def test_upload_beyond_the_limit_is_refused_however_it_is_sent(client: httpx.AsyncClient) -> None:
    """By its announced length, and while it is read when none is announced."""
    parts = {"train": bytes(5000)}
    announced = await _upload(client, parts)
    assert (announced.status_code, announced.json()["code"]) == (413, "payload_too_large")

    async def chunks() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="train"; filename="a"\r\n\r\n'
        for _ in range(50):
            yield bytes(100)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    streamed = await client.post("/v1/datasets", content=chunks(), headers=headers)
    assert (streamed.status_code, streamed.json()["code"]) == (413, "payload_too_large")
    elsewhere = await client.post("/v1/jobs", content=chunks(), headers={"Content-Type": "application/json"})
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (413, "payload_too_large")
    assert (await client.post("/v2/models/m/infer", content=bytes(2000))).status_code == 413


async def test_nothing_stays_in_the_temporary_folder(
    client: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither after an upload nor after a refusal."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    large = {"train": _npz(images=np.zeros((3000, 32, 32), np.uint8), labels=np.arange(3000) % 2)}
    assert (await _upload(client, large)).status_code == 201
    assert (await _upload(client, {"train": large["train"][:-9]}, name="other")).status_code == 422
    assert list(folder.iterdir()) == []


async def test_full_temporary_folder_is_said(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not an error of the server, and gone once there is space."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("app.forms._Receiver.write", full)
    answer = await _upload(client, GOOD)
    assert (answer.status_code, answer.json()["code"]) == (503, "store_full")
    monkeypatch.undo()
    assert (await _upload(client, GOOD)).status_code == 201


@pytest.mark.parametrize(("charset", "value"), [("undefined", b"a"), ("idna", b"xn--a..b"), ("punycode", b"a-!")])
async def test_form_that_cannot_be_read_in_its_charset_is_refused(
    client: httpx.AsyncClient, charset: str, value: bytes
) -> None:
    """Python knows charsets that fail otherwise than the rest."""
    part = b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\n' + value + b"\r\n--x--\r\n"
    headers = {"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"}
    answer = await client.post("/v1/datasets", content=part, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_body")


async def test_dataset_deleted_while_they_are_listed_is_left_out(
    client: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was there a moment ago is no reason to refuse the rest."""
    monkeypatch.setattr(services.datasets, "names", lambda: ["digits", "gone"])
    answer = await client.get("/v1/datasets")
    assert [item["name"] for item in answer.json()["items"]] == ["digits"]
