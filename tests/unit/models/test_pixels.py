"""The rule by which a picture becomes pixels: each of its clauses, and that datasets and requests share it."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.contract.errors import ValidationFailed
from models.data.images import pixels
from models.data.images.facts import ImageFacts
from models.data.images.pixels import BadPicture, Decoder, Wanted, look, pixels_of
from models.data.kinds.images import KIND
from unit.models.zips import picture, raw_png, zipped

GREY = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
RED = np.dstack([np.full((2, 3), 255), np.zeros((2, 3)), np.zeros((2, 3))]).astype(np.uint8)
WORDS = (0, 255, 256, 511, 40_000, 65_535)


def _oriented(orientation: int, form: str = "PNG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return picture(GREY, form, exif=exif)


def _words(colour: int, channels: int, *chunks: tuple[bytes, bytes]) -> bytes:
    rows = b"".join(
        b"\0" + b"".join(struct.pack(">H", WORDS[row * 3 + column]) * channels for column in range(3))
        for row in range(2)
    )
    return raw_png(3, 2, 16, colour, rows, *chunks)


def _palette(*, transparent: bool) -> bytes:
    image = Image.fromarray(np.array([[0, 1, 0], [1, 0, 1]], np.uint8), "P")
    image.putpalette([10, 20, 30, 200, 100, 0])
    return picture(image, transparency=0) if transparent else picture(image)


def _translucent() -> bytes:
    return picture(Image.fromarray(np.dstack([RED, np.full((2, 3), 128, np.uint8)]), "RGBA"))


def _animated() -> bytes:
    second = Image.fromarray(255 - GREY)
    return picture(GREY, save_all=True, append_images=[second])


def _late_orientation() -> bytes:
    """A PNG that tells its orientation behind its pixels, as the format allows."""
    whole = _oriented(6)
    begin = whole.index(b"eXIf") - 4
    length = struct.unpack(">I", whole[begin : begin + 4])[0] + 12
    chunk, rest = whole[begin : begin + length], whole[:begin] + whole[begin + length :]
    return rest[:-12] + chunk + rest[-12:]


UPPER = np.array([word >> 8 for word in WORDS], np.uint8).reshape(2, 3)
RULE = [
    pytest.param(picture(GREY), (2, 3), GREY, id="grey"),
    pytest.param(picture(RED), (2, 3), np.full((2, 3), 76), id="red to grey by its luma"),
    pytest.param(picture(GREY), (2, 3, 3), np.dstack([GREY] * 3), id="grey to colour"),
    pytest.param(picture(GREY), (2, 3, 1), GREY[..., None], id="grey with its channel"),
    pytest.param(_words(0, 1), (2, 3), UPPER, id="16-bit grey"),
    pytest.param(_words(2, 3), (2, 3, 3), np.dstack([UPPER] * 3), id="16-bit colour"),
    pytest.param(
        _words(0, 1, (b"tRNS", struct.pack(">H", 511))),
        (2, 3),
        np.where(UPPER == 1, [[0, 1, 1], [255, 0, 0]], UPPER),
        id="16-bit grey with a transparent value",
    ),
    pytest.param(picture(Image.fromarray(GREY > 90)), (2, 3), (GREY > 90) * 255, id="bilevel"),
    pytest.param(
        _palette(transparent=False),
        (2, 3, 3),
        np.array([[10, 20, 30], [200, 100, 0]])[[[0, 1, 0], [1, 0, 1]]],
        id="palette",
    ),
    pytest.param(
        _palette(transparent=True),
        (2, 3, 3),
        np.array([[255, 255, 255], [200, 100, 0]])[[[0, 1, 0], [1, 0, 1]]],
        id="palette with transparency",
    ),
    pytest.param(_translucent(), (2, 3, 3), np.broadcast_to([255, 127, 127], (2, 3, 3)), id="half transparent"),
    pytest.param(_animated(), (2, 3), GREY, id="first frame"),
    pytest.param(_late_orientation(), (3, 2), np.rot90(GREY, -1), id="orientation behind the pixels"),
    *(
        pytest.param(_oriented(orientation), turned.shape, turned, id=f"EXIF orientation {orientation}")
        for orientation, turned in {
            1: GREY,
            2: GREY[:, ::-1],
            3: np.rot90(GREY, 2),
            4: GREY[::-1],
            5: GREY.T,
            6: np.rot90(GREY, -1),
            7: np.rot90(GREY, 2).T,
            8: np.rot90(GREY),
        }.items()
    ),
]


@pytest.mark.parametrize(("data", "shape", "wanted"), RULE)
def test_picture_becomes_pixels_by_the_rule(data: bytes, shape: tuple[int, ...], wanted: np.ndarray) -> None:
    found = pixels_of(data, Wanted(shape, "stretch" if shape[:2] == (3, 2) else "refuse"))
    assert found.dtype == np.uint8
    assert found.tolist() == np.asarray(wanted).tolist()


@pytest.mark.parametrize(("data", "shape", "wanted"), RULE)
def test_dataset_and_request_see_the_same_pixels(
    tmp_path: Path, data: bytes, shape: tuple[int, ...], wanted: np.ndarray
) -> None:
    """The very bytes that a dataset was made of, asked about: what the model saw is what it gets."""
    other = picture(np.zeros(shape[:2], np.uint8))
    file = zipped(tmp_path / "train.zip", [("a/1.png", data), ("b/1.png", other)])
    mode = "rgb" if len(shape) == 3 and shape[2] == 3 else "grey"
    content = KIND.read({"train": file}, KIND.options.parse({"mode": mode, "size": shape[:2]}))
    stored = content.splits["train"]["images"][0]
    served = Decoder(Wanted(stored.shape, "stretch"), (0, 255)).decode(data, "/")
    assert served.dtype == np.float32
    assert served.tolist() == stored.tolist()
    assert stored.ravel().tolist() == np.asarray(wanted).ravel().tolist()


@pytest.mark.parametrize("resize", ["stretch", "pad", "crop"])
def test_request_is_resized_as_its_dataset_was(tmp_path: Path, resize: str) -> None:
    generator = np.random.default_rng(0)
    odd = picture(generator.integers(0, 256, (11, 7, 3)), "JPEG")
    members = [("a/1.jpg", odd), *((f"b/{n}.png", picture(np.zeros((8, 8, 3)))) for n in range(2))]
    file = zipped(tmp_path / "train.zip", members)
    content = KIND.read({"train": file}, KIND.options.parse({"resize": resize, "background": "black"}))
    stored = {**content.meta, **KIND.facts(content)}
    served = Decoder(_wanted(stored), (0, 255)).decode(odd, "/")
    assert served.tolist() == content.splits["train"]["images"][0].tolist()


def _wanted(meta: Mapping[str, object]) -> Wanted:
    """Return what a codec takes from the record."""
    return ImageFacts.of(meta).wanted


def test_jpeg_in_cmyk_is_resolved() -> None:
    data = picture(Image.new("CMYK", (3, 2), (0, 255, 255, 0)), "JPEG", quality=100)
    red = pixels_of(data, Wanted((2, 3, 3))).reshape(-1, 3).astype(int)
    assert (abs(red - [255, 0, 0]) < 8).all()
    assert not look(data).grey


def test_model_of_another_range_keeps_sixteen_bits() -> None:
    served = Decoder(Wanted((2, 3)), (0, 65_535)).decode(_words(0, 1), "/")
    assert served.ravel().tolist() == [*map(float, WORDS)]


def test_transparency_stays_where_the_model_takes_it() -> None:
    assert pixels_of(_translucent(), Wanted((2, 3, 4)))[0, 0].tolist() == [255, 0, 0, 128]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_picture_with_broken_exif_is_read() -> None:
    """Its pixels are sound; how it lies is not known."""
    file = io.BytesIO()
    Image.fromarray(GREY).save(file, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert pixels_of(file.getvalue(), Wanted((2, 3))).shape == (2, 3)


def test_pictures_of_a_request_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "LARGEST_REQUEST_PIXELS", 250)
    decoder = Decoder(Wanted((2, 3), "stretch"), (0, 255))
    large = picture(np.zeros((10, 10)))
    decoder.decode(large, "/inputs/0/image")
    decoder.decode(large, "/inputs/1/image")
    with pytest.raises(ValidationFailed, match="/inputs/2/image: brings the pictures of this request beyond 250"):
        decoder.decode(large, "/inputs/2/image")


def test_other_size_is_refused_unless_it_is_to_be_resized() -> None:
    with pytest.raises(BadPicture, match="is 3 × 2 pixels; it must be 2 × 3"):
        pixels_of(picture(GREY), Wanted((3, 2)))
    assert pixels_of(_oriented(6), Wanted((3, 2))).tolist() == np.rot90(GREY, -1).tolist()
    with pytest.raises(BadPicture, match="is 2 × 3 pixels; it must be 3 × 2"):
        pixels_of(_late_orientation(), Wanted((2, 3)))


@pytest.mark.parametrize(("data", "grey"), [(picture(GREY), True), (_words(0, 1), True), (picture(RED), False)])
def test_header_tells_grey_from_colour(data: bytes, grey: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert look(data).grey is grey
