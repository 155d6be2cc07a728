"""Classification: which label, with what probability. Verb ``classify``; runs of the part ``classifier``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

import numpy as np
from pydantic import ConfigDict, Field

from models.classification.explanation import Explain, Explanation, check, everything, explain
from models.classification.inputs import Input, arrays_of, inputs_of
from models.classification.text_inputs import run_texts, takes_texts
from models.contract.config import Options
from models.contract.task import (
    Arrays,
    Call,
    Codec,
    Evaluation,
    Picture,
    Prediction,
    Query,
    ServedModel,
    Split,
    Task,
    Verb,
)
from models.data.texts.tokens import decoded
from models.metrics.accuracy import accuracy

PART = "classifier"
EVALUATION_BATCH = 250
LARGEST_REQUEST = 4_096


class ClassifyRequest(Options):
    """What to classify."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    inputs: tuple[Input, ...] = Field(min_length=1, max_length=LARGEST_REQUEST, description="One item per prediction.")
    explain: Explain | None = Field(default=None, description="What to return of the model's insides with each answer.")
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
    explanation: Explanation | None = Field(default=None, description="Only with `explain`.")


def classify(model: ServedModel, request: ClassifyRequest) -> Codec:
    """Yield one run of the classifier over all inputs; return the labels by falling probability.

    Of texts there are several runs where their lengths differ much. With ``explain`` more runs follow, and each
    prediction has an ``explanation``.
    """
    if request.explain is not None:
        check(model, request.explain, len(request.inputs))
    arrays: Arrays = {}
    if takes_texts(model):
        outputs = yield from run_texts(model, PART, request.inputs)
    else:
        arrays = arrays_of(model, request.inputs)
        outputs = yield Call(PART, arrays)
    classes = _classes(model)
    probabilities = outputs["probabilities"]
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, : request.top]
    predictions = [
        {
            "label": classes[int(ranked[0])],
            "index": int(ranked[0]),
            "probability": float(row[ranked[0]]),
            "top": [{"label": classes[int(index)], "probability": float(row[index])} for index in ranked],
        }
        for row, ranked in zip(probabilities, order, strict=True)
    ]
    if request.explain is None:
        return predictions
    explanations = yield from explain(model, request.explain, arrays, order[:, 0], probabilities.max(axis=1))
    return [
        {**prediction, "explanation": explanation}
        for prediction, explanation in zip(predictions, explanations, strict=True)
    ]


def _classes(model: ServedModel) -> list[str]:
    return cast("list[str]", model.meta["classes"])


def _completed(model: ServedModel, request: ClassifyRequest) -> ClassifyRequest:
    return request if request.explain else request.model_copy(update={"explain": everything(model)})


def _drawn(model: ServedModel, request: ClassifyRequest, predictions: Sequence[Prediction]) -> bytes:
    from models.classification.picture import draw  # noqa: PLC0415 - keeps the gateway's start fast

    return draw(model, request.inputs, predictions)


def _bare_image(data: bytes) -> ClassifyRequest:
    return ClassifyRequest(inputs=(data,))


def _bare_text(data: bytes) -> ClassifyRequest:
    return ClassifyRequest(inputs=({"text": decoded(data, "/inputs/0/text")},))


class Classification(Task):
    """One label per input."""

    name = "classification"
    headline = "accuracy"
    verbs: ClassVar[Mapping[str, Verb]] = {
        "classify": Verb(
            request=ClassifyRequest,
            prediction=Classified,
            codec=classify,
            media={"image/png": _bare_image, "image/jpeg": _bare_image, "text/plain": _bare_text},
            picture=Picture(complete=_completed, draw=_drawn),
        )
    }

    def evaluation(self, model: ServedModel, split: Split) -> Evaluation:
        """Classify every example of ``split``; return ``accuracy`` and ``error`` as shares."""
        labels = split["labels"]
        predicted: list[str] = []
        for start in range(0, len(labels), EVALUATION_BATCH):
            chunk = inputs_of(model, split, start, start + EVALUATION_BATCH)
            predictions = yield Query("classify", ClassifyRequest(inputs=chunk, top=1))
            predicted += [cast("str", item["label"]) for item in predictions]
        classes = _classes(model)
        truth = [classes[int(index)] for index in labels]
        share = accuracy(predicted, truth)
        return {"accuracy": share, "error": 1 - share}


TASK = Classification()
