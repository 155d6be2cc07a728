"""The dataset kind ``images``: what is read, what is refused and how it is said; splits and digests."""

from __future__ import annotations

import base64
import io
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.artifacts.datasets import Datasets
from models.artifacts.store import ArtifactStore
from models.catalog import Catalog
from models.contract.datasets import DatasetRecord
from models.contract.errors import DatasetExists, DatasetNotFound, InvalidDataset, ValidationFailed
from models.data.kind import Content, UploadedFile
from models.data.kinds.images import KIND

IMAGES = np.arange(10 * 3 * 2, dtype=np.uint8).reshape(10, 3, 2)
LABELS = np.array(["cat", "dog"] * 5)

Upload = Callable[..., dict[str, UploadedFile]]


@pytest.fixture
def upload(tmp_path: Path) -> Upload:
    """Return a function that writes npz parts and returns them as an upload."""

    def write(**parts: dict[str, Any]) -> dict[str, UploadedFile]:
        for name, arrays in parts.items():
            np.savez(tmp_path / f"{name}.npz", **arrays)
        return {name: UploadedFile(f"{name}.npz", tmp_path / f"{name}.npz") for name in parts}

    return write


def _read(files: dict[str, UploadedFile], **options: object) -> Content:
    return KIND.read(files, KIND.options.parse(options))


def test_labels_become_indices_of_sorted_class_names(upload: Upload) -> None:
    content = _read(upload(train={"images": IMAGES, "labels": LABELS}))
    assert content.meta["classes"] == ["cat", "dog"]
    assert content.splits["train"]["labels"].tolist() == [0, 1] * 5
    assert np.array_equal(content.splits["train"]["images"], IMAGES)
    assert (content.meta["height"], content.meta["width"], content.meta["channels"]) == (3, 2, None)


def test_number_labels_are_sorted_as_numbers(upload: Upload) -> None:
    content = _read(upload(train={"images": IMAGES, "labels": np.array([10, 9] * 5)}))
    assert content.meta["classes"] == ["9", "10"]


def test_byte_labels_are_text(upload: Upload) -> None:
    """Archives written by Python 2 or from C hold bytes; a class is not called b'cat'."""
    content = _read(upload(train={"images": IMAGES, "labels": LABELS.astype("S3")}))
    assert content.meta["classes"] == ["cat", "dog"]


@pytest.mark.parametrize("other", ["int64", "uint64", "int8"])
def test_splits_may_have_labels_of_different_types(upload: Upload, other: str) -> None:
    """uint64 beside int64 has no common whole-number type in numpy; the names are the same all the same."""
    train = {"images": IMAGES, "labels": np.array([1, 2] * 5, dtype=np.uint64)}
    test = {"images": IMAGES, "labels": np.array([2, 1] * 5, dtype=other)}
    content = _read(upload(train=train, test=test))
    assert content.meta["classes"] == ["1", "2"]
    assert content.splits["test"]["labels"].tolist() == [1, 0] * 5


@pytest.mark.parametrize(
    ("images", "wanted"),
    [
        (IMAGES, [0.0, 255.0]),
        (IMAGES / 255, [0.0, 1.0]),
        (IMAGES * 100.0 - 50, [-50.0, 5850.0]),
        (np.full((10, 3, 2), 7.0), [7.0, 8.0]),
    ],
)
def test_value_range_is_the_usual_one_or_that_of_the_data(
    upload: Upload, images: np.ndarray, wanted: list[float]
) -> None:
    assert _read(upload(train={"images": images, "labels": LABELS})).meta["value_range"] == wanted


def _with_nan(images: np.ndarray) -> np.ndarray:
    spoilt = images.astype(np.float32)
    spoilt[4, 1, 1] = np.nan
    return spoilt


@pytest.mark.parametrize(
    ("images", "labels", "reason"),
    [
        pytest.param(IMAGES, np.array(["cat"] * 10), "one class only", id="one class"),
        pytest.param(_with_nan(IMAGES), LABELS, "image 4 has pixels that are NaN", id="NaN"),
        pytest.param(np.full((10, 3, 2), 1e300), LABELS, "image 0 has pixels that are NaN or infinite", id="too large"),
        pytest.param(IMAGES, LABELS[:9], "one label per image", id="nine labels"),
        pytest.param(IMAGES.reshape(10, 6), LABELS, r"must be \(count, height, width\)", id="flat"),
        pytest.param(np.zeros((10, 3, 2, 5), np.uint8), LABELS, "channels", id="five channels"),
        pytest.param(np.zeros((2, 1, 5000), np.uint8), LABELS[:2], "5000", id="5000 wide"),
        pytest.param(np.zeros((2, 5000, 1), np.uint8), LABELS[:2], "5000", id="5000 high"),
        pytest.param(np.zeros((10, 0, 2), np.uint8), LABELS, "sides from 1", id="no height"),
        pytest.param(np.zeros((0, 3, 2), np.uint8), LABELS[:0], "no images", id="no images"),
        pytest.param(IMAGES.astype(str), LABELS, "must be numbers", id="text"),
        pytest.param(IMAGES, np.linspace(0, 1, 10), "whole numbers or strings", id="fractions as labels"),
    ],
)
def test_wrong_arrays_are_refused(upload: Upload, images: np.ndarray, labels: np.ndarray, reason: str) -> None:
    with pytest.raises(InvalidDataset, match=reason) as refused:
        _read(upload(train={"images": images, "labels": labels}))
    assert refused.value.errors[0].pointer == "/train"


def test_image_of_50000_by_50000_is_refused_by_its_header(tmp_path: Path) -> None:
    """Neither an npz nor an idx file has its 2.5 billion pixels read: they are not even there."""
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 50000, 50000), }\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    (tmp_path / "a.idx").write_bytes(b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (1, 50_000, 50_000)))
    idx = UploadedFile("a.idx", tmp_path / "a.idx")
    for parts in ({"train": UploadedFile("a.npz", tmp_path / "a.npz")}, {"train_images": idx, "train_labels": idx}):
        with pytest.raises(InvalidDataset, match="50000 × 50000 pixels; sides from 1 to 4096"):
            _read(parts)


def test_images_of_another_size_in_test_are_refused(upload: Upload) -> None:
    parts = upload(train={"images": IMAGES, "labels": LABELS}, test={"images": IMAGES[:, :2], "labels": LABELS})
    with pytest.raises(InvalidDataset, match="all must have one size") as refused:
        _read(parts)
    assert refused.value.errors[0].pointer == "/test"


def test_ragged_images_are_refused_as_pickles(upload: Upload) -> None:
    """Numpy can only save a ragged list as objects, which are never loaded."""
    ragged = np.empty(2, dtype=object)
    ragged[:] = [np.zeros((2, 2)), np.zeros((3, 3))]
    with pytest.raises(InvalidDataset, match="pickled objects"):
        _read(upload(train={"images": ragged, "labels": LABELS[:2]}))


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({}, "is missing"),
        ({"train": {"pixels": IMAGES}}, "it has: pixels"),
        ({"train": {"images": IMAGES}}, "needs the arrays"),
        ({"train": {"images": IMAGES, "targets": LABELS}}, r"\(or 'x_train' and 'y_train'\); it has: images, targets$"),
        ({"train": {f"a{i:02}": LABELS for i in range(22)}}, "it has: a00, .*, a19 and 2 more"),
        ({"extra": {"images": IMAGES, "labels": LABELS}}, "is not a part"),
        ({"test": {"images": IMAGES, "labels": LABELS}}, "is missing"),
    ],
)
def test_missing_or_unknown_parts_are_named(upload: Upload, parts: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidDataset, match=reason):
        _read(upload(**parts))


def test_test_split_that_comes_twice_is_refused(upload: Upload) -> None:
    keras = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS}
    assert set(_read(upload(train=keras)).splits) == {"train", "test"}
    with pytest.raises(InvalidDataset, match="comes twice"):
        _read(upload(train=keras, test={"images": IMAGES, "labels": LABELS}))


def test_pixels_outside_the_given_range_are_refused(upload: Upload) -> None:
    with pytest.raises(InvalidDataset, match="outside value_range"):
        _read(upload(train={"images": IMAGES, "labels": LABELS}), value_range=[0, 16])
    with pytest.raises(ValidationFailed, match="low < high"):
        _read({}, value_range=[16, 0])


def test_preview_shows_labels_and_pictures(upload: Upload) -> None:
    content = _read(upload(train={"images": IMAGES, "labels": LABELS}), value_range=[0, 59])
    stored = Content(content.splits, {**content.meta, **KIND.facts(content)})
    (item,) = KIND.preview(stored, "train", 1)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(str(item["image"])))))
    assert item["label"] == "cat"
    assert picture.tolist() == [[0, 4], [9, 13], [17, 22]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1), (1, 4, 1), (1, 1, 3), (1, 4, 3), (3, 2, 4)])
def test_preview_shows_pictures_of_any_shape_as_they_are(upload: Upload, shape: tuple[int, ...]) -> None:
    """Sides of one pixel stay sides."""
    images = np.arange(10 * math.prod(shape), dtype=np.uint8).reshape(10, *shape)
    content = _read(upload(train={"images": images, "labels": LABELS}))
    stored = Content(content.splits, {**content.meta, **KIND.facts(content)})
    encoded = KIND.preview(stored, "train", 1)[0]["image"]
    with Image.open(io.BytesIO(base64.b64decode(str(encoded)))) as picture:
        assert np.array_equal(np.asarray(picture).reshape(shape), images[0])
        assert (picture.height, picture.width) == shape[:2]


# --- splits and digests ----------------------------------------------------------------------------------------------


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    """Return an empty store's datasets."""
    return Datasets(ArtifactStore((tmp_path / "store").as_uri()), Catalog())


def _numbered(count: int, classes: int = 3) -> dict[str, Any]:
    """Return images whose pixels say which they are; class k has about half of what k − 1 has."""
    images = np.zeros((count, 1, 4), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.arange(count) // 256, np.arange(count) % 256
    weights = 0.5 ** np.arange(classes)
    labels = np.random.default_rng(1).choice(classes, count, p=weights / weights.sum())
    return {"images": images, "labels": labels}


def _numbers(content: Content, split: str) -> list[int]:
    pixels = content.splits[split]["images"].astype(int)
    return (pixels[:, 0, 0] * 256 + pixels[:, 0, 1]).tolist()


def test_splits_are_disjoint_and_complete(datasets: Datasets, upload: Upload) -> None:
    """Every example is in one split exactly, 20 % of all in test and 10 % of all in validation."""
    content = datasets.content(datasets.add("a", "images", {}, upload(train=_numbered(1000))))
    found = [_numbers(content, split) for split in ("train", "validation", "test")]
    assert sorted(number for split in found for number in split) == list(range(1000))
    assert [len(split) for split in found] == [700, 100, 200]


def test_splits_are_in_proportion_to_the_classes(datasets: Datasets, upload: Upload) -> None:
    content = datasets.content(datasets.add("a", "images", {}, upload(train=_numbered(1000))))
    shares = {name: np.bincount(split["labels"]) / len(split["labels"]) for name, split in content.splits.items()}
    np.testing.assert_allclose(shares["test"], shares["train"], atol=0.01)
    np.testing.assert_allclose(shares["validation"], shares["train"], atol=0.02)


def test_class_with_one_example_stays_in_train(datasets: Datasets, upload: Upload) -> None:
    arrays = _numbered(100, classes=2)
    arrays["labels"][17] = 9
    content = datasets.content(datasets.add("a", "images", {}, upload(train=arrays)))
    assert 17 in _numbers(content, "train")


def test_smallest_dataset_gets_no_empty_split(datasets: Datasets, upload: Upload) -> None:
    """Two examples of two classes leave nothing to set aside; a split without examples cannot be scored."""
    record = datasets.add("a", "images", {}, upload(train={"images": IMAGES[:2], "labels": LABELS[:2]}))
    assert record.counts == {"train": 2}
    alone = datasets.add("b", "images", {}, upload(train={"images": IMAGES, "labels": np.arange(10)}))
    assert alone.counts == {"train": 10}


def test_splits_that_come_with_the_upload_are_kept(datasets: Datasets, upload: Upload) -> None:
    parts = upload(train=_numbered(100), test=_numbered(30), validation=_numbered(20))
    record = datasets.add("a", "images", {}, parts)
    assert record.counts == {"train": 100, "test": 30, "validation": 20}
    assert record.split_rule == "As uploaded."


def _record(datasets: Datasets, files: dict[str, UploadedFile], name: str = "a", **options: Any) -> DatasetRecord:
    return datasets.add(name, "images", options, files)


def test_equal_content_has_an_equal_digest(datasets: Datasets, upload: Upload) -> None:
    """Another name, another upload, another store: the digest names the content alone, splits included."""
    first = _record(datasets, upload(train=_numbered(100)))
    assert _record(datasets, upload(train=_numbered(100)), "b").digest == first.digest
    assert _record(datasets, upload(train=_numbered(100))) == first


def test_different_content_has_a_different_digest(datasets: Datasets, upload: Upload) -> None:
    """One pixel, one label, the range or the share set aside: each makes another dataset."""
    pixel, label = _numbered(100), _numbered(100)
    pixel["images"][5, 0, 3] = 1
    label["labels"][5] = (label["labels"][5] + 1) % 3
    digests = [
        _record(datasets, upload(train=_numbered(100)), "a").digest,
        _record(datasets, upload(train=pixel), "b").digest,
        _record(datasets, upload(train=label), "c").digest,
        _record(datasets, upload(train=_numbered(100)), "d", value_range=[0, 256]).digest,
        _record(datasets, upload(train=_numbered(100)), "e", test_fraction=0.3).digest,
    ]
    assert len(set(digests)) == len(digests)


def test_name_taken_by_other_content_is_refused(datasets: Datasets, upload: Upload) -> None:
    _record(datasets, upload(train=_numbered(100)))
    with pytest.raises(DatasetExists, match="other content"):
        _record(datasets, upload(train=_numbered(101)))
    with pytest.raises(DatasetExists, match="built-in"):
        _record(datasets, upload(train=_numbered(100)), "digits")


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a" * 65, "spaced name", "é"])
def test_names_that_are_no_names_are_refused(datasets: Datasets, upload: Upload, name: str) -> None:
    with pytest.raises(ValidationFailed, match="/name"):
        _record(datasets, upload(train=_numbered(100)), name)


def test_record_that_is_not_there_is_suggested(datasets: Datasets, upload: Upload) -> None:
    _record(datasets, upload(train=_numbered(100)), "flowers")
    with pytest.raises(DatasetNotFound, match="Did you mean 'flowers'"):
        datasets.record("flower")
    with pytest.raises(DatasetNotFound, match="Did you mean 'digits'"):
        datasets.record("digit")


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\n"])
def test_record_whose_name_is_no_name_is_not_there(datasets: Datasets, name: str) -> None:
    with pytest.raises(DatasetNotFound):
        datasets.record(name)


def test_deleted_dataset_is_gone_and_its_name_free(datasets: Datasets, upload: Upload) -> None:
    _record(datasets, upload(train=_numbered(100)))
    datasets.delete("a")
    assert datasets.names() == ["digits", "ellipses", "sprites"]
    assert _record(datasets, upload(train=_numbered(50))).counts["train"] == 35


def test_built_in_digits_are_what_they_say(datasets: Datasets) -> None:
    record = datasets.record("digits")
    assert sum(record.counts.values()) == 1797
    assert record.meta["classes"] == [str(digit) for digit in range(10)]
    assert record.meta["value_range"] == [0.0, 16.0]
    assert datasets.content(record).counts() == record.counts
