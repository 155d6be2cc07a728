"""The explanations of ``classify`` as one labelled sheet: a row per input with its maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from models.classification.inputs import arrays_of
from models.contract.errors import ValidationFailed
from models.contract.task import Array, Prediction, ServedModel
from models.data.images.facts import ImageFacts
from models.pictures.colours import diverging, grey
from models.pictures.sheet import Panel, sheet, tiled


def draw(model: ServedModel, inputs: Sequence[object], predictions: Sequence[Prediction]) -> bytes:
    """Return a PNG: each input under its label, then occlusion, feature maps and kernels.

    Raises:
        ValidationFailed: the model does not take images.
    """
    arrays = arrays_of(model, inputs)
    if "images" not in arrays:
        raise ValidationFailed.at("/explain", "pictures are drawn for models of images; ask for application/json")
    facts = ImageFacts.of(model.meta)
    rows = [
        (f"{prediction['label']}  {cast('float', prediction['probability']):.3f}", _panels(facts, image, prediction))
        for image, prediction in zip(arrays["images"], predictions, strict=True)
    ]
    return sheet(rows)


def _panels(facts: ImageFacts, image: Array, prediction: Prediction) -> list[Panel]:
    explanation = cast("Mapping[str, Any]", prediction["explanation"])
    pixels = grey(image, *facts.value_range)
    panels = [
        Panel("input", pixels if pixels.ndim == 2 else pixels[..., 0] if pixels.shape[2] == 1 else pixels[..., :3])
    ]
    if "occlusion" in explanation:
        loss = explanation["occlusion"]
        panels.append(Panel(f"occlusion, {loss.min():+.2f} to {loss.max():+.2f}", diverging(loss)))
    for name, maps in explanation.get("feature_maps", {}).items():
        panels.append(Panel(f"{name}, {len(maps)} maps", tiled(grey(maps, float(maps.min()), float(maps.max())))))
    for name, kernels in explanation.get("kernels", {}).items():
        flat = diverging(kernels.reshape(-1, *kernels.shape[2:]))
        columns = kernels.shape[1] if kernels.shape[1] > 1 else None
        title = " × ".join(map(str, np.shape(kernels)))
        panels.append(Panel(f"{name} kernels, {title}", tiled(flat, columns)))
    return panels
