"""Zips of ``label/picture.png`` that are refused: bad names, damaged pictures, bombs and tricks, each with its name."""

from __future__ import annotations

import stat
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from models.contract.errors import InvalidDataset, LecternError, PayloadTooLarge
from models.data import kind
from models.data.images import folders, zip_archive
from models.data.kinds.images import KIND
from unit.models.zips import Reader, picture, plain, raw_png, two_classes, zipped

# --- bad names and members -------------------------------------------------------------------------------------------


def _link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("cats/link.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def _device() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("cats/device.png")
    info.external_attr = stat.S_IFCHR << 16
    return info


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../cats/1.png", "points outside"),
        ("cats/../../1.png", "points outside"),
        ("..\\cats\\1.png", "points outside"),
        ("/etc/cats/1.png", "absolute"),
        ("\\cats\\1.png", "absolute"),
        ("C:/cats/1.png", "absolute"),
        ("c:\\cats\\1.png", "absolute"),
        ("cats/a\x07b.png", "control characters"),
        ("ca\nts/1.png", "control characters"),
        ("ca\u202ets/1.png", "control characters"),
        ("top.png", "lies in no folder"),
        ("cats/deep/1.png", "lies too deep"),
        ("cats/notes.txt", "is no PNG or JPEG file by its name"),
        ("cats/more.zip", "archive within the archive"),
        ("cats/more.tar.gz", "archive within the archive"),
        ("l" * 201 + "/1.png", "longer than 200"),
        (_link(), "is a link"),
        (_device(), "no plain file"),
    ],
)
def test_member_that_does_not_belong_is_named(read: Reader, name: str | zipfile.ZipInfo, reason: str) -> None:
    told = read.refusal([*two_classes(), (name, plain(3))])
    assert told.startswith("/train: train.zip: ")
    assert reason in told


def test_nested_archive_under_the_name_of_a_picture_is_no_picture(read: Reader, tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", two_classes()).path.read_bytes()
    assert "cats/x.png: is not a PNG or JPEG" in read.refusal([*two_classes(), ("cats/x.png", inner)])


def test_name_that_comes_twice_is_refused(read: Reader) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns whoever writes one
        told = read.refusal([*two_classes(), ("cats/0.png", plain(3))])
    assert told == "/train: train.zip: cats/0.png: comes more than once"
    assert "more than once" in read.refusal([*two_classes(), ("./cats/0.png", plain(3))])


def test_folder_of_splits_says_how_to_send_them(read: Reader) -> None:
    told = read.refusal([(f"{split}/{name}", data) for split in ("train", "test") for name, data in two_classes()])
    assert (
        told
        == "/train: train.zip: test, train: holds splits, not labels; send each as a part of its own (train=…, test=…)"
    )


def test_class_without_pictures_is_refused_in_train_alone(read: Reader) -> None:
    bare = [*two_classes(), ("birds/", b"")]
    assert "birds/: holds no picture" in read.refusal(bare)
    assert read(two_classes(), test=bare).counts()["test"] == 6


def test_class_only_in_test_is_named(read: Reader) -> None:
    told = read.refusal(two_classes(), test=[*two_classes(), ("birds/1.png", plain(1))])
    assert told == "/test: has classes of which 'train' holds no example: 'birds'; add some or leave them out"


def test_two_classes_with_one_example_each_are_read(read: Reader) -> None:
    assert read(two_classes(1)).counts() == {"train": 2}


def test_one_class_is_refused(read: Reader) -> None:
    assert "one class only (cats)" in read.refusal(two_classes()[:3])


def test_more_labels_than_a_classifier_takes_are_refused(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    data = plain(1, 1, 1)
    assert len(read([(f"{n}/a.png", data) for n in range(3000)]).meta["classes"]) == 3000  # type: ignore[arg-type]
    monkeypatch.setattr("models.data.kinds.images.LARGEST_CLASS_COUNT", 2999)
    assert "has 3000 classes; at most 2999" in read.refusal([(f"{n}/a.png", data) for n in range(3000)])


def test_empty_zip_is_refused(read: Reader) -> None:
    assert "holds no pictures" in read.refusal([])
    assert "holds no pictures" in read.refusal([(".DS_Store", b"x")])


# --- damaged pictures ------------------------------------------------------------------------------------------------


def test_damaged_pictures_are_listed_by_name(read: Reader) -> None:
    whole = picture(np.arange(600).reshape(20, 30) % 251)
    jpeg = picture(np.zeros((20, 30)), "JPEG")
    spoilt = [
        ("cats/cut.png", whole[:-30]),
        ("cats/cut.jpg", jpeg[: len(jpeg) // 2]),
        ("cats/empty.png", b""),
        ("cats/text.png", b"not a picture"),
        ("cats/webp.png", picture(np.zeros((2, 3)), "WEBP")),
    ]
    told = read.refusal([*two_classes(), *spoilt[2:]])
    assert "cats/empty.png: is empty" in told
    told = read.refusal([*two_classes(), *spoilt[3:]])
    assert "train.zip: cats/text.png: is not a PNG or JPEG image" in told
    assert "cats/webp.png: is not a PNG or JPEG image" in told
    told = read.refusal([*two_classes(), *spoilt[:2]])
    assert "cats/cut.png: is damaged or cut off" in told
    assert "cats/cut.jpg: is damaged or cut off" in told


def test_first_twenty_problems_are_listed_and_the_rest_counted(read: Reader) -> None:
    with pytest.raises(InvalidDataset) as refused:
        read([*two_classes(), *((f"cats/bad{n:02}.png", b"no") for n in range(50))])
    assert len(refused.value.errors) == 21
    assert "30 more" in refused.value.errors[-1].detail


# --- bombs and tricks ------------------------------------------------------------------------------------------------


def test_picture_bomb_is_refused_by_its_header(read: Reader) -> None:
    """A picture of 50,000 × 50,000 pixels in a few bytes, and one just beyond the limit."""
    for side in (50_000, 6_000):
        bomb = raw_png(side, side, 8, 0, b"\0")
        tracemalloc.start()
        told = read.refusal([*two_classes(), ("cats/bomb.png", bomb)])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert "pixels that are read" in told or "pixels; at most 33554432 are read" in told
        assert peak < 2**24


def test_ten_gigabytes_in_ten_megabytes_are_refused_by_the_headers(tmp_path: Path) -> None:
    """Each member says truly what it unpacks to; together that is too much, and alone it is too large a picture."""
    path = tmp_path / "train.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cats/1.png", bytes(2**20))
    _patch_sizes(path, 10 * 2**30 // 4)
    parts = {"train": kind.UploadedFile("train.zip", path)}
    with pytest.raises(InvalidDataset, match="at most 67108864 are read of one picture"):
        KIND.read(parts, KIND.options.parse({}))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(5):
            archive.writestr(f"cats/{n}.png", bytes(100))
    _patch_sizes(path, 2**30)
    with pytest.raises(PayloadTooLarge, match="unpacks to 5368709120 bytes; at most 4294967296"):
        KIND.read(parts, KIND.options.parse({}))


@pytest.mark.parametrize("claimed", [0, 10, 2**20])
def test_header_that_lies_of_the_size_is_found_out_while_reading(tmp_path: Path, claimed: int) -> None:
    """A member of 50 MB that claims to be smaller gives no more than it claims, and is refused."""
    path = tmp_path / "train.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cats/bomb.png", bytes(50 * 2**20))
        archive.writestr("dogs/1.png", plain(1))
    _patch_sizes(path, claimed, first_only=True)
    tracemalloc.start()
    with pytest.raises(InvalidDataset, match=r"cats/bomb.png: (is empty|cannot be unpacked|unpacks to other)"):
        KIND.read({"train": kind.UploadedFile("train.zip", path)}, KIND.options.parse({}))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 2**20


def _patch_sizes(path: Path, size: int, *, first_only: bool = False) -> None:
    """Overwrite the unpacked sizes in the list of members."""
    data = bytearray(path.read_bytes())
    start = data.find(b"PK\x01\x02")
    while start >= 0:
        data[start + 24 : start + 28] = struct.pack("<I", size)
        start = -1 if first_only else data.find(b"PK\x01\x02", start + 4)
    path.write_bytes(data)


def test_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    """The whole of a quoted-overlap bomb is one member's bytes listed many times."""
    path = tmp_path / "train.zip"
    zipped(path, [("cats/1.png", plain(1)), ("dogs/1.png", plain(1))])
    data = bytearray(path.read_bytes())
    second = data.rfind(b"PK\x01\x02")
    data[second + 42 : second + 46] = struct.pack("<I", 0)
    path.write_bytes(data)
    with pytest.raises(InvalidDataset, match="shares its bytes with another file"):
        KIND.read({"train": kind.UploadedFile("train.zip", path)}, KIND.options.parse({}))


def test_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.zip"
    zipped(path, two_classes())
    data = bytearray(path.read_bytes())
    data[data.find(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(InvalidDataset, match="is encrypted; make the zip without a password"):
        KIND.read({"train": kind.UploadedFile("train.zip", path)}, KIND.options.parse({}))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_method_that_unpacks_without_bound_is_refused(tmp_path: Path, method: int) -> None:
    file = zipped(tmp_path / "train.zip", two_classes(), method)
    with pytest.raises(InvalidDataset, match="another method than deflate"):
        KIND.read({"train": file}, KIND.options.parse({}))


def test_zip_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    file = zipped(tmp_path / "train.zip", two_classes())
    whole = file.path.read_bytes()
    for cut in range(1, len(whole), 97):
        file.path.write_bytes(whole[:cut])
        with pytest.raises(InvalidDataset, match="not a readable"):
            KIND.read({"train": file}, KIND.options.parse({}))


def test_list_of_too_many_members_is_not_even_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_archive, "LARGEST_DIRECTORY_BYTES", 200)
    with pytest.raises(PayloadTooLarge, match="lists more files"):
        KIND.read({"train": zipped(tmp_path / "train.zip", two_classes())}, KIND.options.parse({}))


def test_zip64_archive_is_read_and_its_lies_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)  # makes zipfile write the large form
    file = zipped(tmp_path / "train.zip", two_classes())
    assert b"PK\x06\x06" in file.path.read_bytes()
    assert KIND.read({"train": file}, KIND.options.parse({})).counts() == {"train": 6}
    data = bytearray(file.path.read_bytes())
    record = data.find(b"PK\x06\x06")
    for lie in (2**63, 2**40, 1):
        data[record + 40 : record + 48] = struct.pack("<Q", lie)
        file.path.write_bytes(data)
        with pytest.raises(LecternError, match=r"not a readable|lists more files"):
            KIND.read({"train": file}, KIND.options.parse({}))


def test_pictures_that_do_not_fit_into_memory_say_which_option_helps(
    read: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "LARGEST_BYTES", 20)
    with pytest.raises(PayloadTooLarge, match=r'6 pictures of 2 × 3 are 36 bytes; at most 20.*"size"'):
        read(two_classes())


def test_reading_writes_nothing(read: Reader, tmp_path: Path) -> None:
    """No name of a member is ever a path on disk."""
    before = {*tmp_path.rglob("*")}
    read(two_classes())
    assert {*tmp_path.rglob("*")} - before == {tmp_path / "train.zip"}
