"""Pictures of one size in rows and columns, with a label before each row and above each column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.contract.task import Array
from models.pictures.canvas import GREY, LINE, MARGIN, Canvas, enlarged, text_width

TILE_PIXELS = 56
"""Tiles are enlarged by whole factors to at least this height."""

GAP = 2


@dataclass(frozen=True)
class Line:
    """One row: its label and its tiles (count, height, width[, 3]) uint8."""

    label: str
    tiles: Array


def grid(title: str, lines: Sequence[Line], columns: Sequence[str] = ()) -> bytes:
    """Return a PNG of all ``lines``, at least one, whose tiles are of one size; ``columns`` are their headings."""
    height, width = lines[0].tiles.shape[1:3]
    factor = -(-TILE_PIXELS // height)
    step, down = max(width * factor + GAP, *map(text_width, columns), 0), height * factor + GAP
    left = MARGIN + max(text_width(line.label) for line in lines)
    left += MARGIN if left > MARGIN else 0
    top = MARGIN + LINE + (LINE if columns else 0)
    most = max(len(line.tiles) for line in lines)
    right = max(left + most * step, MARGIN + text_width(title))
    canvas = Canvas(right + MARGIN, top + len(lines) * down + MARGIN)
    canvas.write(MARGIN, MARGIN - LINE // 4, title)
    for index, heading in enumerate(columns):
        middle = (width * factor - text_width(heading)) / 2
        canvas.write(left + index * step + max(0, middle), MARGIN + LINE, heading, GREY)
    for row, line in enumerate(lines):
        canvas.write(MARGIN, top + row * down + (down - LINE) / 2, line.label, GREY)
        for index, tile in enumerate(line.tiles):
            canvas.lay(left + index * step, top + row * down, enlarged(tile, factor))
    return canvas.png()
