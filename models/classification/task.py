"""Classification: which label, with what probability. Verb ``classify``; one run of the part ``classifier``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, cast

import numpy as np
from pydantic import ConfigDict, Field, WithJsonSchema

from models.contract.config import Options
from models.contract.errors import ValidationFailed
from models.contract.task import Array, Call, Codec, Evaluation, Query, ServedModel, Split, Task, Verb
from models.data.image_facts import ImageFacts
from models.data.pixels import decode_base64, decode_image
from models.metrics.accuracy import accuracy

PART = "classifier"
EVALUATION_BATCH = 250
LARGEST_REQUEST = 4_096

Input = Annotated[
    object,
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "array",
                    "description": "Nested numbers (height × width[ × channels]) in the dataset's scale.",
                },
                {
                    "type": "object",
                    "properties": {"image": {"type": "string", "description": "Base64 PNG or JPEG."}},
                },
            ]
        }
    ),
]


class ClassifyRequest(Options):
    """What to classify."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    inputs: tuple[Input, ...] = Field(min_length=1, max_length=LARGEST_REQUEST, description="One item per prediction.")
    top: int = Field(default=5, ge=1, le=10_000, description="How many of the likeliest labels to return.")


class LabelProbability(Options):
    """A label and its probability."""

    label: str
    probability: float


class Classified(Options):
    """The likeliest label of one input."""

    label: str
    index: int
    probability: float
    top: tuple[LabelProbability, ...]


def classify(model: ServedModel, request: ClassifyRequest) -> Codec:
    """Yield one run of the classifier over all inputs; return the labels by falling probability."""
    images = _images(model, request.inputs)
    outputs = yield Call(PART, {"images": images})
    classes = ImageFacts.of(model.meta).classes
    probabilities = outputs["probabilities"]
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, : request.top]
    return [
        {
            "label": classes[int(ranked[0])],
            "index": int(ranked[0]),
            "probability": float(row[ranked[0]]),
            "top": [{"label": classes[int(index)], "probability": float(row[index])} for index in ranked],
        }
        for row, ranked in zip(probabilities, order, strict=True)
    ]


def _bare_image(data: bytes) -> ClassifyRequest:
    return ClassifyRequest(inputs=(data,))


class Classification(Task):
    """One label per input."""

    name = "classification"
    headline = "accuracy"
    verbs: ClassVar[Mapping[str, Verb]] = {
        "classify": Verb(
            request=ClassifyRequest,
            prediction=Classified,
            codec=classify,
            media={"image/png": _bare_image, "image/jpeg": _bare_image},
        )
    }

    def evaluation(self, model: ServedModel, split: Split) -> Evaluation:
        """Classify every image of ``split``; return ``accuracy`` and ``error`` as shares."""
        images, labels = split["images"].astype(np.float32), split["labels"]
        predicted: list[str] = []
        for start in range(0, len(images), EVALUATION_BATCH):
            chunk = images[start : start + EVALUATION_BATCH]
            predictions = yield Query("classify", ClassifyRequest(inputs=tuple(chunk), top=1))
            predicted += [cast("str", item["label"]) for item in predictions]
        classes = ImageFacts.of(model.meta).classes
        truth = [classes[int(index)] for index in labels]
        share = accuracy(predicted, truth)
        return {"accuracy": share, "error": 1 - share}


TASK = Classification()


def _images(model: ServedModel, inputs: Sequence[object]) -> Array:
    """Return all inputs as one array (batch, height, width[, channels]) float32."""
    facts = ImageFacts.of(model.meta)
    return np.stack([_image(facts, value, f"/inputs/{index}") for index, value in enumerate(inputs)])


def _image(facts: ImageFacts, value: object, pointer: str) -> Array:
    if isinstance(value, bytes):
        return decode_image(value, facts.shape, facts.value_range, "/")
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        encoded = fields.get("image")
        if not isinstance(encoded, str) or len(fields) != 1:
            raise ValidationFailed.at(pointer, 'must be nested numbers or {"image": "<base64 PNG or JPEG>"}')
        data = decode_base64(encoded, f"{pointer}/image")
        return decode_image(data, facts.shape, facts.value_range, f"{pointer}/image")
    return _numbers(value, facts.shape, pointer)


def _numbers(value: object, shape: tuple[int, ...], pointer: str) -> Array:
    if not isinstance(value, list | np.ndarray):
        raise ValidationFailed.at(pointer, 'must be nested numbers or {"image": "<base64 PNG or JPEG>"}')
    try:
        array = np.asarray(cast("list[object]", value))
    except ValueError as error:
        raise ValidationFailed.at(pointer, f"is ragged; the model takes numbers of shape {list(shape)}") from error
    if array.dtype.kind not in "iuf":
        raise ValidationFailed.at(pointer, f"holds something that is not a number; the model takes shape {list(shape)}")
    if array.shape != shape and ((array.ndim != 1 and array.shape != (*shape, 1)) or array.size != np.prod(shape)):
        raise ValidationFailed.at(pointer, f"has shape {list(array.shape)}; the model takes {list(shape)}")
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite, and is refused as such
        array = array.astype(np.float32).reshape(shape)
    if not np.isfinite(array).all():
        raise ValidationFailed.at(pointer, "holds NaN or infinite values")
    return array
