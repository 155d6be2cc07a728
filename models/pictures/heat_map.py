"""Values in rows and columns as colours, each row and each column with its label, such as attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.contract.task import Array
from models.pictures.canvas import GREY, LINE, MARGIN, Canvas, enlarged, text_width
from models.pictures.colours import sequential

CELL_PIXELS = 22
SMALLEST_CELL = 4
MOST_PIXELS = 4_000
"""Cells shrink below their usual size where a side would be longer; labels are left out when they no longer fit."""

SCALE_WIDTH = 120


@dataclass(frozen=True)
class HeatMap:
    """One map.

    Attributes:
        title: what stands above it.
        values: (rows, columns) float.
        rows: labels, as many as rows.
        columns: labels, as many as columns; they are read from below.
        low: the value that is white.
        high: the value that is dark blue.
    """

    title: str
    values: Array
    rows: Sequence[str]
    columns: Sequence[str]
    low: float = 0.0
    high: float = 1.0


def heat_maps(maps: Sequence[HeatMap]) -> bytes:
    """Return a PNG with the maps, at least one, below one another, each with the scale of its colours."""
    places = [_Place.of(item) for item in maps]
    canvas = Canvas(max(place.width for place in places) + 2 * MARGIN, sum(place.height for place in places) + MARGIN)
    top = MARGIN
    for item, place in zip(maps, places, strict=True):
        _draw(canvas, item, place, top)
        top += place.height
    return canvas.png()


@dataclass(frozen=True)
class _Place:
    """Pixels of a map: of a cell's side, of the labels before the rows and above the columns, and of all of it."""

    cell: int
    before: int
    above: int
    width: int
    height: int

    @classmethod
    def of(cls, item: HeatMap) -> _Place:
        rows, columns = item.values.shape
        cell = int(np.clip(MOST_PIXELS // max(rows, columns), SMALLEST_CELL, CELL_PIXELS))
        labelled = cell >= LINE
        before = max(map(text_width, item.rows), default=0) + MARGIN // 2 if labelled else 0
        above = max(map(text_width, item.columns), default=0) + MARGIN // 2 if labelled else 0
        scale = SCALE_WIDTH + text_width(f"{item.low:g}") + text_width(f"{item.high:g}") + MARGIN
        width = max(before + max(columns * cell, scale), text_width(item.title))
        return cls(cell, before, above, width, above + rows * cell + 2 * LINE + 2 * MARGIN)


def _draw(canvas: Canvas, item: HeatMap, place: _Place, top: int) -> None:
    canvas.write(MARGIN, top - LINE // 4, item.title)
    left, upper = MARGIN + place.before, top + LINE + place.above
    canvas.lay(left, upper, enlarged(sequential(item.values, item.low, item.high), place.cell))
    if place.above:
        for index, label in enumerate(item.columns):
            canvas.write_upwards(left + index * place.cell + (place.cell - LINE) // 2, upper - MARGIN // 4, label)
        for index, label in enumerate(item.rows):
            beside = left - text_width(label) - MARGIN // 4
            canvas.write(beside, upper + index * place.cell + (place.cell - LINE) // 2, label)
    _scale(canvas, item, left, upper + item.values.shape[0] * place.cell + MARGIN // 2)


def _scale(canvas: Canvas, item: HeatMap, left: int, top: int) -> None:
    """Draw the colours from low to high between the two values."""
    low, high = f"{item.low:g}", f"{item.high:g}"
    canvas.write(left, top, low, GREY)
    begin = left + text_width(low) + MARGIN // 2
    bar = np.tile(np.linspace(item.low, item.high, SCALE_WIDTH), (LINE // 2, 1))
    canvas.lay(begin, top + LINE // 4, sequential(bar, item.low, item.high))
    canvas.write(begin + SCALE_WIDTH + MARGIN // 2, top, high, GREY)
