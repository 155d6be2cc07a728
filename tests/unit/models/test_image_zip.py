"""Zips of ``label/picture.png``: what they become by names and options, and that anything at all has an answer."""

from __future__ import annotations

import io
import unicodedata
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from models.contract.errors import InvalidDataset, LecternError, ValidationFailed
from models.data import kind
from models.data.images import npz, zip_archive
from models.data.kinds.images import KIND
from unit.models.zips import Reader, picture, plain, raw_png, two_classes, zipped


def test_folders_are_labels_and_pictures_come_by_path(read: Reader) -> None:
    content = read([("dogs/2.png", plain(7)), ("cats/1.png", plain(1)), ("dogs/10.PNG", plain(9))])
    train = content.splits["train"]
    assert content.meta["classes"] == ["cats", "dogs"]
    assert train["labels"].tolist() == [0, 1, 1]
    assert train["images"][:, 0, 0].tolist() == [1, 9, 7]
    assert (train["images"].dtype, train["images"].shape) == (np.uint8, (3, 2, 3))
    assert content.meta["value_range"] == [0, 255]


def test_validation_and_test_are_read_like_train(read: Reader) -> None:
    content = read(two_classes(), validation=two_classes(2), test=two_classes(1))
    assert content.counts() == {"train": 6, "validation": 4, "test": 2}


def test_numbers_as_labels_come_in_their_order(read: Reader) -> None:
    content = read([(f"{label}/a.png", plain(1)) for label in ("10", "9", "007", "-1", "x")])
    assert content.meta["classes"] == ["-1", "9", "10", "007", "x"]


def test_one_folder_around_all_labels_is_unwrapped(read: Reader) -> None:
    wrapped = [(f"my pictures/{name}", data) for name, data in two_classes()]
    assert read([("my pictures/", b""), *wrapped]).meta["classes"] == ["cats", "dogs"]
    assert read([(f"./{name}", data) for name, data in two_classes()]).meta["classes"] == ["cats", "dogs"]
    windows = [(name.replace("/", "\\"), data) for name, data in two_classes()]
    assert read(windows).meta["classes"] == ["cats", "dogs"]


def test_what_systems_add_is_left_out_and_counted(read: Reader) -> None:
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


def test_train_decides_between_grey_and_colour(read: Reader) -> None:
    colour = picture(np.dstack([np.full((2, 3), 200), np.zeros((2, 3)), np.zeros((2, 3))]))
    mixed = [*two_classes(), ("cats/red.png", colour)]
    assert read(mixed).splits["train"]["images"].shape == (7, 2, 3, 3)
    assert read(mixed).meta["channels"] == 3
    assert read(mixed, {"mode": "grey"}).splits["train"]["images"].shape == (7, 2, 3)
    assert read(two_classes(), {"mode": "rgb"}).splits["train"]["images"].shape == (6, 2, 3, 3)
    grey = read(two_classes(), test=mixed)
    assert grey.splits["test"]["images"].shape == (7, 2, 3)


def test_grey_palette_counts_as_grey(read: Reader) -> None:
    image = Image.new("P", (3, 2), 1)
    image.putpalette([0, 0, 0, 90, 90, 90])
    content = read([*two_classes(), ("cats/p.png", picture(image))])
    assert content.splits["train"]["images"].shape == (7, 2, 3)
    assert content.splits["train"]["images"][3].tolist() == [[90] * 3] * 2


def test_other_sizes_are_stretched_to_the_most_common(read: Reader) -> None:
    content = read([*two_classes(), ("cats/large.png", plain(77, 40, 20))])
    assert content.splits["train"]["images"].shape == (7, 2, 3)
    assert (content.splits["train"]["images"][3] == 77).all()
    assert content.meta["resize"] == "stretch"
    assert any("1 of 7" in str(rule) for rule in content.meta["rules"])  # type: ignore[union-attr]


def test_of_sizes_equally_common_the_smallest_is_taken(read: Reader) -> None:
    content = read([("a/1.png", plain(1, 9, 9)), ("b/1.png", plain(1, 4, 3)), ("b/2.png", plain(1, 3, 4))])
    assert (content.meta["height"], content.meta["width"]) == (3, 4)


@pytest.mark.parametrize(
    ("resize", "top_row"),
    [("stretch", [100, 100, 100, 100]), ("pad", [0, 100, 100, 0]), ("crop", [100, 100, 100, 100])],
)
def test_resize_is_as_the_option_says(read: Reader, resize: str, top_row: list[int]) -> None:
    """A column of 2 × 4 in a square of 4: stretched, padded at its sides, or cropped at its ends."""
    options = {"size": [4, 4], "resize": resize, "background": "black"}
    content = read([("a/1.png", plain(100, 4, 2)), ("b/1.png", plain(1, 4, 4))], options)
    assert content.splits["train"]["images"][0, 0].tolist() == top_row


def test_refused_size_names_each_picture(read: Reader) -> None:
    told = read.refusal([*two_classes(), ("cats/large.png", plain(77, 40, 20))], options={"resize": "refuse"})
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
    assert zip_archive.LARGEST_PICTURE_BYTES <= npz.LARGEST_BYTES
