"""Where the tokens of a translation looked, as a labelled heat map per sentence: PNG or SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from models.contract.errors import ValidationFailed
from models.contract.task import Picture, Prediction, ServedModel
from models.pictures.heat_map import HeatMap, heat_maps
from models.pictures.heat_map_svg import heat_maps_svg
from models.translation.requests import TranslateRequest

MOST_MAPS = 16
MOST_CELLS = 40_000
"""Of all maps together: as many as one of 200 by 200 tokens."""

LONGEST_TITLE = 120
LONGEST_LABEL = 40


def _complete(model: ServedModel, request: TranslateRequest) -> TranslateRequest:
    """Return the request with attention asked for.

    Raises:
        ValidationFailed: the model has none to draw, or there are too many sentences for one picture.
    """
    if model.config["attention"] == "none":
        raise ValidationFailed.at("/attention", "this model has no attention to draw; ask for application/json")
    if len(request.sentences) > MOST_MAPS:
        detail = f"has {len(request.sentences)} sentences; a picture has at most {MOST_MAPS} maps. Ask for fewer"
        raise ValidationFailed.at("/sentences", detail)
    return request.model_copy(update={"attention": True})


def _png(model: ServedModel, request: TranslateRequest, predictions: Sequence[Prediction]) -> bytes:
    del model
    return heat_maps(_maps(request, predictions))


def _svg(model: ServedModel, request: TranslateRequest, predictions: Sequence[Prediction]) -> bytes:
    del model
    return heat_maps_svg(_maps(request, predictions))


def _maps(request: TranslateRequest, predictions: Sequence[Prediction]) -> list[HeatMap]:
    """Return a map of each sentence that has a translation; a token of each side has a row or a column.

    Raises:
        ValidationFailed: no sentence has a translation with a token, or they have too many tokens for one picture.
    """
    found: list[HeatMap] = []
    for sentence, prediction in zip(request.sentences, predictions, strict=True):
        told = cast("dict[str, Any]", prediction)
        if told["attention"] is not None and len(told["attention"]):
            title = _short(f"{sentence} – {told['translation']}", LONGEST_TITLE)
            rows, columns = (
                [_short(token, LONGEST_LABEL) for token in told[side]] for side in ("target_tokens", "source_tokens")
            )
            found.append(HeatMap(title, np.array(told["attention"], np.float64), rows, columns))
    if not found:
        raise ValidationFailed.at("/sentences", "none has a translation to draw; ask for application/json to see why")
    cells = sum(item.values.size for item in found)
    if cells > MOST_CELLS:
        detail = f"make {cells} cells (source × target tokens); a picture has at most {MOST_CELLS}. Ask for fewer"
        raise ValidationFailed.at("/sentences", detail)
    return found


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


PICTURE = Picture(complete=_complete, draw=_png, further={"image/svg+xml": _svg})
