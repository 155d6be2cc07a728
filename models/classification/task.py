"""Classification: which label, with what probability. Verb ``classify``; one run of the part ``classifier``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

import numpy as np
from pydantic import ConfigDict, Field

from models.classification.inputs import Input, arrays_of, inputs_of
from models.contract.config import Options
from models.contract.task import Call, Codec, Evaluation, Query, ServedModel, Split, Task, Verb
from models.metrics.accuracy import accuracy

PART = "classifier"
EVALUATION_BATCH = 250
LARGEST_REQUEST = 4_096


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
    outputs = yield Call(PART, arrays_of(model, request.inputs))
    classes = _classes(model)
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


def _classes(model: ServedModel) -> list[str]:
    return cast("list[str]", model.meta["classes"])


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
        """Classify every example of ``split``; return ``accuracy`` and ``error`` as shares."""
        labels = split["labels"]
        predicted: list[str] = []
        for start in range(0, len(labels), EVALUATION_BATCH):
            chunk = inputs_of(split, start, start + EVALUATION_BATCH)
            predictions = yield Query("classify", ClassifyRequest(inputs=chunk, top=1))
            predicted += [cast("str", item["label"]) for item in predictions]
        classes = _classes(model)
        truth = [classes[int(index)] for index in labels]
        share = accuracy(predicted, truth)
        return {"accuracy": share, "error": 1 - share}


TASK = Classification()
