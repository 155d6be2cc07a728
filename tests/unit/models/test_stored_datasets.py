"""Datasets in the store: what is deleted with them and when, whoever comes in between, and how little a look reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.artifacts import datasets as module
from models.artifacts.datasets import Datasets
from models.artifacts.store import ArtifactStore
from models.catalog import Catalog
from models.contract.errors import DatasetExists, DatasetNotFound, StoreFull
from models.data.kind import UploadedFile

CATALOG = Catalog()
Add = Callable[..., None]


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    """Return an empty store."""
    return ArtifactStore((tmp_path / "store").as_uri())


@pytest.fixture
def add(tmp_path: Path) -> Add:
    """Return a function that adds a small dataset; ``shade`` makes its content."""

    def run(datasets: Datasets, name: str, shade: int = 1) -> None:
        np.savez(tmp_path / "a.npz", images=np.full((10, 2, 2), shade, np.uint8), labels=np.arange(10) % 2)
        datasets.add(name, "images", {}, {"train": UploadedFile("a.npz", tmp_path / "a.npz")})

    return run


def _blobs(tmp_path: Path) -> int:
    return len([*tmp_path.glob("store/blobs/sha256/*.safetensors")])


def _signs(tmp_path: Path) -> int:
    return len([path for path in tmp_path.glob("store/blobs/sha256/*.leaving/*") if path.is_file()])


def test_content_goes_with_the_last_dataset_that_has_it(store: ArtifactStore, add: Add, tmp_path: Path) -> None:
    """Also when that is one of another project."""
    ours, theirs = Datasets(store, CATALOG), Datasets(store, CATALOG, "theirs")
    add(ours, "a")
    add(ours, "b")
    add(ours, "other", shade=2)
    add(theirs, "a")
    assert _blobs(tmp_path) == 2
    ours.delete("a")
    ours.delete("b")
    assert _blobs(tmp_path) == 2
    assert theirs.content(theirs.record("a")).counts()["train"] > 0
    theirs.delete("a")
    assert _blobs(tmp_path) == 1
    ours.delete("other")
    assert (_blobs(tmp_path), _signs(tmp_path)) == (0, 0)
    add(ours, "a")
    assert ours.content(ours.record("a")).counts()["train"] > 0


def test_content_that_found_no_name_is_not_left_behind(store: ArtifactStore, add: Add, tmp_path: Path) -> None:
    datasets = Datasets(store, CATALOG)
    add(datasets, "a")
    with pytest.raises(DatasetExists):
        add(datasets, "a", shade=2)
    assert _blobs(tmp_path) == 1


class _Interrupted(ArtifactStore):
    """A store in which something happens just before the first write or deletion of a kind."""

    def __init__(self, url: str, before: str, happens: Callable[[], None]) -> None:
        super().__init__(url)
        self._before = before
        self._happens: Callable[[], None] | None = happens

    def _pass(self, doing: str) -> None:
        if doing == self._before and self._happens is not None:
            happens, self._happens = self._happens, None
            happens()

    def put(self, path: str, data: bytes | Path) -> None:
        self._pass("sign" if ".leaving/" in path else "blob")
        super().put(path, data)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        self._pass("record")
        return super().put_if_absent(path, data)

    def delete(self, path: str) -> None:
        kinds = {"record": "/datasets/", "sign": ".leaving/"}
        self._pass("delete " + next((kind for kind, mark in kinds.items() if mark in path), "blob"))
        super().delete(path)

    def names(self, prefix: str) -> list[str]:
        self._pass("look for signs" if prefix.endswith(".leaving") else "look for records")
        return super().names(prefix)

    def exists(self, path: str) -> bool:
        self._pass("exists")
        return super().exists(path)


@pytest.mark.parametrize("before", ["exists", "record", "look for signs"])
def test_upload_during_which_the_same_content_is_deleted_keeps_it(
    store: ArtifactStore, add: Add, tmp_path: Path, before: str
) -> None:
    """Wherever in the upload the whole deletion falls."""
    plain = Datasets(store, CATALOG)
    add(plain, "old")
    interrupted = _Interrupted(store.url, before, lambda: plain.delete("old"))
    add(Datasets(interrupted, CATALOG), "new")
    assert _blobs(tmp_path) == 1
    assert plain.content(plain.record("new")).counts()["train"] > 0


@pytest.mark.parametrize("before", ["delete record", "sign", "look for records"])
def test_deletion_during_which_the_same_content_is_uploaded_keeps_it(
    store: ArtifactStore, add: Add, tmp_path: Path, before: str
) -> None:
    """As long as the deletion has not looked whether anybody has it."""
    plain = Datasets(store, CATALOG)
    add(plain, "old")
    Datasets(_Interrupted(store.url, before, lambda: add(plain, "new")), CATALOG).delete("old")
    assert _blobs(tmp_path) == 1
    assert plain.content(plain.record("new")).counts()["train"] > 0


def test_upload_after_a_deletion_has_looked_waits_for_it(
    store: ArtifactStore, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It found nobody and is about to delete: the upload sees its sign, waits, and brings the content again."""
    plain = Datasets(store, CATALOG)
    add(plain, "old")
    waited: list[float] = []

    def finish_the_deletion(seconds: float) -> None:
        waited.append(seconds)
        store.delete(blob)
        store.delete(sign)

    blob = f"blobs/{plain.record('old').digest.replace(':', '/')}.safetensors"
    sign = blob.replace(".safetensors", ".leaving/abc")
    store.put(sign, b"")
    monkeypatch.setattr(module.time, "sleep", finish_the_deletion)
    add(plain, "new")
    assert len(waited) == 1
    assert plain.content(plain.record("new")).counts()["train"] > 0


def test_sign_of_a_deletion_that_died_does_not_hold_uploads_up(
    store: ArtifactStore, add: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Datasets(store, CATALOG)
    add(plain, "old")
    stem = f"blobs/{plain.record('old').digest.replace(':', '/')}"
    store.put(f"{stem}.leaving/abc", b"")
    monkeypatch.setattr(module, "LEAVING_SECONDS", -1.0)
    add(plain, "new")
    assert _signs(tmp_path) == 0


def test_store_that_is_full_for_the_record_keeps_no_content(
    store: ArtifactStore, add: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: str, _data: bytes) -> bool:
        raise StoreFull("No space left.")

    monkeypatch.setattr(store, "put_if_absent", full)
    with pytest.raises(StoreFull):
        add(Datasets(store, CATALOG), "a")
    assert (_blobs(tmp_path), _signs(tmp_path)) == (0, 0)


def test_look_into_a_dataset_reads_its_first_examples_only(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = Datasets(store, CATALOG)
    images = np.random.default_rng(0).integers(0, 256, (500, 32, 32), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(500) % 2)
    record = datasets.add("a", "images", {}, {"train": UploadedFile("a.npz", tmp_path / "a.npz")})
    whole = datasets.content(record)
    read: list[int] = []
    get_range = store.get_range

    def counted(path: str, start: int, stop: int) -> bytes:
        read.append(stop - start)
        return get_range(path, start, stop)

    monkeypatch.setattr(store, "get_range", counted)
    monkeypatch.delattr(ArtifactStore, "get")
    head = datasets.head(record, "test", 3)
    assert head.splits["test"]["images"].tolist() == whole.splits["test"]["images"][:3].tolist()
    assert head.splits["test"]["labels"].tolist() == whole.splits["test"]["labels"][:3].tolist()
    assert sum(read) < 5_000


def test_built_in_dataset_is_read_once_and_looked_into(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = Datasets(store, CATALOG)
    record = datasets.record("digits")
    monkeypatch.setattr(module, "read", lambda *_: pytest.fail("read again"))
    assert datasets.record("digits") is record
    assert len(datasets.head(record, "train", 4).splits["train"]["images"]) == 4


def test_look_into_content_that_is_gone_is_said(store: ArtifactStore, add: Add, tmp_path: Path) -> None:
    datasets = Datasets(store, CATALOG)
    add(datasets, "a")
    for blob in tmp_path.glob("store/blobs/sha256/*.safetensors"):
        blob.unlink()
    with pytest.raises(DatasetNotFound, match="upload it again"):
        datasets.head(datasets.record("a"), "train", 1)
