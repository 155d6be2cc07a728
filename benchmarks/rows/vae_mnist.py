"""Binarised MNIST with the variational autoencoder: the bound, and the tighter one by importance weighting."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from pydantic import JsonValue

from app.client import Client
from app.schemas import ModelCard
from benchmarks import mnist
from benchmarks.row import Cards, Check, Report, Row
from models.contract.task import Array

BINARIZATION_SEED = 20_140_416
SCORED_EVERY = 5
IMPORTANCE_SAMPLES = 500
INPUTS_A_REQUEST = 100
LEAST_ELBO, LEAST_IMPORTANCE, LEAST_GAIN = -101.0, -96.0, 3.0


class VaeMnist(Row):
    """784-400-20, Bernoulli, Adam at 2e-3 decayed linearly to 0, batch 100, 20 epochs of 60,000 images."""

    title = "MNIST binarised, vae 784-400-20: evidence lower bound and importance-weighted bound"

    def seeds_of(self, variant: str) -> Sequence[int]:
        """Return three seeds for the headline, one for the others."""
        return self.seeds if variant == "latent-20" else self.seeds[:1]

    def upload(self, client: Client) -> None:
        """Upload the images: training ones in shades, drawn anew in each step; test ones binarised once for all."""
        if "mnist-binarised" in {dataset.name for dataset in client.datasets()}:
            return
        data = mnist.arrays()
        with tempfile.TemporaryDirectory() as folder:
            train, test = Path(folder) / "train.npz", Path(folder) / "test.npz"
            np.savez(train, images=data["train_images"], labels=data["train_labels"])
            np.savez(test, images=binarised(data["test_images"]), labels=data["test_labels"])
            client.add_dataset("mnist-binarised", "images", {"train": train, "test": test}, {"validation_fraction": 0})

    def variants(self) -> Mapping[str, Mapping[str, JsonValue]]:
        """Return the headline, and a latent too small for digits as the control."""
        return {
            "latent-20": _submission(20),
            "latent-2": _submission(2),
        }

    def report(self, client: Client, cards: Cards) -> Report:
        """Return both bounds of each variant, the second over HTTP."""
        images = binarised(mnist.arrays()["test_images"])[::SCORED_EVERY]
        table = [
            f"| variant | ELBO | divergence | active | ELBO of {len(images)} | bound of {IMPORTANCE_SAMPLES} samples |",
            "|---|---|---|---|---|---|",
        ]
        bounds: dict[str, tuple[float, float]] = {}
        elbos: dict[str, float] = {}
        for variant, runs in cards.items():
            found = [_bounds(client, card, images) for card in runs]
            bounds[variant] = (statistics.mean(one for one, _ in found), statistics.mean(other for _, other in found))
            elbos[variant] = _mean(runs, "elbo")
            table.append(
                f"| {variant} | {elbos[variant]:.2f} ({_each(runs, 'elbo')}) | {_mean(runs, 'divergence'):.2f} | "
                f"{_mean(runs, 'active_dimensions'):.1f} | {bounds[variant][0]:.2f} | {bounds[variant][1]:.2f} |"
            )
        low, high = bounds["latent-20"]
        checks = [
            Check(f"ELBO {elbos['latent-20']:.2f} ≥ {LEAST_ELBO:g}, mean of 3 seeds", elbos["latent-20"] >= LEAST_ELBO),
            Check(f"importance-weighted bound {high:.2f} ≥ {LEAST_IMPORTANCE:g}", high >= LEAST_IMPORTANCE),
            Check(
                f"and above the ELBO of the same images by {high - low:.2f} ≥ {LEAST_GAIN:g}", high - low >= LEAST_GAIN
            ),
            Check(
                f"control: two dimensions reach {elbos['latent-2']:.2f}, below {LEAST_ELBO:g}",
                elbos["latent-2"] < LEAST_ELBO,
            ),
        ]
        return Report("\n".join(table), checks)


ROW = VaeMnist()


def binarised(images: Array) -> Array:
    """Return pixels drawn black or white, white as likely as they are bright: always the same draw."""
    random = np.random.Generator(np.random.Philox(BINARIZATION_SEED))
    white = cast("Array", random.random(images.shape) * 255 < images)
    return cast("Array", np.where(white, np.uint8(255), np.uint8(0)))


def _submission(latent: int) -> dict[str, JsonValue]:
    return {
        "family": "vae",
        "dataset": "mnist-binarised",
        "config": {"latent": latent, "hidden_sizes": [400], "binarization": "sample"},
        "training": {"epochs": 20, "batch_size": 100, "learning_rate": 2e-3, "schedule": "linear"},
    }


def _bounds(client: Client, card: ModelCard, images: Array) -> tuple[float, float]:
    """Return the mean ELBO and the mean importance-weighted bound of the served model."""
    elbo = bound = 0.0
    for begin in range(0, len(images), INPUTS_A_REQUEST):
        body = {"inputs": images[begin : begin + INPUTS_A_REQUEST].tolist(), "samples": IMPORTANCE_SAMPLES}
        answer = cast("Any", client.predict(card.model, "score", body))
        elbo += sum(item["elbo"] for item in answer["predictions"])
        bound += sum(item["importance_bound"] for item in answer["predictions"])
    return elbo / len(images), bound / len(images)


def _mean(runs: Sequence[ModelCard], name: str) -> float:
    return statistics.mean([run.metrics["test"][name] for run in runs])


def _each(runs: Sequence[ModelCard], name: str) -> str:
    return ", ".join(f"{run.metrics['test'][name]:.2f}" for run in runs)
