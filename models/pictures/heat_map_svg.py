"""Labelled heat maps as SVG: text stays text, each cell tells its value, and nothing is scaled away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast
from xml.sax.saxutils import escape

import numpy as np

from models.pictures.canvas import FONT_PIXELS, LINE, MARGIN, one_line, text_width
from models.pictures.colours import sequential
from models.pictures.heat_map import CELL_PIXELS, SCALE_WIDTH, HeatMap

TITLE_PIXELS = 2 * LINE
SCALE_STEPS = 24


def heat_maps_svg(maps: Sequence[HeatMap]) -> bytes:
    """Return an SVG document with the maps below one another, each with the scale of its colours."""
    body: list[str] = []
    top, width = MARGIN, 0
    for item in maps:
        before = max(map(text_width, item.rows), default=0) + MARGIN
        above = max(map(text_width, item.columns), default=0) + MARGIN
        rows, columns = item.values.shape
        body += _map(item, before, top + TITLE_PIXELS + above)
        body.append(_text(MARGIN, top + FONT_PIXELS, item.title))
        width = max(width, before + max(columns * CELL_PIXELS, 2 * SCALE_WIDTH), text_width(item.title) + MARGIN)
        top += TITLE_PIXELS + above + rows * CELL_PIXELS + 2 * LINE + MARGIN
    size = f'width="{width + MARGIN}" height="{top}" viewBox="0 0 {width + MARGIN} {top}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="Noto Sans, sans-serif" font-size="{FONT_PIXELS}">'
    )
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *body, "</svg>\n"]).encode()


def _map(item: HeatMap, left: int, top: int) -> Iterator[str]:
    """Yield cells, labels and scale; ``left`` and ``top`` are those of the first cell."""
    rows, columns = item.values.shape
    colours = sequential(item.values, item.low, item.high)
    half = CELL_PIXELS / 2
    for row in range(rows):
        for column in range(columns):
            told = f"{item.rows[row]} × {item.columns[column]}: {float(item.values[row, column]):.4f}"
            place = f'x="{left + column * CELL_PIXELS}" y="{top + row * CELL_PIXELS}"'
            fill = _colour(colours[row, column].tolist())
            size = f'width="{CELL_PIXELS}" height="{CELL_PIXELS}"'
            yield f'<rect {place} {size} fill="{fill}"><title>{_escaped(told)}</title></rect>'
    for row, label in enumerate(item.rows):
        yield _text(
            left - MARGIN / 2, top + row * CELL_PIXELS + half, label, 'text-anchor="end" dominant-baseline="central"'
        )
    for column, label in enumerate(item.columns):
        x, y = left + column * CELL_PIXELS + half, top - MARGIN / 2
        yield _text(x, y, label, f'dominant-baseline="central" transform="rotate(-90 {x} {y})"')
    yield from _scale(item, left, top + rows * CELL_PIXELS + MARGIN)


def _scale(item: HeatMap, left: int, top: int) -> Iterator[str]:
    low, high = f"{item.low:g}", f"{item.high:g}"
    yield _text(left, top + FONT_PIXELS, low)
    begin = left + text_width(low) + MARGIN / 2
    step = SCALE_WIDTH / SCALE_STEPS
    for index, colour in enumerate(sequential(np.linspace(item.low, item.high, SCALE_STEPS), item.low, item.high)):
        place = f'x="{begin + index * step}" y="{top + FONT_PIXELS / 2}" width="{step}" height="{LINE / 2}"'
        yield f'<rect {place} fill="{_colour(colour.tolist())}"/>'
    yield _text(begin + SCALE_WIDTH + MARGIN / 2, top + FONT_PIXELS, high)


def _text(left: float, top: float, text: str, attributes: str = "") -> str:
    return f'<text x="{left}" y="{top}" {attributes}>{_escaped(text)}</text>'


def _escaped(text: str) -> str:
    return escape(one_line(text))


def _colour(channels: object) -> str:
    return "#" + "".join(f"{channel:02x}" for channel in cast("list[int]", channels))
