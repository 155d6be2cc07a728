"""LeNet-5 on MNIST (LeCun et al. 1998, §II.B and §III), with a multilayer perceptron of as many weights beside it."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from app.client import Client
from benchmarks import classifiers
from benchmarks.row import Cards, Check, Report, Row

LARGEST_ERROR = 1.2
TRAINING: dict[str, JsonValue] = {"epochs": 10, "batch_size": 64, "learning_rate": 2e-3}
LENET: dict[str, JsonValue] = {
    "blocks": [
        {"channels": 6, "kernel": 5, "padding": "same", "activation": "tanh", "pooling": {"kind": "average"}},
        {"channels": 16, "kernel": 5, "padding": "valid", "activation": "tanh", "pooling": {"kind": "average"}},
    ],
    "hidden_sizes": [120, 84],
    "activation": "tanh",
}


class LeNet5(Row):
    """61,706 weights and 62,020: Adam at 2e-3 decayed linearly to 0, batch 64, 10 epochs, no distortions."""

    title = "MNIST, LeNet-5 and an mlp of its size"

    def upload(self, client: Client) -> None:
        """Upload MNIST."""
        classifiers.upload(client, "mnist")

    def variants(self) -> Mapping[str, Mapping[str, JsonValue]]:
        """Return LeNet-5 and the control, 784-78-10."""
        return {
            "lenet-5": {"family": "cnn", "dataset": "mnist", "config": LENET, "training": TRAINING},
            "mlp-78": {"family": "mlp", "dataset": "mnist", "config": {"hidden_sizes": [78]}, "training": TRAINING},
        }

    def report(self, client: Client, cards: Cards) -> Report:
        """Return both errors; the paper has 0.95 % after 20 passes of its own training (§III.B)."""
        error, control = (classifiers.mean_error(cards[name]) for name in ("lenet-5", "mlp-78"))
        checks = [
            Check(f"LeNet-5 {error:.2f} % ≤ {LARGEST_ERROR} %", error <= LARGEST_ERROR),
            Check(f"an mlp with as many weights, {control:.2f} %, stays above", control > LARGEST_ERROR),
        ]
        return Report(classifiers.table(client, cards), checks)


ROW = LeNet5()
