"""What the rows of image classifiers have in common: the upload, test errors, a table, the size of an export."""

from __future__ import annotations

import io
import statistics
import tarfile
from collections.abc import Sequence

import httpx
import onnx
from pydantic import JsonValue

from app.client import Client
from app.schemas import ModelCard
from benchmarks import mnist
from benchmarks.row import Cards

CLASSIFIER = "classifier.onnx"


def upload(client: Client, corpus: str) -> None:
    """Upload the corpus under its name, all of its training images to train on, unless it is there already."""
    if corpus not in {dataset.name for dataset in client.datasets()}:
        options: dict[str, JsonValue] = {"validation_fraction": 0}
        client.add_dataset(corpus, "images", mnist.files(corpus), options)


def errors(runs: Sequence[ModelCard]) -> list[float]:
    """Return the test error of each run in per cent."""
    return [100 * run.metrics["test"]["error"] for run in runs]


def mean_error(runs: Sequence[ModelCard]) -> float:
    """Return the mean test error in per cent."""
    return statistics.mean(errors(runs))


def table(client: Client, cards: Cards) -> str:
    """Return a line for each variant: weights, epochs, error."""
    lines = ["| variant | weights | epochs | test error, mean of 3 | per seed |", "|---|---|---|---|---|"]
    for name, runs in cards.items():
        each = ", ".join(f"{value:.2f}" for value in errors(runs))
        weights, epochs = weights_of(client, runs[0]), runs[0].training["epochs"]
        lines.append(f"| {name} | {weights:,} | {epochs} | {mean_error(runs):.2f} % | {each} |")
    return "\n".join(lines)


def weights_of(client: Client, card: ModelCard) -> int:
    """Return how many numbers the exported classifier holds in arrays; single numbers are not counted."""
    url = f"{client.base_url}/v1/models/{card.model}/versions/{card.version}/artifact"
    content = httpx.get(url, trust_env=False).raise_for_status().content
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        (member,) = (item for item in archive.getmembers() if item.name.endswith(CLASSIFIER))
        file = archive.extractfile(member)
        assert file is not None
        graph = onnx.load_from_string(file.read()).graph
    arrays = [onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer]
    return sum(array.size for array in arrays if array.ndim and array.dtype.kind == "f")
