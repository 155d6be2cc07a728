"""Verb ``score``: the log-probability of each token of a text, read from the beginning of a line."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence

import numpy as np

from models.contract.errors import ValidationFailed
from models.contract.task import Array, Arrays, Call, Codec, ServedModel
from models.data.padding import padded
from models.data.texts.encoding import LINE_END_INDEX, TextEncoding
from models.data.vocabulary import UNKNOWN
from models.language.requests import ScoreRequest

PART = "scorer"
TEXTS_A_RUN = 32
STEPS_A_RUN = 128
"""The logits of a run, texts × steps × vocabulary, stay below some two hundred megabytes."""


def score(model: ServedModel, request: ScoreRequest) -> Codec:
    """Yield runs of ``scorer`` over texts of like length, each going on from the state of the one before.

    Raises:
        ValidationFailed: a text holds no token.
    """
    encoding = TextEncoding.of(model.assets)
    texts = [encoding.encode(text) for text in request.texts]
    for position, indices in enumerate(texts):
        if not len(indices):
            raise ValidationFailed.at(f"/texts/{position}", "holds no token; there is nothing to score")
    found: list[Array] = [np.zeros(0)] * len(texts)
    longest_first = sorted(range(len(texts)), key=lambda position: -len(texts[position]))
    for begin in range(0, len(texts), TEXTS_A_RUN):
        chosen = longest_first[begin : begin + TEXTS_A_RUN]
        scores = yield from _log_probabilities(model, [texts[position] for position in chosen])
        for position, own in zip(chosen, scores, strict=True):
            found[position] = own
    return [
        _scored(encoding, text, own, scores, each=request.each)
        for text, own, scores in zip(request.texts, texts, found, strict=True)
    ]


def _log_probabilities(model: ServedModel, texts: Sequence[Array]) -> Generator[Call, Arrays, list[Array]]:
    """Return the log-probabilities (tokens,) of each of ``texts``, the longest first."""
    width = model.signatures[PART].inputs[3].shape[1]
    assert isinstance(width, int)
    targets, lengths = padded(texts)
    inputs = np.concatenate([np.full((len(texts), 1), LINE_END_INDEX), targets[:, :-1]], axis=1)
    state = np.zeros((len(texts), width), np.float32)
    scores: Array = np.zeros(targets.shape, np.float64)
    for begin in range(0, int(lengths[0]), STEPS_A_RUN):
        rows, steps = int((lengths > begin).sum()), slice(begin, begin + STEPS_A_RUN)
        outputs = yield Call(
            PART,
            {
                "tokens": inputs[:rows, steps],
                "targets": targets[:rows, steps],
                "lengths": (lengths[:rows] - begin).clip(max=STEPS_A_RUN),
                "state": state[:rows],
            },
        )
        scores[:rows, steps], state = outputs["log_probabilities"], outputs["next_state"]
    return [scores[row, :length] for row, length in enumerate(lengths.tolist())]


def _scored(encoding: TextEncoding, text: str, indices: Array, scores: Array, *, each: bool) -> dict[str, object]:
    total = float(scores.sum())
    answer: dict[str, object] = {
        "log_probability": total,
        "tokens": len(indices),
        "perplexity": math.exp(min(-total / len(indices), 700.0)),
        "unknown": int((indices == UNKNOWN).sum()),
    }
    if each:
        pairs = zip(encoding.cut(text), scores.tolist(), strict=True)
        answer["each"] = [{"token": token, "log_probability": value} for token, value in pairs]
    return answer
