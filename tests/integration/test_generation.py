"""A generative model through the real stack: trained, every verb over HTTP as numbers and as a picture, refusals."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from PIL import Image

from app.client import ClientError
from gateways import Gateway
from integration.generative import add_bars, images, trained

if TYPE_CHECKING:
    from integration.conftest import StackClient


@pytest.mark.slow
def test_digits_are_encoded_drawn_and_walked_through(stack: StackClient, tmp_path: Path) -> None:
    """From a job on built-in digits to every verb; a hundred samples begin with what one sample is."""
    card = trained(
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

    many = images(stack.predict("drawn-digits", "sample", {"count": 100, "seed": 3}))
    one = images(stack.predict("drawn-digits", "sample", {"count": 1, "seed": 3}))
    assert many.shape == (100, 8, 8)
    assert np.array_equal(many[:1], one)
    assert 0 <= many.min() < 0.05
    assert 0.95 < many.max() <= 1

    digits = [item["image"] for item in stack.preview("digits", split="test", count=20)["items"]]
    inputs = [{"image": image} for image in digits]
    encoded: Any = stack.predict("drawn-digits", "encode", {"inputs": inputs})
    means = images(encoded, "mean")
    assert means.shape == (20, 6)
    again = images(stack.predict("drawn-digits", "reconstruct", {"inputs": inputs}))
    kept = images(stack.predict("drawn-digits", "sample", {"count": 1, "codes": {"latent": means[0].tolist()}}))
    assert np.array_equal(kept[0], again[0])
    told: Any = stack.predict("drawn-digits", "score", {"inputs": inputs, "samples": 50})
    assert images(told, "importance_bound").mean() > images(told, "elbo").mean() + 0.1

    walk = images(
        stack.predict("drawn-digits", "interpolate", {"start": inputs[0], "end": {"input": inputs[1]}, "steps": 5})
    )
    assert np.array_equal(walk[[0, -1]], again[:2])
    rows: Any = stack.predict("drawn-digits", "traverse", {"input": inputs[0], "steps": 3})
    assert sorted(row["dimension"] for row in rows["predictions"]) == list(range(6))
    assert images(rows, "images").shape == (6, 3, 8, 8)
    divergences = [row["divergence"] for row in rows["predictions"]]
    assert divergences == sorted(divergences, reverse=True)
    _check_pictures(stack, inputs)
    _check_refusals(stack, inputs)
    _check_replicas(stack, tmp_path)


@pytest.mark.slow
def test_shades_are_published_after_the_shortest_training(stack: StackClient) -> None:
    """What the parts score is what the trained model does, however rough it is; no other task takes the name over."""
    body: dict[str, Any] = {
        "family": "vae",
        "dataset": "digits",
        "model": "shades",
        "config": {"likelihood": "gaussian"},
        "training": {"epochs": 3},
    }
    assert trained(stack, body)["metrics"]["test"]["reconstruction"] > 0, "a density, of pixels that hardly vary"
    with pytest.raises(ClientError, match="another model name") as refused:
        stack.submit({"family": "mlp", "dataset": "digits", "model": "shades"})
    assert refused.value.status == 409
    assert stack.submit({**body, "training": {"epochs": 1}}).model == "shades"


@pytest.mark.slow
def test_uploaded_factors_end_in_scores_beside_baselines(stack: StackClient, tmp_path: Path) -> None:
    """Bars at a row and a column: the card scores the code and four others; without factors the wish is refused."""
    add_bars(stack, "bars", tmp_path, 800, 12)
    body: dict[str, Any] = {
        "family": "vae",
        "dataset": "bars",
        "model": "bars",
        "config": {"latent": 4, "hidden_sizes": [64], "beta": 2.0},
        "training": {"epochs": 40, "learning_rate": 0.003, "batch_size": 32},
    }
    metrics = trained(stack, body)["metrics"]
    groups = ["untrained", "pca", "fastica", "raw_pixels"]
    assert set(metrics) == {"validation", "test", "disentanglement", *(f"disentanglement_{name}" for name in groups)}
    scores = [value for group, found in metrics.items() if group.startswith("dis") for value in found.values()]
    assert len(scores) == 5 * 8
    assert all(0 <= score <= 1 for score in scores)
    assert metrics["disentanglement"]["beta_vae"] > 0.9
    with pytest.raises(ClientError) as refused:
        stack.submit({**body, "dataset": "digits", "config": {"disentanglement": True}})
    assert (refused.value.status, refused.value.errors[0].pointer) == (422, "/config/disentanglement")


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


def _check_replicas(stack: StackClient, folder: Path) -> None:
    """Another gateway on the same store sends the same bytes for a seed, alone and while both are asked by many."""
    body = {"count": 7, "seed": 11}

    def sampled(url: str) -> bytes:
        answer = httpx.post(f"{url}/v1/models/drawn-digits/sample", json=body, trust_env=False, timeout=60)
        return answer.raise_for_status().content

    def traversed(url: str, seed: int) -> int:
        asked = {"seed": seed, "steps": 2 + seed % 9}
        return httpx.post(f"{url}/v1/models/drawn-digits/traverse", json=asked, trust_env=False, timeout=60).status_code

    store = (stack.home / "store").as_uri()
    with Gateway(folder, LECTERN_STORE_URL=store, LECTERN_PROCESSES="1") as other, ThreadPoolExecutor(8) as threads:
        urls = (stack.base_url, other.url)
        alone = [sampled(url) for url in urls]
        others = [threads.submit(traversed, urls[seed % 2], seed) for seed in range(60)]
        busy = [future.result() for future in [threads.submit(sampled, urls[turn % 2]) for turn in range(20)]]
        assert {future.result() for future in others} == {200}
    assert set(alone) == set(busy)
    assert len(set(alone)) == 1


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
