"""What is too much for one answer of a generative model, and is refused before anything is computed."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest

from models.contract.errors import ValidationFailed
from models.contract.task import ServedModel
from models.contract.tensors import PartSignature
from models.generation.codes import Code, declared
from models.generation.images import most_images
from models.generation.requests import MOST_NUMBERS_OF_A_LATENT, SampleRequest, TraverseRequest
from models.generation.task import TASK

PART = PartSignature(inputs=(), outputs=())
ANY: Any = [[0.0]]


def _model(*sides: int) -> ServedModel:
    """One that makes images of (height, width, channels)."""
    meta = {**dict(zip(("height", "width", "channels"), sides, strict=True)), "value_range": [0, 255]}
    meta |= {"pixel_mean": 100.0, "pixel_standard_deviation": 50.0}
    return ServedModel("large", "any", {}, meta, declared([Code(name="latent", size=2)]), {"generator": PART})


@pytest.mark.parametrize(
    ("number", "pointer", "words"),
    [(0.5, "/latent", f"at most {MOST_NUMBERS_OF_A_LATENT}"), ("x", "/latent/0", "number")],
)
def test_latents_beyond_any_model_are_not_read_to_their_end(number: object, pointer: str, words: str) -> None:
    """One of too many numbers is told once; so is one of which no number is right."""
    with pytest.raises(ValidationFailed) as refused:
        TraverseRequest.parse({"latent": [number] * 100_000})
    (error,) = refused.value.errors
    assert error.pointer == pointer
    assert words in error.detail


MANY = [
    pytest.param("sample", {"count": 342}, "/count", id="sample"),
    pytest.param("reconstruct", {"inputs": [ANY] * 342}, "/inputs", id="reconstruct"),
    pytest.param("traverse", {"dimensions": [0, 1], "steps": 171}, "/steps", id="traverse"),
]


@pytest.mark.parametrize(("verb", "body", "pointer"), MANY)
def test_answers_are_bounded_in_pixels(verb: str, body: dict[str, Any], pointer: str) -> None:
    found = TASK.verbs[verb]
    with pytest.raises(
        ValidationFailed, match=r"342 images of 64 × 64 × 3; at most 341 of this size .* fewer"
    ) as refused:
        next(found.codec(_model(64, 64, 3), found.request.model_validate(body)))
    assert refused.value.errors[0].pointer == pointer


def test_ways_between_two_images_are_bounded_in_pixels() -> None:
    found = TASK.verbs["interpolate"]
    body = {"start": {"seed": 1}, "end": {"seed": 2}}
    with pytest.raises(ValidationFailed, match="at most 170 of this size") as refused:
        next(found.codec(_model(64, 128, 3), found.request.model_validate({**body, "steps": 171})))
    assert refused.value.errors[0].pointer == "/steps"
    assert next(found.codec(_model(64, 128, 3), found.request.model_validate({**body, "steps": 170}))).arrays


def test_one_image_is_answered_however_large() -> None:
    huge = _model(4_096, 4_096, 3)
    assert most_images(huge) == 1
    assert next(TASK.verbs["sample"].codec(huge, SampleRequest(count=1))).part == "generator"


def test_large_samples_are_evaluated_in_several_answers() -> None:
    """As many as of small images, and no two of them the same."""
    sides = (128, 256, 3)
    evaluation = TASK.evaluation(_model(*sides), {"images": np.zeros((2, *sides), np.uint8)})
    counts = list[tuple[int, int]]()
    query: Any = next(evaluation)
    with contextlib.suppress(StopIteration):
        while True:
            counts.append((query.request.count, query.request.seed))
            query = evaluation.send([{"image": np.zeros(sides, np.float32)}] * query.request.count)
    assert sum(count for count, _ in counts) == 256
    assert [seed for _, seed in counts] == list(range(7))
