"""What a classifier looked at: feature maps, kernels and occlusion, in answer to ``explain`` of ``classify``.

Feature maps and kernels come from the exported part ``insides``, whose outputs are one (batch, channels, height,
width) per layer, named by it, and its kernels (batch, out, in, height, width) as ``<layer>_kernels``. Occlusion needs
the classifier alone: a patch of the mean pixel is laid over the image place after place, and what the probability of
the answered label loses is the map (Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014,
§4.2). Departure: losses are averaged over the patches that cover a pixel, so that the map has the size of the image.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from models.contract.config import Options
from models.contract.errors import ValidationFailed
from models.contract.task import Array, Arrays, Call, ServedModel
from models.data.images.facts import ImageFacts

CLASSIFIER = "classifier"
INSIDES = "insides"
KERNELS = "_kernels"
PLACES_PER_RUN = 128
NUMBERS_PER_RUN = 2**24
MOST_PLACES = 4_096
MOST_INPUTS = 16
MOST_NUMBERS = 4_000_000
PATCH_SHARE = 6
"""The patch's side is this part of the image's shorter side unless the request says."""


class Occlusion(Options):
    """How the occluding patch moves."""

    size: int | None = Field(
        default=None, ge=1, le=4096, description="Side of the patch in pixels; a sixth of the shorter side if null."
    )
    stride: int | None = Field(
        default=None, ge=1, le=4096, description="Pixels from place to place; half the size if null."
    )


class Explain(Options):
    """What to explain an answer with."""

    feature_maps: tuple[str, ...] | Literal[True] = Field(
        default=(), description="Layers whose activations to return; true for all of them."
    )
    kernels: bool = Field(default=False, description="Return the kernels of every layer.")
    occlusion: bool | Occlusion = Field(
        default=False, description="Return by how much covering a place lowers the probability of the label."
    )

    @property
    def patch(self) -> Occlusion | None:
        """How to occlude, if at all."""
        return self.occlusion if isinstance(self.occlusion, Occlusion) else Occlusion() if self.occlusion else None


class Explanation(Options):
    """The insides of one answer; what was not asked for is missing."""

    feature_maps: dict[str, list[list[list[float]]]] = Field(
        default_factory=dict[str, list[list[list[float]]]],
        description="By layer: (channels, height, width), after the nonlinearity.",
    )
    kernels: dict[str, list[list[list[list[float]]]]] = Field(
        default_factory=dict[str, list[list[list[list[float]]]]],
        description="By layer: (out channels, in channels, height, width).",
    )
    occlusion: list[list[float]] = Field(
        default_factory=list[list[float]],
        description="(height, width): the label's probability minus that with the place covered.",
    )


def layers_of(model: ServedModel) -> dict[str, tuple[int | str, ...]]:
    """Return the layers whose insides the model gives, with the shapes of their feature maps."""
    if INSIDES not in model.signatures:
        return {}
    outputs = model.signatures[INSIDES].outputs
    return {tensor.name: tensor.shape for tensor in outputs if not tensor.name.endswith(KERNELS)}


def everything(model: ServedModel) -> Explain:
    """Return the request for all that the model can be explained with."""
    inside = bool(layers_of(model))
    return Explain(feature_maps=True if inside else (), kernels=inside, occlusion=_takes_images(model))


def check(model: ServedModel, asked: Explain, count: int) -> None:
    """Return if ``asked`` can be given for ``count`` inputs.

    Raises:
        ValidationFailed: a layer that does not exist, insides the model does not have, or far too much of them.
    """
    layers = layers_of(model)
    if count > MOST_INPUTS:
        raise ValidationFailed.at("/explain", f"is given for at most {MOST_INPUTS} inputs at once, not {count}")
    if not layers and (asked.feature_maps or asked.kernels):
        field = "feature_maps" if asked.feature_maps else "kernels"
        others = "; it can be asked for 'occlusion'" if _takes_images(model) else ""
        raise ValidationFailed.at(f"/explain/{field}", f"the family '{model.family}' has none{others}")
    for index, name in enumerate(_chosen(asked, layers)):
        if name not in layers:
            known = ", ".join(layers)
            raise ValidationFailed.at(f"/explain/feature_maps/{index}", f"there is no layer '{name}'; use: {known}")
    numbers = count * sum(_numbers(model, name) for name in _wanted(asked, layers))
    if numbers > MOST_NUMBERS:
        detail = f"comes to {numbers} numbers, more than {MOST_NUMBERS}; ask for fewer layers or inputs"
        raise ValidationFailed.at("/explain", detail)
    if asked.patch:
        if not _takes_images(model):
            raise ValidationFailed.at("/explain/occlusion", "needs a model of images")
        _check_places(model, asked.patch)


def explain(
    model: ServedModel, asked: Explain, arrays: Arrays, labels: Array, probabilities: Array
) -> Generator[Call, Arrays, list[dict[str, object]]]:
    """Yield the runs that ``asked`` needs and return one explanation per input.

    Args:
        model: the model that answered.
        asked: what to explain with, checked.
        arrays: the classifier's inputs.
        labels: (batch,) int64, the index of the answered label.
        probabilities: (batch,) the label's probability.
    """
    found: list[dict[str, object]] = [{} for _ in labels]
    layers = layers_of(model)
    if asked.feature_maps or asked.kernels:
        outputs = yield Call(INSIDES, arrays)
        for row, explanation in enumerate(found):
            if asked.feature_maps:
                explanation["feature_maps"] = {name: outputs[name][row] for name in _chosen(asked, layers)}
            if asked.kernels:
                explanation["kernels"] = {name: outputs[name + KERNELS][row] for name in layers}
    if asked.patch:
        for row, explanation in enumerate(found):
            image = arrays["images"][row]
            explanation["occlusion"] = yield from _occlusion(
                model, asked.patch, image, int(labels[row]), float(probabilities[row])
            )
    return found


def _occlusion(
    model: ServedModel, patch: Occlusion, image: Array, label: int, probability: float
) -> Generator[Call, Arrays, Array]:
    """Return (height, width) float32: mean loss of probability over the patches that cover each pixel."""
    mean = ImageFacts.of(model.meta).mean
    losses = np.zeros(image.shape[:2])
    covered = np.zeros(image.shape[:2])
    places = list(_places(image.shape, patch))
    step = max(1, min(PLACES_PER_RUN, NUMBERS_PER_RUN // image.size))
    for start in range(0, len(places), step):
        chunk = places[start : start + step]
        images = np.repeat(image[None], len(chunk), axis=0)
        for occluded, (rows, columns) in zip(images, chunk, strict=True):
            occluded[rows, columns] = mean
        outputs = yield Call(CLASSIFIER, {"images": images})
        for (rows, columns), row in zip(chunk, outputs["probabilities"], strict=True):
            losses[rows, columns] += probability - float(row[label])
            covered[rows, columns] += 1
    return (losses / covered).astype(np.float32)


def _places(shape: Sequence[int], patch: Occlusion) -> Iterator[tuple[slice, slice]]:
    """Yield where the patch lies; the last place of each axis ends at the edge."""
    size = patch.size or max(1, round(min(shape[:2]) / PATCH_SHARE))
    stride = patch.stride or max(1, size // 2)
    rows, columns = (_starts(side, size, stride) for side in shape[:2])
    for row in rows:
        for column in columns:
            yield slice(row, row + size), slice(column, column + size)


def _starts(side: int, size: int, stride: int) -> list[int]:
    last = max(side - size, 0)
    return [*range(0, last, stride), last]


def _check_places(model: ServedModel, patch: Occlusion) -> None:
    shape = [axis for axis in model.signatures[CLASSIFIER].inputs[0].shape[1:3] if isinstance(axis, int)]
    if patch.size and patch.size >= min(shape):
        detail = f"{patch.size} covers a whole side of the {shape[0]} × {shape[1]} image; use a smaller patch"
        raise ValidationFailed.at("/explain/occlusion/size", detail)
    size = patch.size or max(1, round(min(shape) / PATCH_SHARE))
    stride = patch.stride or max(1, size // 2)
    if stride > size:
        detail = f"{stride} leaves pixels uncovered; use at most the size of the patch, {size}"
        raise ValidationFailed.at("/explain/occlusion/stride", detail)
    places = math.prod(len(_starts(side, size, stride)) for side in shape)
    if places > MOST_PLACES:
        detail = f"takes {places} runs per image, more than {MOST_PLACES}; use a larger size or stride"
        raise ValidationFailed.at("/explain/occlusion", detail)


def _chosen(asked: Explain, layers: dict[str, tuple[int | str, ...]]) -> tuple[str, ...]:
    return tuple(layers) if asked.feature_maps is True else asked.feature_maps


def _wanted(asked: Explain, layers: dict[str, tuple[int | str, ...]]) -> list[str]:
    return [*_chosen(asked, layers), *((name + KERNELS for name in layers) if asked.kernels else ())]


def _numbers(model: ServedModel, output: str) -> int:
    shape = next(tensor.shape for tensor in model.signatures[INSIDES].outputs if tensor.name == output)
    return math.prod(axis for axis in shape[1:] if isinstance(axis, int))


def _takes_images(model: ServedModel) -> bool:
    return [tensor.name for tensor in model.signatures[CLASSIFIER].inputs] == ["images"]
