"""A white picture on which text and pixels are laid, and the PNG of it."""

from __future__ import annotations

import io
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

from models.contract.task import Array

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

MARGIN = 12
LINE = 18
FONT_PIXELS = 13
BLACK = (0, 0, 0)
GREY = (90, 90, 90)
UNSHOWN = "\N{REPLACEMENT CHARACTER}"
STAND_INS = {"\N{LOWER ONE EIGHTH BLOCK}": "\N{MIDDLE DOT}"}
"""Marks that the font lacks, and what is written for them: the space before a token of byte pairs."""

NO_LETTER = "\U0010ffff"
KNOWN_LETTERS = 4096


class Canvas:
    """A picture in the making; coordinates are pixels from the left and the top."""

    def __init__(self, width: int, height: int) -> None:
        """Begin with white."""
        from PIL import Image, ImageDraw  # noqa: PLC0415 - keeps the gateway's start fast

        self._image = Image.new("RGB", (width, height), "white")
        self._draw = ImageDraw.Draw(self._image)

    def write(self, left: float, top: float, text: str, colour: tuple[int, int, int] = BLACK) -> None:
        """Write one line of text."""
        self._draw.text((left, top), in_font(text), colour, font=_font())

    def write_upwards(self, left: int, bottom: int, text: str) -> None:
        """Write one line of text that is read from below, its first letter at ``bottom``."""
        from PIL import Image, ImageDraw  # noqa: PLC0415 - as above

        width = text_width(text)
        if width == 0:
            return
        line = Image.new("RGB", (width, LINE), "white")
        ImageDraw.Draw(line).text((0, 0), in_font(text), BLACK, font=_font())
        self._image.paste(line.transpose(Image.Transpose.ROTATE_90), (left, bottom - width))

    def lay(self, left: int, top: int, pixels: Array) -> None:
        """Lay (height, width) or (height, width, 3) uint8 down."""
        from PIL import Image  # noqa: PLC0415 - as above

        self._image.paste(Image.fromarray(pixels), (left, top))

    def png(self) -> bytes:
        """Return the picture."""
        buffer = io.BytesIO()
        self._image.save(buffer, "PNG")
        return buffer.getvalue()


def text_width(text: str) -> int:
    """Return how many pixels a line of text is wide."""
    return int(_font().getlength(in_font(text))) + 1 if text else 0


def one_line(text: str) -> str:
    """Return ``text`` with marks in place of line breaks and of whatever else no font can lay out."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else UNSHOWN for letter in text)


def in_font(text: str) -> str:
    """Return ``text`` in one line, with a mark in place of each letter that the font of pictures does not have."""
    line = one_line(text)
    return line if line.isascii() else "".join(map(_in_font, line))


def enlarged(pixels: Array, factor: int) -> Array:
    """Return each pixel of (height, width[, 3]) as a square of ``factor`` × ``factor``."""
    return cast("Any", pixels).repeat(factor, axis=0).repeat(factor, axis=1)


@lru_cache(KNOWN_LETTERS)
def _in_font(letter: str) -> str:
    letter = STAND_INS.get(letter, letter)
    return UNSHOWN if _drawn(letter) == _box() else letter


@lru_cache(1)
def _box() -> tuple[Any, bytes]:
    return _drawn(NO_LETTER)


def _drawn(letter: str) -> tuple[Any, bytes]:
    pixels = cast("Any", _font().getmask(letter))
    return pixels.size, bytes(pixels)


@lru_cache(1)
def _font() -> FreeTypeFont:
    """Return Noto Sans: words of people's own languages stand beside pictures, and Pillow's own font has ASCII."""
    from PIL import ImageFont  # noqa: PLC0415 - as above

    return ImageFont.truetype(str(files("fontpkg_noto_sans") / "files" / "NotoSans[wdth,wght].ttf"), FONT_PIXELS)
