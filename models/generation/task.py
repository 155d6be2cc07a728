"""Generation: images out of codes, and back, in six verbs; a family says in its spec which of them it answers."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import ClassVar, cast

import numpy as np

from models.contract.task import Evaluation, Picture, Prediction, Query, ServedModel, Split, Task, Verb
from models.generation.encoding import ENCODER, LIKELIHOOD, divergences, encode, reconstruct, score
from models.generation.images import most_images, unit
from models.generation.requests import (
    Drawn,
    Encoded,
    InputsRequest,
    InterpolateRequest,
    Reconstructed,
    SampleRequest,
    Scored,
    ScoreRequest,
    Traversed,
    TraverseRequest,
)
from models.generation.walking import INERT_ACTIVITY, interpolate, sample, traverse
from models.metrics.energy import energy_distance

EVALUATION_BATCH = 250
EVALUATION_SAMPLES = 256


def _bare_image(data: bytes) -> InputsRequest:
    return InputsRequest(inputs=(data,))


def _bare_scored(data: bytes) -> ScoreRequest:
    return ScoreRequest(inputs=(data,))


def _as_it_is(model: ServedModel, request: SampleRequest) -> SampleRequest:
    del model
    return request


def _drawn(model: ServedModel, request: object, predictions: Sequence[Prediction]) -> bytes:
    from models.generation.picture import draw  # noqa: PLC0415 - keeps the gateway's start fast

    return draw(model, request, predictions)


PICTURE = Picture(complete=_as_it_is, draw=_drawn)
BARE = ("image/png", "image/jpeg")


class Generation(Task):
    """Images like those of the training split."""

    name = "generation"
    headline = "elbo"
    lower_is_better = frozenset({"energy_distance"})
    verbs: ClassVar[Mapping[str, Verb]] = {
        "sample": Verb(SampleRequest, Drawn, sample, picture=PICTURE),
        "encode": Verb(InputsRequest, Encoded, encode, media=dict.fromkeys(BARE, _bare_image)),
        "reconstruct": Verb(
            InputsRequest, Reconstructed, reconstruct, media=dict.fromkeys(BARE, _bare_image), picture=PICTURE
        ),
        "interpolate": Verb(InterpolateRequest, Reconstructed, interpolate, picture=PICTURE),
        "traverse": Verb(TraverseRequest, Traversed, traverse, picture=PICTURE),
        "score": Verb(ScoreRequest, Scored, score, media=dict.fromkeys(BARE, _bare_scored)),
    }

    def evaluation(self, model: ServedModel, split: Split) -> Evaluation:
        """Encode and score ``split`` where the model can; else compare its samples with ``split``.

        ``elbo`` = ``reconstruction`` − ``divergence`` in nats per image; ``active_dimensions`` are those that images
        move (Burda et al. 2016, §5.2). ``energy_distance`` is that of 256 samples from as many images, in [0, 1].
        """
        if ENCODER in model.signatures and LIKELIHOOD in model.signatures:
            return (yield from _scores(split))
        predictions: list[Prediction] = []
        most = most_images(model)
        for seed, begin in enumerate(range(0, EVALUATION_SAMPLES, most)):
            count = min(most, EVALUATION_SAMPLES - begin)
            predictions += yield Query("sample", SampleRequest(count=count, seed=seed))
        drawn = np.array([item["image"] for item in predictions], np.float32)
        chosen = np.linspace(0, len(split["images"]) - 1, EVALUATION_SAMPLES).astype(np.int64)
        real = unit(model, split["images"][chosen].astype(np.float32))
        return {"energy_distance": energy_distance(drawn.reshape(len(drawn), -1), real.reshape(len(real), -1))}


TASK = Generation()


def _scores(split: Split) -> Generator[Query, Sequence[Prediction], dict[str, float]]:
    means: list[object] = []
    divergence, sums, count = 0.0, {"elbo": 0.0, "reconstruction": 0.0}, len(split["images"])
    for begin in range(0, count, EVALUATION_BATCH):
        inputs = tuple(split["images"][begin : begin + EVALUATION_BATCH].astype(np.float32))
        found = yield Query("encode", InputsRequest(inputs=inputs))
        means += [item["mean"] for item in found]
        own = [divergences(np.asarray(item["mean"]), np.asarray(item["log_variance"])).sum() for item in found]
        divergence += float(np.sum(own))
        found = yield Query("score", ScoreRequest(inputs=inputs))
        for name in sums:
            sums[name] += sum(cast("float", item[name]) for item in found)
    activity = np.var(np.array(means, np.float64), axis=0)
    return {
        **{name: total / count for name, total in sums.items()},
        "divergence": divergence / count,
        "active_dimensions": float((activity > INERT_ACTIVITY).sum()),
    }
