"""MNIST with the multilayer perceptron: dropout and max-norm (Srivastava et al. 2014, §6.1.1 and Table 9)."""

from __future__ import annotations

import io
import statistics
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
from pydantic import JsonValue

from app.client import Client
from app.schemas import ModelCard
from benchmarks import mnist
from benchmarks.row import Cards, Check, Report, Row
from models.contract.task import Array

SMALL = 5_000
BATCH = 250
V2_EXAMPLES = 500
LARGEST_NORM = 1.5
DROPOUT: dict[str, JsonValue] = {"dropout_input": 0.2, "dropout": 0.5}


class MnistMlp(Row):
    """2 × 512 ReLU units, pixels scaled to [0, 1], Adam at 1e-3 decayed linearly to 0, batch 128."""

    title = "MNIST, mlp 2×512: dropout and max-norm"

    def upload(self, client: Client) -> None:
        """Upload all training images, and the first 5,000 as a dataset of their own, with the same test images."""
        present = {dataset.name for dataset in client.datasets()}
        files = mnist.files()
        options: dict[str, JsonValue] = {"validation_fraction": 0}
        if "mnist" not in present:
            client.add_dataset("mnist", "images", files, options)
        if "mnist-5000" not in present:
            data = mnist.arrays()
            with tempfile.TemporaryDirectory() as folder:
                train = Path(folder) / "train.npz"
                np.savez(train, images=data["train_images"][:SMALL], labels=data["train_labels"][:SMALL])
                test = {part: path for part, path in files.items() if part.startswith("test")}
                client.add_dataset("mnist-5000", "images", {"train": train, **test}, options)

    def variants(self) -> Mapping[str, Mapping[str, JsonValue]]:
        """Return the five variants."""
        return {
            "none": _submission("mnist", {}, 20),
            "dropout": _submission("mnist", DROPOUT, 20),
            "max-norm": _submission("mnist", {**DROPOUT, "max_norm": LARGEST_NORM}, 20),
            "none-5000": _submission("mnist-5000", {}, 40),
            "dropout-5000": _submission("mnist-5000", DROPOUT, 40),
        }

    def report(self, client: Client, cards: Cards) -> Report:
        """Return the error of each variant, and the checks of the served models."""
        errors = {name: _errors(runs) for name, runs in cards.items()}
        means = {name: statistics.mean(values) for name, values in errors.items()}
        table = ["| variant | training images | epochs | test error, mean of 3 | per seed |", "|---|---|---|---|---|"]
        for name, runs in cards.items():
            count = runs[0].dataset.counts["train"]
            each = ", ".join(f"{value:.2f}" for value in errors[name])
            table.append(f"| {name} | {count} | {runs[0].training['epochs']} | {means[name]:.2f} % | {each} |")
        norms = max(_largest_norm(client, card) for card in cards["max-norm"])
        checks = [
            Check(f"dropout {means['dropout']:.2f} % ≤ 1.60 %", means["dropout"] <= 1.60),
            Check(
                f"dropout {means['dropout']:.2f} % below none {means['none']:.2f} %", means["dropout"] < means["none"]
            ),
            Check(
                f"5,000 images: dropout {means['dropout-5000']:.2f} % beats none {means['none-5000']:.2f} % by ≥ 0.7",
                means["none-5000"] - means["dropout-5000"] >= 0.7,
            ),
            Check(
                f"max-norm {LARGEST_NORM}: {means['max-norm']:.2f} % ≤ 1.65 %, largest row norm {norms:.6f}",
                means["max-norm"] <= 1.65 and norms <= LARGEST_NORM,
            ),
            *_served(client, cards["dropout"][0]),
        ]
        return Report("\n".join(table), checks)


ROW = MnistMlp()


def _submission(dataset: str, config: Mapping[str, JsonValue], epochs: int) -> dict[str, JsonValue]:
    return {
        "family": "mlp",
        "dataset": dataset,
        "config": {"hidden_sizes": [512, 512], "normalization": "scale", **config},
        "training": {
            "epochs": epochs,
            "batch_size": 128,
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "schedule": "linear",
        },
    }


def _errors(runs: Sequence[ModelCard]) -> list[float]:
    return [100 * run.metrics["test"]["error"] for run in runs]


def _largest_norm(client: Client, card: ModelCard) -> float:
    """Return the largest norm of the weights into one unit, over all layers of the exported graph."""
    url = f"{client.base_url}/v1/models/{card.model}/versions/{card.version}/artifact"
    content = httpx.get(url, trust_env=False).raise_for_status().content
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        graphs = [archive.extractfile(member) for member in archive.getmembers() if member.name.endswith(".onnx")]
        models = [onnx.load_from_string(graph.read()) for graph in graphs if graph is not None]
    weights = [onnx.numpy_helper.to_array(tensor) for model in models for tensor in model.graph.initializer]
    # The exporter keeps weights as (units, inputs), transposed in the graph.
    return max(float(np.linalg.norm(weight, axis=1).max()) for weight in weights if weight.ndim == 2)


def _served(client: Client, card: ModelCard) -> list[Check]:
    """Classify the test images over HTTP, on both interfaces."""
    data = mnist.arrays()
    images, labels = data["test_images"], data["test_labels"]
    right = 0
    for start in range(0, len(images), BATCH):
        body = {"inputs": images[start : start + BATCH].tolist(), "top": 1}
        answer: Any = client.predict(card.model, "classify", body)
        truth = labels[start : start + BATCH]
        right += sum(item["label"] == str(label) for item, label in zip(answer["predictions"], truth, strict=True))
    accuracy, promised = right / len(images), card.metrics["test"]["accuracy"]
    gap = _largest_gap(client, card, images[:V2_EXAMPLES])
    return [
        Check(
            f"{len(images)} images over HTTP: accuracy {accuracy!r}, the card says {promised!r}", accuracy == promised
        ),
        Check(f"/v1 and /v2 agree on {V2_EXAMPLES} images: largest difference {gap:.1e}", gap == 0.0),
    ]


def _largest_gap(client: Client, card: ModelCard, images: Array) -> float:
    """Return the largest difference of a probability between the two interfaces, as the float32 that both send."""
    first: Any = client.predict(card.model, "classify", {"inputs": images.tolist(), "top": 10})
    tensor = {"name": "images", "datatype": "FP32", "shape": list(images.shape), "data": images.flatten().tolist()}
    url = f"{client.base_url}/v2/models/{card.model}/infer"
    reply = httpx.post(url, json={"inputs": [tensor]}, timeout=60, trust_env=False).raise_for_status().json()
    outputs = {item["name"]: np.reshape(item["data"], item["shape"]) for item in reply["outputs"]}
    gaps = [
        abs(np.float32(item["probability"]) - np.float32(outputs["probabilities"][row][int(item["label"])]))
        for row, prediction in enumerate(first["predictions"])
        for item in prediction["top"]
    ]
    return float(max(gaps))
