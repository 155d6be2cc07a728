"""Adversarial families through the real stack: trained, drawn from with chosen codes, told of, refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from app.client import ClientError
from integration.generative import add_bars, images, trained

if TYPE_CHECKING:
    from pathlib import Path

    from integration.conftest import StackClient

QUALITY = {
    "fid",
    "fid_of_training_images",
    "fid_of_noise",
    "fid_of_untrained",
    "classes_covered",
    "neighbour_ratio",
    "parzen_log_likelihood",
    "parzen_of_training_images",
    "code_accuracy",
}


@pytest.mark.slow
def test_digits_are_drawn_by_their_codes(stack: StackClient) -> None:
    """From a job on built-in digits to samples of one category, walks, a card that tells anchors, and refusals."""
    body = {
        "family": "infogan",
        "dataset": "digits",
        "model": "coded-digits",
        "config": {"generator_channels": [32, 16], "discriminator_channels": [16, 32]},
        "training": {"epochs": 60, "batch_size": 64, "generator_learning_rate": 0.002},
    }
    card = trained(stack, body)
    assert card["verbs"] == ["sample", "interpolate", "traverse"]
    assert card["headline"] == "energy_distance"
    scores = card["metrics"]["quality"]
    assert set(scores) >= QUALITY
    assert scores["fid_of_training_images"] < scores["fid"] < scores["fid_of_untrained"]
    assert card["curves"][-1]["information"] > card["curves"][0]["information"] + 0.5
    names = [item["name"] for item in card["parts"]["generator"]["signature"]["inputs"]]
    assert names == ["noise", "c1", "c2", "c3"]

    chosen: Any = stack.predict("coded-digits", "sample", {"count": 9, "seed": 4, "codes": {"c1": 3, "c2": 0.5}})
    assert all((item["codes"]["c1"], item["codes"]["c2"]) == (3, 0.5) for item in chosen["predictions"])
    drawn = images(chosen)
    assert drawn.shape == (9, 8, 8)
    alone = images(stack.predict("coded-digits", "sample", {"count": 1, "seed": 4, "codes": {"c1": 3, "c2": 0.5}}))
    assert np.array_equal(drawn[:1], alone)
    other = images(stack.predict("coded-digits", "sample", {"count": 9, "seed": 4, "codes": {"c1": 5, "c2": 0.5}}))
    assert np.abs(drawn - other).max() > 0.1
    walked: Any = stack.predict("coded-digits", "traverse", {"seed": 4, "dimensions": ["c1", "c2"], "steps": 5})
    assert [len(row["images"]) for row in walked["predictions"]] == [10, 5]
    assert walked["predictions"][1]["values"] == [-1, -0.5, 0, 0.5, 1]
    _check_refusals(stack)


def _check_refusals(stack: StackClient) -> None:
    wrong = {
        "c1": [10, -1, 0.5, "three"],
        "c2": [1.5, "wide", [0.1, 0.2]],
        "c9": [0],
    }
    for name, values in wrong.items():
        for value in values:
            with pytest.raises(ClientError) as refused:
                stack.predict("coded-digits", "sample", {"count": 1, "codes": {name: value}})
            assert refused.value.status == 422, (name, value)
            assert f"/codes/{name}" in str(refused.value)
    with pytest.raises(ClientError, match=r"sample, interpolate(,| and) traverse") as refused:
        stack.predict("coded-digits", "encode", {"inputs": [np.zeros((8, 8)).tolist()]})
    assert refused.value.status == 404


@pytest.mark.slow
def test_collapse_is_told_while_the_job_runs(stack: StackClient) -> None:
    """A generator that is far too fast draws nearly one image, whatever the noise; the log says so, and what to do."""
    body = {
        "family": "gan",
        "dataset": "digits",
        "model": "collapsed-digits",
        "training": {"epochs": 4, "generator_learning_rate": 0.1},
    }
    card = trained(stack, body)
    assert card["curves"][-1]["variety"] < 0.25
    assert "\nwarning: collapse: what the generator draws varies" in card["log"]
    assert "training.gradient_penalty" in card["log"]


@pytest.mark.slow
def test_codes_of_images_with_factors_end_in_scores(stack: StackClient, tmp_path: Path) -> None:
    """Bars at a row and a column: what the second part reads is scored beside four other codes; samples take codes."""
    add_bars(stack, "coded-bars", tmp_path, 400, 8)
    body: dict[str, Any] = {
        "family": "infogan",
        "dataset": "coded-bars",
        "model": "coded-bars",
        "config": {"categorical_codes": [3], "generator_channels": [32, 16], "discriminator_channels": [16, 32]},
        "training": {"epochs": 3, "batch_size": 64},
    }
    card = trained(stack, body)
    groups = ["disentanglement", *(f"disentanglement_{name}" for name in ("untrained", "pca", "fastica", "raw_pixels"))]
    assert card["metrics"].keys() >= {"quality", *groups}
    scores = [value for group in groups for value in card["metrics"][group].values()]
    assert len(scores) == 5 * 8
    assert all(0 <= score <= 1 for score in scores)
    assert not {"fid", "code_accuracy"} & card["metrics"]["quality"].keys()
    outputs = card["parts"]["posterior"]["signature"]["outputs"]
    assert [(item["name"], item["shape"]) for item in outputs] == [
        ("c1", ["batch", 3]),
        ("c2", ["batch", 1]),
        ("c3", ["batch", 1]),
    ]
    assert card["verbs"] == ["sample", "interpolate", "traverse"]
    answer: Any = stack.predict("coded-bars", "sample", {"count": 2, "codes": {"c1": 2, "c3": -1}})
    assert images(answer).shape == (2, 8, 8)
    with pytest.raises(ClientError) as refused:
        stack.submit({**body, "dataset": "digits", "config": {"disentanglement": True}})
    assert (refused.value.status, refused.value.errors[0].pointer) == (422, "/config/disentanglement")
