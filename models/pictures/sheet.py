"""Small pictures of any size, each under its title: a row per input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.contract.task import Array
from models.pictures.canvas import GREY, LINE, MARGIN, Canvas, enlarged, text_width

PANEL_PIXELS = 224
"""Panels are enlarged by whole factors to about this height; larger ones stay as they are."""

MOST_TILES = 256


@dataclass(frozen=True)
class Panel:
    """A picture, (height, width) or (height, width, 3) uint8, and what stands above it."""

    title: str
    pixels: Array


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
    drawn = [(heading, [(panel.title, _enlarged(panel.pixels)) for panel in panels]) for heading, panels in rows]

    def panel_width(title: str, pixels: Array) -> int:
        return max(pixels.shape[1], text_width(title))

    widths = [
        max([text_width(heading), sum(panel_width(*panel) + MARGIN for panel in panels)]) for heading, panels in drawn
    ]
    heights = [max((pixels.shape[0] for _, pixels in panels), default=0) + 2 * LINE + MARGIN for _, panels in drawn]
    canvas = Canvas(max(widths, default=1) + 2 * MARGIN, sum(heights) + MARGIN)
    top = MARGIN
    for (heading, panels), height in zip(drawn, heights, strict=True):
        canvas.write(MARGIN, top, heading)
        left = MARGIN
        for title, pixels in panels:
            canvas.write(left, top + LINE, title, GREY)
            canvas.lay(left, top + 2 * LINE, pixels)
            left += panel_width(title, pixels) + MARGIN
        top += height
    return canvas.png()


def _enlarged(pixels: Array) -> Array:
    return enlarged(pixels, max(1, PANEL_PIXELS // pixels.shape[0]))
