"""The chart is well-formed, and puts values where its axes say."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from benchmarks.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axes, chart

AXES = Axes("A & B", "steps", "norm", 1e-4, 1e4)
SVG = "{http://www.w3.org/2000/svg}"


def test_lines_are_drawn_on_a_logarithmic_axis_and_cut_at_its_ends() -> None:
    root = ET.fromstring(chart(AXES, {"<one>": [1e4, 1.0, 1e-4, 1e-9, 0.0]}))  # noqa: S314 - our own text
    (line,) = root.iter(f"{SVG}polyline")
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert [x for x, _ in points] == pytest.approx([LEFT + (WIDTH - LEFT - RIGHT) * step / 4 for step in range(5)])
    middle = (TOP + HEIGHT - BOTTOM) / 2
    assert [y for _, y in points] == pytest.approx([TOP, middle, *[HEIGHT - BOTTOM] * 3])
    texts = {text.text for text in root.iter(f"{SVG}text")}
    assert {"A & B", "steps", "norm", "<one>", "1e0"} <= texts
