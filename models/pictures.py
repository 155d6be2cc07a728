"""Labelled sheets of small pictures as one PNG: images, heat maps and tiled maps, each under its title.

Called by tasks whose verbs answer with a picture; knows nothing of models. Pillow is imported when a sheet is drawn.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from models.contract.task import Array

MARGIN = 12
LINE = 18
FONT_PIXELS = 13
PANEL_PIXELS = 224
"""Panels are enlarged by whole factors to about this height; larger ones stay as they are."""

MOST_TILES = 256
DIVERGING = np.array([[33, 102, 172], [146, 197, 222], [247, 247, 247], [244, 165, 130], [178, 24, 43]], np.float64)
"""Blue, white, red: the colours of ColorBrewer's RdBu (C. Brewer, 2002) at equal steps."""


@dataclass(frozen=True)
class Panel:
    """A picture, (height, width) or (height, width, 3) uint8, and what stands above it."""

    title: str
    pixels: Array


def grey(values: Array, low: float, high: float) -> Array:
    """Return ``values`` of any shape as uint8, ``low`` black and ``high`` white."""
    span = high - low if high > low else 1.0
    return (np.clip((values.astype(np.float64) - low) / span, 0, 1) * 255).round().astype(np.uint8)


def diverging(values: Array) -> Array:
    """Return ``values`` (…) as colours (…, 3) uint8: blue below zero, white at it, red above."""
    largest = float(np.abs(values).max(initial=0.0)) or 1.0
    position = (values.astype(np.float64) / largest + 1) / 2 * (len(DIVERGING) - 1)
    channels = [np.interp(position, np.arange(len(DIVERGING)), DIVERGING[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def tiled(pictures: Array, columns: int | None = None) -> Array:
    """Return (count, height, width[, 3]) uint8 as one picture of tiles with a line of 1 pixel between them."""
    shown = pictures[:MOST_TILES]
    columns = columns or int(np.ceil(np.sqrt(len(shown))))
    rows = -(-len(shown) // columns)
    height, width = shown.shape[1:3]
    sheet = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, *shown.shape[3:]), 128, np.uint8)
    for index, picture in enumerate(shown):
        top, left = index // columns * (height + 1), index % columns * (width + 1)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def sheet(rows: Sequence[tuple[str, Sequence[Panel]]]) -> bytes:
    """Return a PNG with one row of panels under each heading."""
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - keeps the gateway's start fast

    font = ImageFont.load_default(FONT_PIXELS)
    drawn = [(heading, [(panel.title, _enlarged(panel.pixels)) for panel in panels]) for heading, panels in rows]

    def text_width(text: str) -> int:
        return int(font.getlength(text)) + 1

    def panel_width(title: str, pixels: Array) -> int:
        return max(pixels.shape[1], text_width(title))

    widths = [
        max([text_width(heading), sum(panel_width(*panel) + MARGIN for panel in panels)]) for heading, panels in drawn
    ]
    heights = [max((pixels.shape[0] for _, pixels in panels), default=0) + 2 * LINE + MARGIN for _, panels in drawn]
    canvas = Image.new("RGB", (max(widths, default=1) + 2 * MARGIN, sum(heights) + MARGIN), "white")
    draw = ImageDraw.Draw(canvas)
    top = MARGIN
    for (heading, panels), height in zip(drawn, heights, strict=True):
        draw.text((MARGIN, top), heading, "black", font=font)
        left = MARGIN
        for title, pixels in panels:
            draw.text((left, top + LINE), title, (90, 90, 90), font=font)
            canvas.paste(Image.fromarray(pixels), (left, top + 2 * LINE))
            left += panel_width(title, pixels) + MARGIN
        top += height
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG")
    return buffer.getvalue()


def _enlarged(pixels: Array) -> Array:
    factor = max(1, PANEL_PIXELS // pixels.shape[0])
    return cast("Any", pixels).repeat(factor, axis=0).repeat(factor, axis=1)
