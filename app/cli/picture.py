"""A small grey image as text, for the terminal."""

from __future__ import annotations

import io
from collections.abc import Iterator

from PIL import Image

SHADES = " .:-=+*#%@"


def draw(encoded: bytes) -> Iterator[str]:
    """Yield one line per row of pixels of a PNG or JPEG image, two characters per pixel."""
    with Image.open(io.BytesIO(encoded)) as image:
        grey = image.convert("L")
    for y in range(grey.height):
        values = grey.crop((0, y, grey.width, y + 1)).tobytes()
        yield "".join(SHADES[value * len(SHADES) // 256] * 2 for value in values)
