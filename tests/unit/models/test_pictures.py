"""Labelled pictures: what is laid where, that labels fit, and that letters beyond ASCII are drawn."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from models.contract.errors import ValidationFailed
from models.contract.task import Array
from models.data.texts.segmentation import SPACE
from models.pictures.canvas import LINE, MARGIN, Canvas, text_width
from models.pictures.colours import SEQUENTIAL, diverging, grey, sequential
from models.pictures.grid import Line, grid
from models.pictures.heat_map import CELL_PIXELS, MOST_PIXELS, HeatMap, heat_maps

MOST_SIDE = MOST_PIXELS + 500


def _pixels(png: bytes) -> Array:
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture)


def _written(text: str) -> Array:
    canvas = Canvas(120, LINE)
    canvas.write(0, 0, text)
    return _pixels(canvas.png())


def test_colours_have_their_ends_where_the_values_have_them() -> None:
    values = np.array([0.0, 0.5, 1.0, 7.0])
    assert sequential(values, 0, 1)[[0, 2, 3]].tolist() == SEQUENTIAL[[0, -1, -1]].tolist()
    assert grey(values, 0, 1).tolist() == [0, 128, 255, 255]
    assert diverging(np.array([-2.0, 0.0, 2.0])).tolist() == [[33, 102, 172], [247, 247, 247], [178, 24, 43]]


@pytest.mark.parametrize("letter", ["ä", "ß", "é", "ñ", "ł", "ğ", "λ", "Я", "×"])
def test_letters_beyond_ascii_are_drawn(letter: str) -> None:
    """And not as the box that stands for what a font lacks."""
    assert (_written(letter) != 255).any()
    assert not np.array_equal(_written(letter), _written("\uffff"))


@pytest.mark.parametrize("letter", ["中", "א", "ع", "ア", "→", "\n", "\U0010ffff"])
def test_letters_that_the_font_lacks_are_one_mark_and_no_box(letter: str) -> None:
    """The mark is as wide as it is drawn, so that labels keep their places."""
    assert np.array_equal(_written(f"a{letter}"), _written("a\N{REPLACEMENT CHARACTER}"))
    assert text_width(letter) == text_width("\N{REPLACEMENT CHARACTER}")


def test_the_space_before_a_token_of_byte_pairs_is_a_dot() -> None:
    """The font has no block element, and every word of the default vocabulary begins with one."""
    assert np.array_equal(_written(f"{SPACE}man"), _written("·man"))
    assert not np.array_equal(_written("·man"), _written("\N{REPLACEMENT CHARACTER}man"))


def test_grid_has_every_tile_at_its_row_and_column() -> None:
    """Each tile is of one brightness of its own: all are found, in order, at equal steps."""
    shades = np.arange(20, 140, 20)
    tiles = np.zeros((6, 4, 5, 3), np.uint8)
    tiles[..., 0] = shades[:, None, None]
    lines = [Line("first", tiles[:3]), Line("second", tiles[3:])]
    pixels = _pixels(grid("a title", lines, ["-1", "0", "1"]))
    found = [np.argwhere((pixels == [shade, 0, 0]).all(axis=2)) for shade in shades]
    corners = np.array([places.min(axis=0) for places in found]).reshape(2, 3, 2)
    sizes = {tuple(places.max(axis=0) - places.min(axis=0) + 1) for places in found}
    assert sizes == {(48, 60)}
    assert (corners[1, :, 0] - corners[0, :, 0]).tolist() == [50, 50, 50]
    assert (corners[:, 1:, 1] - corners[:, :-1, 1]).tolist() == [[62, 62], [62, 62]]
    assert corners[0, 0, 1] > text_width("second")


def test_grid_takes_colours_and_no_labels() -> None:
    tiles = np.zeros((1, 60, 60, 3), np.uint8)
    tiles[..., 0] = 200
    pixels = _pixels(grid("", [Line("", tiles)]))
    assert (pixels == [200, 0, 0]).all(axis=2).sum() == 3600


@pytest.mark.parametrize("shape", [(1, 256), (256, 1)])
def test_flat_and_narrow_tiles_are_enlarged_by_their_longer_side(shape: tuple[int, int]) -> None:
    """And rows are as far apart as their labels are high."""
    tiles = np.zeros((3, *shape, 3), np.uint8)
    tiles[..., 0] = 200
    pixels = _pixels(grid("", [Line("one", tiles), Line("two", tiles)], asked="/count"))
    assert (pixels == [200, 0, 0]).all(axis=2).sum() == 6 * 256
    assert pixels.shape[0] == 2 * MARGIN + LINE + 2 * max(LINE, shape[0] + 2)


def test_tiles_are_enlarged_less_where_there_are_many() -> None:
    shapes = [_pixels(grid("", [Line("", np.zeros((100, 28, 28), np.uint8))] * rows)).shape for rows in (10, 70)]
    assert shapes[0][0] - 2 * MARGIN - LINE == 10 * 58
    assert shapes[1][0] - 2 * MARGIN - LINE == 70 * 30


def test_pictures_without_end_are_refused_before_they_are_laid_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.pictures.grid.Canvas", None)
    lines = [Line("", np.zeros((16, 16, 256), np.uint8))] * 400
    with pytest.raises(ValidationFailed, match=r"4,152 × 7,242 pixels; at most 20,000,000") as refused:
        grid("", lines, asked="/steps")
    assert refused.value.errors[0].pointer == "/steps"


def test_heat_map_has_every_cell_at_its_place() -> None:
    """Zeros are white, the one at (1, 2) is dark, and nothing else but the end of the scale is."""
    values = np.zeros((2, 4))
    values[1, 2] = 1.0
    one = HeatMap("attention", values, ["ein", "Mädchen"], ["a", "girl", "runs", "."])
    pixels = _pixels(heat_maps([one]))
    dark = np.argwhere((pixels == SEQUENTIAL[-1]).all(axis=2))
    cell = dark[dark[:, 0] < dark[:, 0].min() + CELL_PIXELS]
    assert len(cell) == CELL_PIXELS**2
    white = np.argwhere((pixels == SEQUENTIAL[0]).all(axis=2))
    assert (cell.min(axis=0) - white.min(axis=0)).tolist() == [CELL_PIXELS, 2 * CELL_PIXELS]


def test_heat_maps_stand_below_one_another() -> None:
    one = HeatMap("a title that is wider than its map", np.ones((1, 1)), ["x"], ["y"])
    single, double = (_pixels(heat_maps([one] * count)).shape for count in (1, 2))
    assert double[1] == single[1] > text_width(one.title)
    assert double[0] > 1.8 * single[0]


def test_large_heat_maps_shrink_and_leave_their_labels_out() -> None:
    labels = [f"word {index}" for index in range(600)]
    pixels = _pixels(heat_maps([HeatMap("long", np.eye(600), labels, labels)]))
    assert max(pixels.shape[:2]) < MOST_SIDE
