"""From an encoded picture (PNG or JPEG) to pixels: one rule for the files of a dataset and for requests.

The rule: the first frame, turned as its EXIF orientation says; palettes, bilevel and CMYK resolved; of 16-bit
samples the upper 8 bits; what is transparent laid over a background; grey from colour by ITU-R 601. Colour
profiles and gamma are not applied. The size is read from the header, so a picture of 50,000 × 50,000 pixels
costs nothing.
"""

from __future__ import annotations

import base64
import binascii
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from models.contract.errors import ValidationFailed
from models.contract.task import Array

if TYPE_CHECKING:
    from PIL.Image import Image

Resize = Literal["stretch", "pad", "crop", "refuse"]
Background = Literal["white", "black"]

LARGEST_PIXELS = 2**25
"""Most pixels of one picture: 33 million, which a picture of 24 megapixels stays below."""

LARGEST_REQUEST_PIXELS = 2**26
"""Most pixels of all pictures of a request, before they are brought to the model's size."""

MODES = {None: "L", 1: "L", 3: "RGB", 4: "RGBA"}
GREY_MODES = frozenset({"1", "L", "LA", "I;16", "I;16B", "I"})
ORIENTATION_TAG = 0x0112
ORIENTATION_TOLD = frozenset({"exif", "xmp", "Raw profile type exif", "XML:com.adobe.xmp"})
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""By EXIF orientation, what shows the picture upright (Pillow's names); from 5 on, width and height change places."""

EIGHT_BITS = (0.0, 255.0)


class BadPicture(Exception):
    """A picture cannot be read, or is not to be; the text says why, to follow its name."""


@dataclass(frozen=True)
class Wanted:
    """What pictures become.

    Attributes:
        shape: (height, width) for grey, or (height, width, channels) with 1, 3 or 4 channels.
        resize: what happens to another size: its sides stretched, the picture fitted in and padded with the
            background, fitted over and cropped at the centre, or refused. Bilinear, with antialiasing.
        background: what transparent pixels are laid over.
    """

    shape: tuple[int, ...]
    resize: Resize = "refuse"
    background: Background = "white"

    @property
    def mode(self) -> str:
        """Pillow's name for the channels."""
        return MODES[self.shape[2] if len(self.shape) == 3 else None]


@dataclass(frozen=True)
class Look:
    """What the header of a picture tells: its size as shown, and whether it is grey."""

    height: int
    width: int
    grey: bool


def look(data: bytes) -> Look:
    """Return what the header tells; no pixel is decoded.

    Raises:
        BadPicture: not a PNG or JPEG, damaged, or of too many pixels.
    """
    with _Opened(data) as image:
        height, width = _size(image)
        return Look(height, width, _is_grey(image))


def pixels_of(data: bytes, wanted: Wanted) -> Array:
    """Return the picture as ``wanted.shape`` uint8.

    Raises:
        BadPicture: as ``look``, or cut off, or of another size where that is refused.
    """
    with _Opened(data) as image:
        return _drawn(image, wanted)


class Decoder:
    """Reads the pictures of one request for one model; counts their pixels."""

    def __init__(self, wanted: Wanted, value_range: tuple[float, float]) -> None:
        """Keep what the model takes, and the range to which samples are mapped."""
        self._wanted = wanted
        self._range = value_range
        self._left = LARGEST_REQUEST_PIXELS

    def decode(self, data: bytes, pointer: str) -> Array:
        """Return the picture as float32 in the model's shape and range.

        A model of 8-bit pixels (range 0 to 255) gets exactly what a dataset would hold; for any other range a
        16-bit grey picture keeps its 16 bits.

        Raises:
            ValidationFailed: not a PNG or JPEG, cut off, of another size where that is refused, or the pictures
                of the request are too large together.
        """
        try:
            with _Opened(data) as image:
                self._count(image)
                if self._range != EIGHT_BITS and image.mode.startswith("I") and self._wanted.mode == "L":
                    fractions = _sixteen_bits(image, self._wanted)
                else:
                    fractions = _drawn(image, self._wanted) / 255
        except BadPicture as error:
            raise ValidationFailed.at(pointer, str(error)) from error
        low, high = self._range
        return (low + (high - low) * fractions).astype(np.float32)

    def _count(self, image: Image) -> None:
        height, width = _size(image)
        _check_size((height, width), self._wanted)
        self._left -= height * width
        if self._left < 0:
            most = LARGEST_REQUEST_PIXELS
            raise BadPicture(f"brings the pictures of this request beyond {most} pixels; scale them down or send fewer")


def decode_base64(text: str, pointer: str) -> bytes:
    """Return the bytes of a base64 string, with or without a ``data:`` prefix.

    Raises:
        ValidationFailed: not base64.
    """
    try:
        return base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValidationFailed.at(pointer, f"is not valid base64 ({error})") from error


class _Opened:
    """An image of which the header was read and found bounded; whatever its decoder raises becomes ``BadPicture``."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __enter__(self) -> Image:
        from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - keeps the gateway's start fast

        try:
            self._image = Image.open(io.BytesIO(self._data), formats=("PNG", "JPEG"))
        except UnidentifiedImageError as error:
            raise BadPicture("is not a PNG or JPEG image") from error
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise BadPicture(f"has far more than the {LARGEST_PIXELS} pixels that are read; scale it down") from error
        except MemoryError:
            raise
        except Exception as error:  # a decoder of hostile bytes fails in every way there is
            raise _damaged(error) from error
        width, height = self._image.size
        if width * height > LARGEST_PIXELS:
            self._image.close()
            raise BadPicture(f"is {width} × {height} pixels; at most {LARGEST_PIXELS} are read, so scale it down")
        return self._image

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._image.close()
        if isinstance(error, Exception) and not isinstance(error, BadPicture | MemoryError):
            raise _damaged(error) from error


def _damaged(error: Exception) -> BadPicture:
    return BadPicture(f"is damaged or cut off ({str(error) or type(error).__name__})")


def _orientation(image: Image) -> int:
    """Return the EXIF orientation, 1 if there is none or it cannot be read: the pixels may be sound all the same."""
    from PIL.Image import Image as Plain  # noqa: PLC0415 - as above

    if image.info.keys().isdisjoint(ORIENTATION_TOLD):  # asked too early, Pillow would remember that there is none
        return 1
    try:
        return int(Plain.getexif(image).get(ORIENTATION_TAG, 1))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - as every decoder of hostile bytes
        return 1


def _size(image: Image) -> tuple[int, int]:
    """Return height and width as shown; an orientation that a PNG only tells behind its pixels is not known yet."""
    width, height = image.size
    return (width, height) if _orientation(image) in (5, 6, 7, 8) else (height, width)


def _upright(image: Image) -> Image:
    """Return the decoded picture as it is to be shown."""
    from PIL.Image import Transpose  # noqa: PLC0415 - as above

    image.load()
    turn = TURNS.get(_orientation(image))
    return image.transpose(Transpose[turn]) if turn else image


def _is_grey(image: Image) -> bool:
    if image.mode == "P" and image.palette is not None:
        colours = np.frombuffer(image.palette.tobytes(), np.uint8)
        channels = len(image.palette.mode)
        colours = colours[: len(colours) // channels * channels].reshape(-1, channels)[:, :3]
        return bool((colours == colours[:, :1]).all())
    return image.mode in GREY_MODES


def _check_size(size: tuple[int, int], wanted: Wanted) -> None:
    if wanted.resize == "refuse" and size != wanted.shape[:2]:
        takes = f"{wanted.shape[1]} × {wanted.shape[0]}"
        raise BadPicture(f"is {size[1]} × {size[0]} pixels; it must be {takes} (width × height)")


def _drawn(image: Image, wanted: Wanted) -> Array:
    """Return the pixels, ``wanted.shape`` uint8."""
    _check_size(_size(image), wanted)
    upright = _upright(image)
    _check_size((upright.height, upright.width), wanted)
    sized = _resized(_flat(upright, wanted), wanted)
    return cast("Array", np.asarray(sized, dtype=np.uint8)).reshape(wanted.shape)


def _sixteen_bits(image: Image, wanted: Wanted) -> Array:
    """Return the samples of a grey picture as fractions of the largest; resized ones keep 8 bits."""
    upright = _upright(image)
    if (upright.height, upright.width) != wanted.shape[:2]:
        return _drawn(image, wanted) / 255
    return (cast("Array", np.asarray(upright, dtype=np.float64)) / 65_535).reshape(wanted.shape)


def _flat(image: Image, wanted: Wanted) -> Image:
    """Return the picture in 8 bits and in the wanted mode, without transparency unless that is wanted."""
    from PIL import Image  # noqa: PLC0415 - as above

    if image.mode.startswith("I"):
        image = _upper_bits(image)
    if image.has_transparency_data and wanted.mode != "RGBA":
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, wanted.background), image)
    return image.convert(wanted.mode)


def _upper_bits(image: Image) -> Image:
    """Return a 16-bit grey picture in 8 bits; Pillow reduces 16-bit colour in the same way by itself."""
    from PIL import Image  # noqa: PLC0415 - as above

    samples = cast("Array", np.asarray(image))
    grey = Image.fromarray((samples >> 8).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(((samples != transparent) * 255).astype(np.uint8)))
    return grey


def _resized(image: Image, wanted: Wanted) -> Image:
    from PIL import ImageOps  # noqa: PLC0415 - as above
    from PIL.Image import Resampling  # noqa: PLC0415 - as above

    size = (wanted.shape[1], wanted.shape[0])
    if image.size == size:
        return image
    if wanted.resize == "pad":
        return ImageOps.pad(image, size, Resampling.BILINEAR, color=wanted.background)
    if wanted.resize == "crop":
        return ImageOps.fit(image, size, Resampling.BILINEAR)
    return image.resize(size, Resampling.BILINEAR)
