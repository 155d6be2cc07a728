"""Expressions: the value of a logical expression. Verb ``judge``; parts ``leaf`` and ``compose``, a call per level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, cast

import numpy as np
from pydantic import ConfigDict, Field, WithJsonSchema

from models.contract.config import Options
from models.contract.task import Array, Call, Codec, Evaluation, Query, ServedModel, Split, Task, Verb
from models.metrics.accuracy import accuracy
from rehearsal.data.trees import flatten, parse

Tree = Annotated[object, WithJsonSchema({"description": "0, 1, or an array of an operator and its trees."})]


class JudgeRequest(Options):
    """Which expressions to judge."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    inputs: tuple[Tree, ...] = Field(min_length=1, description="One tree per prediction.")


class Judged(Options):
    """The likelier value of one expression, and the probability that it is true."""

    value: int
    probability: float


def judge(model: ServedModel, request: JudgeRequest) -> Codec:
    """Yield one run per level, leaves first, each over the nodes of that height in all trees."""
    nodes, roots = flatten(request.inputs, "/inputs")
    size = cast("int", model.signatures["leaf"].outputs[0].shape[1])
    states: Array = np.zeros((len(nodes), size), np.float32)
    truths: Array = np.zeros(len(nodes), np.float32)
    for height in range(1 + max(node.height for node in nodes)):
        chosen = [position for position, node in enumerate(nodes) if node.height == height]
        arrays = {"symbols": np.array([nodes[position].symbol for position in chosen], dtype=np.int64)}
        if height > 0:
            arrays["left"] = states[[nodes[position].left for position in chosen]]
            arrays["right"] = states[[nodes[position].right for position in chosen]]
        outputs = yield Call("compose" if height else "leaf", arrays)
        states[chosen], truths[chosen] = outputs["state"], outputs["probability"]
    return [{"value": int(truths[root] > 0.5), "probability": float(truths[root])} for root in roots]


class Expressions(Task):
    """One truth value per tree."""

    name = "expressions"
    headline = "accuracy"
    verbs: ClassVar[Mapping[str, Verb]] = {"judge": Verb(JudgeRequest, Judged, judge)}

    def evaluation(self, model: ServedModel, split: Split) -> Evaluation:
        """Judge every expression in one request; return ``accuracy``."""
        del model
        trees = tuple(parse(text, "/inputs") for text in split["expressions"].tolist())
        predictions = yield Query("judge", JudgeRequest(inputs=trees))
        truth = [str(value) for value in split["values"].tolist()]
        return {"accuracy": accuracy([str(item["value"]) for item in predictions], truth)}


TASK = Expressions()
