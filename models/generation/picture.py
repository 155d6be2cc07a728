"""The answers of generative models as one labelled grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np

from models.contract.task import Array, Prediction, ServedModel
from models.generation.images import images_of, input_pointers, unit
from models.generation.requests import InputsRequest, InterpolateRequest, SampleRequest, TraverseRequest
from models.pictures.colours import grey
from models.pictures.grid import Line, grid

MOST_COLUMNS = 16


def draw(model: ServedModel, request: object, predictions: Sequence[Prediction]) -> bytes:
    """Return a PNG: samples in rows, inputs above their reconstructions, a walk, or a row per dimension.

    Raises:
        ValidationFailed: it would have too many pixels; names what asks for so many images.
    """
    match request:
        case SampleRequest():
            title = f"{model.name}, seed {request.seed}" + "".join(
                f", {name} {_shown(value)}" for name, value in request.codes.items()
            )
            return _in_rows(title, [("", _tiles(predictions))], "/count")
        case InterpolateRequest():
            lines = [Line(request.method, _tiles(predictions))]
            return grid(model.name, lines, [f"{part:.2f}" for part in np.linspace(0, 1, request.steps)], asked="/steps")
        case TraverseRequest():
            return _traversal(model, predictions)
        case InputsRequest():
            given = _pixels(unit(model, images_of(model, request.inputs, input_pointers(len(predictions)))))
            return _in_rows(model.name, [("input", given), ("reconstruction", _tiles(predictions))], "/inputs")
        case _:
            raise AssertionError(request)


def _traversal(model: ServedModel, predictions: Sequence[Prediction]) -> bytes:
    lines: list[Line] = []
    ranges = {tuple(cast("list[float]", item["values"])) for item in predictions}
    for item in predictions:
        label = f"{item['dimension']}"
        if item.get("divergence") is not None:
            label += ", inert" if item["inert"] else f", {cast('float', item['divergence']):.2f} nats"
        if len(ranges) > 1:
            values = cast("list[float]", item["values"])
            label += f", {values[0]:g} to {values[-1]:g}"
        lines.append(Line(label, _pixels(cast("Array", item["images"]))))
    columns = [f"{value:.2f}" for value in ranges.pop()] if len(ranges) == 1 else []
    return grid(f"{model.name}, one dimension per row", lines, columns, asked="/steps")


def _in_rows(title: str, rows: Sequence[tuple[str, Array]], asked: str) -> bytes:
    """Return a grid in which rows that are too long are continued below, together."""
    count = len(rows[0][1])
    columns = min(count, MOST_COLUMNS) if len(rows) > 1 else min(MOST_COLUMNS, math.ceil(math.sqrt(count)))
    lines = [
        Line(f"{label} {begin}".strip(), tiles[begin : begin + columns])
        for begin in range(0, count, columns)
        for label, tiles in rows
    ]
    return grid(title, lines, asked=asked)


def _tiles(predictions: Sequence[Prediction]) -> Array:
    return _pixels(np.stack([cast("Array", item["image"]) for item in predictions]))


def _pixels(images: Array) -> Array:
    """Return (count, height, width[, channels]) in [0, 1] as uint8, grey or in colour without transparency."""
    pixels = grey(images, 0.0, 1.0)
    if pixels.ndim == 3:
        return pixels
    return pixels[..., 0] if pixels.shape[3] == 1 else pixels[..., :3]


def _shown(value: object) -> str:
    return f"of {len(cast('list[object]', value))} numbers" if isinstance(value, list) else str(value)
