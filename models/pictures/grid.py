"""Pictures of one size in rows and columns, with a label before each row and above each column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.contract.errors import ValidationFailed
from models.contract.task import Array
from models.pictures.canvas import GREY, LINE, MARGIN, Canvas, enlarged, text_width

TILE_PIXELS = 56
"""Tiles are enlarged by whole factors until their longer side is at least this."""

MOST_PIXELS = 20_000_000
"""Of a picture. Tiles are enlarged less where it would have more; the largest image of a dataset fits."""

GAP = 2


@dataclass(frozen=True)
class Line:
    """One row: its label and its tiles (count, height, width[, 3]) uint8."""

    label: str
    tiles: Array


def grid(title: str, lines: Sequence[Line], columns: Sequence[str] = (), *, asked: str = "") -> bytes:
    """Return a PNG of all ``lines``, at least one, whose tiles are of one size.

    Args:
        title: stands above all.
        lines: the rows.
        columns: headings of the columns.
        asked: JSON pointer of what the request asks so many tiles with.

    Raises:
        ValidationFailed: it would have more than ``MOST_PIXELS``.
    """
    place = _Place.of(title, lines, columns)
    if place.pixels > MOST_PIXELS:
        detail = (
            f"makes a picture of {place.width:,} × {place.height:,} pixels; at most {MOST_PIXELS:,} in all are drawn, "
            "so ask for fewer images, or for application/json"
        )
        raise ValidationFailed.at(asked, detail)
    return _drawn(title, lines, columns, place)


@dataclass(frozen=True)
class _Place:
    """Pixels of the picture, of its margins before the first tile, and from one tile to the next."""

    factor: int
    left: int
    top: int
    step: int
    down: int
    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @classmethod
    def of(cls, title: str, lines: Sequence[Line], columns: Sequence[str]) -> _Place:
        height, width = lines[0].tiles.shape[1:3]
        label, heading = (max(map(text_width, texts), default=0) for texts in ([line.label for line in lines], columns))
        left = MARGIN + label + (MARGIN if label else 0)
        top = MARGIN + LINE + (LINE if columns else 0)
        most, least = max(len(line.tiles) for line in lines), MARGIN + text_width(title)

        def enlarged_by(factor: int) -> _Place:
            step, down = max(width * factor + GAP, heading), max(height * factor + GAP, LINE if label else 0)
            right, bottom = max(left + most * step, least), top + len(lines) * down
            return cls(factor, left, top, step, down, right + MARGIN, bottom + MARGIN)

        factors = range(max(1, -(-TILE_PIXELS // max(height, width))), 0, -1)
        places = map(enlarged_by, factors)
        return next((place for place in places if place.pixels <= MOST_PIXELS), enlarged_by(1))


def _drawn(title: str, lines: Sequence[Line], columns: Sequence[str], place: _Place) -> bytes:
    canvas = Canvas(place.width, place.height)
    canvas.write(MARGIN, MARGIN - LINE // 4, title)
    width = lines[0].tiles.shape[2] * place.factor
    for index, heading in enumerate(columns):
        middle = (width - text_width(heading)) / 2
        canvas.write(place.left + index * place.step + max(0, middle), MARGIN + LINE, heading, GREY)
    for row, line in enumerate(lines):
        upper = place.top + row * place.down
        canvas.write(MARGIN, upper + (place.down - LINE) / 2, line.label, GREY)
        for index, tile in enumerate(line.tiles):
            canvas.lay(place.left + index * place.step, upper, enlarged(tile, place.factor))
    return canvas.png()
