"""A generative model through the real stack: trained, every verb over HTTP as numbers and as a picture, refusals."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from PIL import Image

from app.client import ClientError
from models.contract.jobs import JobState
from waiting import wait_until

if TYPE_CHECKING:
    from app.client import Json
    from integration.conftest import StackClient

TRAINED_SECONDS = 240.0


def _trained(stack: StackClient, body: dict[str, Any]) -> Json:
    job_id = stack.submit(body).id
    wait_until(lambda: stack.job(job_id).state.final, TRAINED_SECONDS)
    job = stack.job(job_id)
    assert job.state is JobState.SUCCEEDED, job.error
    return stack.version(body["model"], 1).sent()


def _images(answer: Any, key: str = "image") -> np.ndarray:  # noqa: ANN401 - JSON
    return np.array([item[key] for item in answer["predictions"]])


@pytest.mark.slow
def test_digits_are_encoded_drawn_and_walked_through(stack: StackClient) -> None:
    """From a job on built-in digits to every verb; a hundred samples begin with what one sample is."""
    card = _trained(
        stack,
        {
            "family": "vae",
            "dataset": "digits",
            "model": "drawn-digits",
            "config": {"latent": 6, "hidden_sizes": [128]},
            "training": {"epochs": 30, "learning_rate": 0.003},
        },
    )
    scores = card["metrics"]["test"]
    assert scores["elbo"] > -64 * np.log(2) + 15, "far better than a coin for every pixel"
    assert card["verbs"] == ["sample", "encode", "reconstruct", "interpolate", "traverse", "score"]

    many = _images(stack.predict("drawn-digits", "sample", {"count": 100, "seed": 3}))
    one = _images(stack.predict("drawn-digits", "sample", {"count": 1, "seed": 3}))
    assert many.shape == (100, 8, 8)
    assert np.array_equal(many[:1], one)
    assert 0 <= many.min() < 0.05
    assert 0.95 < many.max() <= 1

    digits = [item["image"] for item in stack.preview("digits", split="test", count=20)["items"]]
    inputs = [{"image": image} for image in digits]
    encoded: Any = stack.predict("drawn-digits", "encode", {"inputs": inputs})
    means = _images(encoded, "mean")
    assert means.shape == (20, 6)
    again = _images(stack.predict("drawn-digits", "reconstruct", {"inputs": inputs}))
    kept = _images(stack.predict("drawn-digits", "sample", {"count": 1, "codes": {"latent": means[0].tolist()}}))
    assert np.array_equal(kept[0], again[0])
    told: Any = stack.predict("drawn-digits", "score", {"inputs": inputs, "samples": 50})
    assert _images(told, "importance_bound").mean() > _images(told, "elbo").mean() + 0.1

    walk = _images(
        stack.predict("drawn-digits", "interpolate", {"start": inputs[0], "end": {"input": inputs[1]}, "steps": 5})
    )
    assert np.array_equal(walk[[0, -1]], again[:2])
    rows: Any = stack.predict("drawn-digits", "traverse", {"input": inputs[0], "steps": 3})
    assert sorted(row["dimension"] for row in rows["predictions"]) == list(range(6))
    assert _images(rows, "images").shape == (6, 3, 8, 8)
    divergences = [row["divergence"] for row in rows["predictions"]]
    assert divergences == sorted(divergences, reverse=True)
    _check_pictures(stack, inputs)
    _check_refusals(stack, inputs)


def _check_pictures(stack: StackClient, inputs: list[dict[str, str]]) -> None:
    bodies: dict[str, Any] = {
        "sample": {"count": 20},
        "reconstruct": {"inputs": inputs},
        "interpolate": {"start": {"seed": 1}, "end": {"seed": 2}, "method": "spherical"},
        "traverse": {"seed": 1, "dimensions": [5, 0]},
    }
    for verb, body in bodies.items():
        url = f"{stack.base_url}/v1/models/drawn-digits/{verb}"
        answer = httpx.post(url, json=body, headers={"Accept": "image/png"}, trust_env=False)
        assert answer.headers["content-type"] == "image/png"
        with Image.open(io.BytesIO(answer.content)) as picture:
            assert min(picture.size) > 60


def _check_refusals(stack: StackClient, inputs: list[dict[str, str]]) -> None:
    refusals: list[tuple[str, dict[str, Any], int, str]] = [
        ("sample", {"count": 100_000}, 422, "/count"),
        ("sample", {"codes": {"c1": 1}}, 422, "/codes/c1"),
        ("encode", {"inputs": [[[1, 2], [3, 4]]]}, 422, "/inputs/0"),
        ("interpolate", {"start": inputs[0], "end": {"latent": [1, 2]}}, 422, "/end/latent"),
        ("traverse", {"dimensions": [6]}, 422, "/dimensions/0"),
        ("traverse", {"low": 3, "high": 2}, 422, "/low"),
    ]
    for verb, body, status, pointer in refusals:
        with pytest.raises(ClientError) as refused:
            stack.predict("drawn-digits", verb, body)
        assert (refused.value.status, refused.value.errors[0].pointer) == (status, pointer)
    with pytest.raises(ClientError) as unknown:
        stack.predict("drawn-digits", "classify", {"inputs": inputs})
    assert unknown.value.status == 404
    assert "sample, encode, reconstruct, interpolate, traverse" in str(unknown.value)
