"""A line chart as SVG: what a table of results cannot show at a glance. Readable on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 400, 70, 220, 40, 45
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito (2008): told apart by those who see few colours."""

INK = "#777777"


@dataclass(frozen=True)
class Axes:
    """What the chart is called, and its axes; the vertical one is logarithmic."""

    title: str
    horizontal: str
    vertical: str
    smallest: float
    largest: float


def chart(axes: Axes, lines: Mapping[str, Sequence[float]]) -> str:
    """Return the SVG of ``lines`` over 0, 1, 2 …; values beyond the axes run along their edge."""
    steps = max(map(len, lines.values())) - 1
    low, high = math.log10(axes.smallest), math.log10(axes.largest)
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(step: float, value: float) -> tuple[float, float]:
        exponent = min(max(math.log10(max(value, 1e-300)), low), high)
        return LEFT + across * step / steps, TOP + down * (high - exponent) / (high - low)

    font = f'font-family="sans-serif" font-size="13" fill="{INK}"'
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {font}>',
        f"<title>{escape(axes.title)}</title>",
        _text(LEFT, TOP - 16, axes.title, size=15),
        _text(LEFT + across / 2, HEIGHT - 8, axes.horizontal, anchor="middle"),
        _text(8, TOP - 2, axes.vertical),
    ]
    for exponent in range(math.ceil(low), math.floor(high) + 1, max(1, round((high - low) / 6))):
        _, y = place(0, 10**exponent)
        drawn.append(f'<path d="M{LEFT} {y:.1f}h{across}" stroke="{INK}" stroke-opacity="0.25"/>')
        drawn.append(_text(LEFT - 8, y + 4, f"1e{exponent}", anchor="end"))
    marks = range(0, steps + 1, max(1, steps // 5))
    drawn += [_text(place(step, 1)[0], HEIGHT - BOTTOM + 18, str(step), anchor="middle") for step in marks]
    for number, (name, values) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join("{:.1f},{:.1f}".format(*place(step, value)) for step, value in enumerate(values))
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = TOP + 14 + 22 * number
        drawn.append(f'<path d="M{WIDTH - RIGHT + 12} {y - 4}h22" stroke="{colour}" stroke-width="3"/>')
        drawn.append(_text(WIDTH - RIGHT + 42, y, name))
    return "\n".join([*drawn, "</svg>", ""])


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 13) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
