"""Heat maps as SVG: a cell for each value, labels as text, whatever letters are in them."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.pictures.heat_map import HeatMap
from models.pictures.heat_map_svg import heat_maps_svg

SVG = "{http://www.w3.org/2000/svg}"


def _drawn(*maps: HeatMap) -> ET.Element:
    return ET.fromstring(heat_maps_svg(maps))  # noqa: S314 - our own answer


def test_every_value_is_a_cell_that_tells_it() -> None:
    """In rows and columns, darker the higher."""
    root = _drawn(HeatMap("map", np.array([[0.0, 1.0], [0.25, 0.75], [1.0, 0.0]]), ("a", "b", "c"), ("x", "y")))
    cells = {title.text: rect.get("fill") for rect in root.iter(f"{SVG}rect") for title in rect.iter(f"{SVG}title")}
    assert len(cells) == 6
    assert cells["a × y: 1.0000"] == cells["c × x: 1.0000"] == "#08306b"
    assert cells["a × x: 0.0000"] == "#f7fbff"
    texts = [item.text for item in root.iter(f"{SVG}text")]
    assert {"map", "a", "b", "c", "x", "y", "0", "1"} == set(texts)


@given(label=st.text(max_size=12))
def test_any_label_is_a_well_formed_document(label: str) -> None:
    """Marks of XML and characters that it cannot hold included."""
    item = HeatMap(f"<&{label}>", np.array([[0.5]]), (label,), (label,))
    root = _drawn(item, item)
    assert len([rect for rect in root.iter(f"{SVG}rect") if rect.find(f"{SVG}title") is not None]) == 2
    assert float(root.get("width") or 0) > 0
