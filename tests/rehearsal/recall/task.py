"""Recall: the class of a sequence of rows, whatever its length. Verb ``recall``; one run of ``reader`` per length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

import numpy as np
from pydantic import Field

from models.contract.config import Options
from models.contract.errors import ValidationFailed
from models.contract.task import Call, Codec, Evaluation, Query, ServedModel, Split, Task, Verb
from models.metrics.accuracy import accuracy


class RecallRequest(Options):
    """Sequences of rows."""

    inputs: tuple[tuple[tuple[float, ...], ...], ...] = Field(min_length=1, description="Rows of one width.")


class Recalled(Options):
    """The likeliest label of one sequence."""

    label: str
    probability: float


def recall(model: ServedModel, request: RecallRequest) -> Codec:
    """Yield one run per length that occurs; sequences of one length share it."""
    width = model.signatures["reader"].inputs[0].shape[2]
    if any(not rows or {*map(len, rows)} != {width} for rows in request.inputs):
        raise ValidationFailed.at("/inputs", f"must be one or more rows of {width} numbers each")
    classes = cast("list[str]", model.meta["classes"])
    answers: dict[int, dict[str, object]] = {}
    for length in sorted({len(rows) for rows in request.inputs}):
        chosen = [index for index, rows in enumerate(request.inputs) if len(rows) == length]
        rows = np.asarray([request.inputs[index] for index in chosen], dtype=np.float32)
        outputs = yield Call("reader", {"rows": rows})
        for index, row in zip(chosen, outputs["probabilities"], strict=True):
            answers[index] = {"label": classes[int(row.argmax())], "probability": float(row.max())}
    return [answers[index] for index in range(len(answers))]


class Recall(Task):
    """One label per sequence."""

    name = "recall"
    headline = "accuracy"
    verbs: ClassVar[Mapping[str, Verb]] = {"recall": Verb(RecallRequest, Recalled, recall)}

    def evaluation(self, model: ServedModel, split: Split) -> Evaluation:
        """Read every image row by row; return ``accuracy``."""
        classes = cast("list[str]", model.meta["classes"])
        predictions = yield Query("recall", RecallRequest(inputs=split["images"].tolist()))
        labels = [cast("str", item["label"]) for item in predictions]
        return {"accuracy": accuracy(labels, [classes[label] for label in split["labels"].tolist()])}


TASK = Recall()
