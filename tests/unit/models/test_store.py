"""Where a store lies, and what in its folders is a dataset."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.artifacts.datasets import Datasets
from models.artifacts.store import ArtifactStore
from models.catalog import Catalog
from models.contract.errors import DatasetNotFound, StoreUnavailable


@pytest.mark.parametrize("name", ["plain", "with space", "hash#1", "what?"])
@pytest.mark.parametrize("host", ["", "localhost"])
def test_a_file_url_means_the_folder_it_names(tmp_path: Path, name: str, host: str) -> None:
    folder = tmp_path / name
    ArtifactStore(f"file://{host}{folder}").put("object", b"bytes")
    assert (folder / "object").read_bytes() == b"bytes"
    assert ArtifactStore(folder.as_uri()).get("object") == b"bytes"


@pytest.mark.parametrize("url", ["file://", "file://store", "file://./store", "file:store"])
def test_a_file_url_that_is_not_absolute_is_refused(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreUnavailable, match=r"as in file:///home/me/store\. Check LECTERN_STORE_URL"):
        ArtifactStore(url)
    assert not list(tmp_path.iterdir())


def test_what_a_file_manager_leaves_in_the_store_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "default/datasets").mkdir(parents=True)
    for name in (".DS_Store", ".hidden.json", "notes.txt"):
        (tmp_path / "default/datasets" / name).write_bytes(b"left")
    assert Datasets(ArtifactStore(tmp_path.as_uri()), Catalog()).names() == ["digits", "ellipses", "sprites"]


def test_a_dataset_whose_content_is_gone_says_what_to_do(tmp_path: Path) -> None:
    datasets = Datasets(ArtifactStore(tmp_path.as_uri()), Catalog())
    record = datasets.record("digits").model_copy(update={"name": "mine", "built_in": False})
    with pytest.raises(DatasetNotFound, match=r"content of dataset 'mine' is gone .* upload it again"):
        datasets.content(record)
