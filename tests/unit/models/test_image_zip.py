"""Zips of ``label/picture.png``: what they become, and everything that is refused with its name and its remedy."""

from __future__ import annotations

import io
import stat
import struct
import tracemalloc
import unicodedata
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from models.contract.errors import InvalidDataset, LecternError, PayloadTooLarge, ValidationFailed
from models.data import image_folders, image_zip, kind, npz
from models.data.kinds.images import KIND
from unit.models.zips import Members, picture, plain, raw_png, two_classes, zipped

Read = Callable[..., kind.Content]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a function that zips members by part and reads them with options."""

    def run(train: Members, options: dict[str, object] | None = None, **others: Members) -> kind.Content:
        parts = {
            part: zipped(tmp_path / f"{part}.zip", members) for part, members in {"train": train, **others}.items()
        }
        return KIND.read(parts, KIND.options.parse(options or {}))

    return run


def _refusal(read: Read, train: Members, **rest: object) -> str:
    with pytest.raises(InvalidDataset) as refused:
        read(train, **rest)
    return "; ".join(f"{error.pointer}: {error.detail}" for error in refused.value.errors)


def test_folders_are_labels_and_pictures_come_by_path(read: Read) -> None:
    content = read([("dogs/2.png", plain(7)), ("cats/1.png", plain(1)), ("dogs/10.PNG", plain(9))])
    train = content.splits["train"]
    assert content.meta["classes"] == ["cats", "dogs"]
    assert train["labels"].tolist() == [0, 1, 1]
    assert train["images"][:, 0, 0].tolist() == [1, 9, 7]
    assert (train["images"].dtype, train["images"].shape) == (np.uint8, (3, 2, 3))
    assert content.meta["value_range"] == [0, 255]


def test_validation_and_test_are_read_like_train(read: Read) -> None:
    content = read(two_classes(), validation=two_classes(2), test=two_classes(1))
    assert content.counts() == {"train": 6, "validation": 4, "test": 2}


def test_numbers_as_labels_come_in_their_order(read: Read) -> None:
    content = read([(f"{label}/a.png", plain(1)) for label in ("10", "9", "007", "-1", "x")])
    assert content.meta["classes"] == ["-1", "9", "10", "007", "x"]


def test_one_folder_around_all_labels_is_unwrapped(read: Read) -> None:
    wrapped = [(f"my pictures/{name}", data) for name, data in two_classes()]
    assert read([("my pictures/", b""), *wrapped]).meta["classes"] == ["cats", "dogs"]
    assert read([(f"./{name}", data) for name, data in two_classes()]).meta["classes"] == ["cats", "dogs"]
    windows = [(name.replace("/", "\\"), data) for name, data in two_classes()]
    assert read(windows).meta["classes"] == ["cats", "dogs"]


def test_what_systems_add_is_left_out_and_counted(read: Read) -> None:
    litter = ["__MACOSX/cats/._1.png", ".DS_Store", "cats/.DS_Store", "cats/Thumbs.db", ".git/x/y", "cats/desktop.ini"]
    content = read([*((name, b"x") for name in litter), *two_classes()])
    assert content.meta["ignored_files"] == {"train": 6}
    assert content.counts() == {"train": 6}
    assert "ignored_files" not in read(two_classes()).meta


def test_labels_are_composed_however_the_zip_spells_them(tmp_path: Path) -> None:
    """Accents are taken apart by macOS, which also writes UTF-8 without saying so."""
    apart = unicodedata.normalize("NFD", "café")
    members = [(f"{apart}/1.png", plain(1)), ("cafXY/2.png", plain(1)), ("日本/1.png", plain(2))]
    file = zipped(tmp_path / "train.zip", members)
    file.path.write_bytes(file.path.read_bytes().replace(b"cafXY", "café".encode()))
    content = KIND.read({"train": file}, KIND.options.parse({}))
    assert content.meta["classes"] == ["café", "日本"]


# --- what pictures become --------------------------------------------------------------------------------------------


def test_train_decides_between_grey_and_colour(read: Read) -> None:
    colour = picture(np.dstack([np.full((2, 3), 200), np.zeros((2, 3)), np.zeros((2, 3))]))
    mixed = [*two_classes(), ("cats/red.png", colour)]
    assert read(mixed).splits["train"]["images"].shape == (7, 2, 3, 3)
    assert read(mixed).meta["channels"] == 3
    assert read(mixed, {"mode": "grey"}).splits["train"]["images"].shape == (7, 2, 3)
    assert read(two_classes(), {"mode": "rgb"}).splits["train"]["images"].shape == (6, 2, 3, 3)
    grey = read(two_classes(), test=mixed)
    assert grey.splits["test"]["images"].shape == (7, 2, 3)


def test_grey_palette_counts_as_grey(read: Read) -> None:
    image = Image.new("P", (3, 2), 1)
    image.putpalette([0, 0, 0, 90, 90, 90])
    content = read([*two_classes(), ("cats/p.png", picture(image))])
    assert content.splits["train"]["images"].shape == (7, 2, 3)
    assert content.splits["train"]["images"][3].tolist() == [[90] * 3] * 2


def test_other_sizes_are_stretched_to_the_most_common(read: Read) -> None:
    content = read([*two_classes(), ("cats/large.png", plain(77, 40, 20))])
    assert content.splits["train"]["images"].shape == (7, 2, 3)
    assert (content.splits["train"]["images"][3] == 77).all()
    assert content.meta["resize"] == "stretch"
    assert any("1 of 7" in str(rule) for rule in content.meta["rules"])  # type: ignore[union-attr]


def test_of_sizes_equally_common_the_smallest_is_taken(read: Read) -> None:
    content = read([("a/1.png", plain(1, 9, 9)), ("b/1.png", plain(1, 4, 3)), ("b/2.png", plain(1, 3, 4))])
    assert (content.meta["height"], content.meta["width"]) == (3, 4)


@pytest.mark.parametrize(
    ("resize", "top_row"),
    [("stretch", [100, 100, 100, 100]), ("pad", [0, 100, 100, 0]), ("crop", [100, 100, 100, 100])],
)
def test_resize_is_as_the_option_says(read: Read, resize: str, top_row: list[int]) -> None:
    """A column of 2 × 4 in a square of 4: stretched, padded at its sides, or cropped at its ends."""
    options = {"size": [4, 4], "resize": resize, "background": "black"}
    content = read([("a/1.png", plain(100, 4, 2)), ("b/1.png", plain(1, 4, 4))], options)
    assert content.splits["train"]["images"][0, 0].tolist() == top_row


def test_refused_size_names_each_picture(read: Read) -> None:
    told = _refusal(read, [*two_classes(), ("cats/large.png", plain(77, 40, 20))], options={"resize": "refuse"})
    assert told == "/train: train.zip: cats/large.png: is 20 × 40 pixels; it must be 3 × 2 (width × height)"


def test_options_of_zips_are_refused_elsewhere(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 2, 2), np.uint8), labels=np.arange(4) % 2)
    parts = {"train": kind.UploadedFile("a.npz", tmp_path / "a.npz")}
    with pytest.raises(ValidationFailed, match="/options/size"):
        KIND.read(parts, KIND.options.parse({"size": [2, 2]}))
    mixed = {**parts, "test": zipped(tmp_path / "t.zip", two_classes())}
    with pytest.raises(InvalidDataset, match="/train: comes in another form"):
        KIND.read(mixed, KIND.options.parse({}))
    with pytest.raises(InvalidDataset, match="/train: is missing"):
        KIND.read({"test": mixed["test"]}, KIND.options.parse({}))
    with pytest.raises(ValidationFailed, match="/options/value_range"):
        KIND.read({"train": mixed["test"]}, KIND.options.parse({"value_range": [0, 1]}))


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
def test_member_that_does_not_belong_is_named(read: Read, name: str | zipfile.ZipInfo, reason: str) -> None:
    told = _refusal(read, [*two_classes(), (name, plain(3))])
    assert told.startswith("/train: train.zip: ")
    assert reason in told


def test_nested_archive_under_the_name_of_a_picture_is_no_picture(read: Read, tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", two_classes()).path.read_bytes()
    assert "cats/x.png: is not a PNG or JPEG" in _refusal(read, [*two_classes(), ("cats/x.png", inner)])


def test_name_that_comes_twice_is_refused(read: Read) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns whoever writes one
        told = _refusal(read, [*two_classes(), ("cats/0.png", plain(3))])
    assert told == "/train: train.zip: cats/0.png: comes more than once"
    assert "more than once" in _refusal(read, [*two_classes(), ("./cats/0.png", plain(3))])


def test_folder_of_splits_says_how_to_send_them(read: Read) -> None:
    told = _refusal(read, [(f"{split}/{name}", data) for split in ("train", "test") for name, data in two_classes()])
    assert (
        told
        == "/train: train.zip: test, train: holds splits, not labels; send each as a part of its own (train=…, test=…)"
    )


def test_class_without_pictures_is_refused_in_train_alone(read: Read) -> None:
    bare = [*two_classes(), ("birds/", b"")]
    assert "birds/: holds no picture" in _refusal(read, bare)
    assert read(two_classes(), test=bare).counts()["test"] == 6


def test_class_only_in_test_is_named(read: Read) -> None:
    told = _refusal(read, two_classes(), test=[*two_classes(), ("birds/1.png", plain(1))])
    assert told == "/test: has classes of which 'train' holds no example: 'birds'; add some or leave them out"


def test_two_classes_with_one_example_each_are_read(read: Read) -> None:
    assert read(two_classes(1)).counts() == {"train": 2}


def test_one_class_is_refused(read: Read) -> None:
    assert "one class only (cats)" in _refusal(read, two_classes()[:3])


def test_more_labels_than_a_classifier_takes_are_refused(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    data = plain(1, 1, 1)
    assert len(read([(f"{n}/a.png", data) for n in range(3000)]).meta["classes"]) == 3000  # type: ignore[arg-type]
    monkeypatch.setattr("models.data.kinds.images.LARGEST_CLASS_COUNT", 2999)
    assert "has 3000 classes; at most 2999" in _refusal(read, [(f"{n}/a.png", data) for n in range(3000)])


def test_empty_zip_is_refused(read: Read) -> None:
    assert "holds no pictures" in _refusal(read, [])
    assert "holds no pictures" in _refusal(read, [(".DS_Store", b"x")])


# --- damaged pictures ------------------------------------------------------------------------------------------------


def test_damaged_pictures_are_listed_by_name(read: Read) -> None:
    whole = picture(np.arange(600).reshape(20, 30) % 251)
    jpeg = picture(np.zeros((20, 30)), "JPEG")
    spoilt = [
        ("cats/cut.png", whole[:-30]),
        ("cats/cut.jpg", jpeg[: len(jpeg) // 2]),
        ("cats/empty.png", b""),
        ("cats/text.png", b"not a picture"),
        ("cats/webp.png", picture(np.zeros((2, 3)), "WEBP")),
    ]
    told = _refusal(read, [*two_classes(), *spoilt[2:]])
    assert "cats/empty.png: is empty" in told
    told = _refusal(read, [*two_classes(), *spoilt[3:]])
    assert "train.zip: cats/text.png: is not a PNG or JPEG image" in told
    assert "cats/webp.png: is not a PNG or JPEG image" in told
    told = _refusal(read, [*two_classes(), *spoilt[:2]])
    assert "cats/cut.png: is damaged or cut off" in told
    assert "cats/cut.jpg: is damaged or cut off" in told


def test_first_twenty_problems_are_listed_and_the_rest_counted(read: Read) -> None:
    with pytest.raises(InvalidDataset) as refused:
        read([*two_classes(), *((f"cats/bad{n:02}.png", b"no") for n in range(50))])
    assert len(refused.value.errors) == 21
    assert "30 more" in refused.value.errors[-1].detail


# --- bombs and tricks ------------------------------------------------------------------------------------------------


def test_picture_bomb_is_refused_by_its_header(read: Read) -> None:
    """A picture of 50,000 × 50,000 pixels in a few bytes, and one just beyond the limit."""
    for side in (50_000, 6_000):
        bomb = raw_png(side, side, 8, 0, b"\0")
        tracemalloc.start()
        told = _refusal(read, [*two_classes(), ("cats/bomb.png", bomb)])
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
    monkeypatch.setattr(image_zip, "LARGEST_DIRECTORY_BYTES", 200)
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
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_folders, "LARGEST_BYTES", 20)
    with pytest.raises(PayloadTooLarge, match=r'6 pictures of 2 × 3 are 36 bytes; at most 20.*"size"'):
        read(two_classes())


def test_reading_writes_nothing(read: Read, tmp_path: Path) -> None:
    """No name of a member is ever a path on disk."""
    before = {*tmp_path.rglob("*")}
    read(two_classes())
    assert {*tmp_path.rglob("*")} - before == {tmp_path / "train.zip"}


# --- anything at all -------------------------------------------------------------------------------------------------

SEEDS = [
    [*two_classes(), ("cats/c.jpg", picture(np.zeros((4, 5, 3)), "JPEG"))],
    [("a/1.png", raw_png(1, 1, 16, 0, b"\0\1\2")), ("b/é.png", picture(Image.new("LA", (3, 2), (9, 9))))],
]


def _bytes(members: list[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


WHOLE = [_bytes(members) for members in SEEDS]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_archive_is_read_or_refused_and_nothing_else(data: st.DataObject, tmp_path: Path) -> None:
    """Bytes changed, cut out or put in anywhere: an answer or an error of ours, always."""
    mutated = bytearray(data.draw(st.sampled_from(WHOLE)))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(mutated)))
        mutated[start : start + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    path = tmp_path / "fuzz.zip"
    path.write_bytes(mutated)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about odd EXIF
        try:
            KIND.read({"train": kind.UploadedFile("fuzz.zip", path)}, KIND.options.parse({}))
        except LecternError as error:
            assert error.detail  # noqa: PT017 - whether there is an error depends on the bytes


def test_limits_agree_with_one_another() -> None:
    """A picture at the limit of pixels is below the limit of bytes of a file."""
    assert image_zip.LARGEST_PICTURE_BYTES <= npz.LARGEST_BYTES
