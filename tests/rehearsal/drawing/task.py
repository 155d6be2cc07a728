"""Drawing: images from noise. Verb ``draw``; one run of the part ``generator``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

import numpy as np
from pydantic import Field

from models.contract.config import Options
from models.contract.task import Call, Codec, Evaluation, Query, ServedModel, Split, Task, Verb

EVALUATION_DRAWS = 256


class DrawRequest(Options):
    """How many images to draw, and from which seed."""

    count: int = Field(ge=1, le=4096, description="Number of images.")
    seed: int = Field(default=0, ge=0, lt=2**63, description="Image k depends on the seed and k alone.")


class Drawn(Options):
    """One image."""

    image: tuple[tuple[float, ...], ...]


def draw(model: ServedModel, request: DrawRequest) -> Codec:
    """Yield one run of the generator; noise k is the Philox stream with key ``seed`` and counter (0, 0, 0, k)."""
    size = cast("int", model.signatures["generator"].inputs[0].shape[1])
    streams = (np.random.Philox(key=[request.seed, 0], counter=[0, 0, 0, k]) for k in range(request.count))
    noise = np.stack([np.random.Generator(stream).standard_normal(size, np.float32) for stream in streams])
    drawn = yield Call("generator", {"noise": noise})
    return [{"image": image.tolist()} for image in drawn["images"]]


class Drawing(Task):
    """Images like those of the training split."""

    name = "drawing"
    headline = "pixel_distance"
    lower_is_better = frozenset({"pixel_distance"})
    verbs: ClassVar[Mapping[str, Verb]] = {"draw": Verb(DrawRequest, Drawn, draw)}

    def evaluation(self, model: ServedModel, split: Split) -> Evaluation:
        """Return the mean distance of the mean drawn image from that of ``split``, as a share of the range."""
        predictions = yield Query("draw", DrawRequest(count=EVALUATION_DRAWS))
        low, high = cast("tuple[float, float]", model.meta["value_range"])
        drawn = np.mean([cast("list[list[float]]", item["image"]) for item in predictions], axis=0)
        return {"pixel_distance": float(np.abs(drawn - split["images"].mean(axis=0)).mean() / (high - low))}


TASK = Drawing()
