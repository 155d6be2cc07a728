"""MNIST with the convolutional network as it comes: two blocks, three epochs."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from app.client import Client
from benchmarks import classifiers
from benchmarks.row import Cards, Check, Report, Row

MOST_WEIGHTS = 250_000
LEAST_ACCURACY = 98.8
TRAINING: dict[str, JsonValue] = {"epochs": 3}


class MnistCnn(Row):
    """The default network and training (Adam at 2e-3 decayed linearly to 0, batch 64); softmax regression beside it."""

    title = "MNIST, cnn as it comes, 3 epochs"

    def upload(self, client: Client) -> None:
        """Upload MNIST."""
        classifiers.upload(client, "mnist")

    def variants(self) -> Mapping[str, Mapping[str, JsonValue]]:
        """Return the default network, and the control: no hidden layer at all, trained in the same way."""
        same = {**TRAINING, "batch_size": 64, "learning_rate": 2e-3}
        return {
            "cnn": {"family": "cnn", "dataset": "mnist", "training": TRAINING},
            "softmax-regression": {
                "family": "mlp",
                "dataset": "mnist",
                "config": {"hidden_sizes": []},
                "training": same,
            },
        }

    def report(self, client: Client, cards: Cards) -> Report:
        """Return the errors and whether the network is as small and as good as promised."""
        accuracy, control = (100 - classifiers.mean_error(cards[name]) for name in ("cnn", "softmax-regression"))
        weights = classifiers.weights_of(client, cards["cnn"][0])
        checks = [
            Check(f"{weights:,} weights ≤ {MOST_WEIGHTS:,}", weights <= MOST_WEIGHTS),
            Check(f"accuracy {accuracy:.2f} % ≥ {LEAST_ACCURACY} %", accuracy >= LEAST_ACCURACY),
            Check(f"softmax regression {control:.2f} % stays below", control < LEAST_ACCURACY),
        ]
        return Report(classifiers.table(client, cards), checks)


ROW = MnistCnn()
