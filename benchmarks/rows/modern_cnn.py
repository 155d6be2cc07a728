"""A small network of today on MNIST and Fashion-MNIST: batch normalisation, dropout, shifts (and flips of clothes)."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from app.client import Client
from benchmarks import classifiers
from benchmarks.row import Cards, Check, Report, Row

LARGEST_ERROR = {"mnist": 0.70, "fashion": 7.8}
CORPORA = {"mnist": "mnist", "fashion": "fashion_mnist"}
TRAINING: dict[str, JsonValue] = {
    "epochs": 8,
    "batch_size": 128,
    "learning_rate": 4e-3,
    "schedule": "one_cycle",
}
BLOCKS: list[JsonValue] = [
    {"channels": channels, "batch_norm": True, "pooling": {"kind": "max"} if pooled else None}
    for channels, pooled in ((16, False), (16, True), (32, False), (32, True))
]


class ModernCnn(Row):
    """16-16-pool-32-32-pool-128, dropout 0.4, shifts of a pixel: Adam, one cycle up to 4e-3, batch 128, 8 epochs."""

    title = "MNIST and Fashion-MNIST, a small modern cnn"

    def upload(self, client: Client) -> None:
        """Upload both corpora."""
        for corpus in CORPORA.values():
            classifiers.upload(client, corpus)

    def variants(self) -> Mapping[str, Mapping[str, JsonValue]]:
        """Return the network on both, and the control: an mlp of about as many weights on the harder one."""
        found: dict[str, dict[str, JsonValue]] = {}
        for name, corpus in CORPORA.items():
            config: dict[str, JsonValue] = {
                "blocks": BLOCKS,
                "hidden_sizes": [128],
                "dropout": 0.4,
                "augmentation": {"shift": 1, "horizontal_flip": name == "fashion"},
            }
            found[name] = {"family": "cnn", "dataset": corpus, "config": config, "training": TRAINING}
        control: dict[str, JsonValue] = {"hidden_sizes": [276]}
        rate = {**TRAINING, "learning_rate": 2e-3}
        found["fashion-mlp"] = {"family": "mlp", "dataset": CORPORA["fashion"], "config": control, "training": rate}
        return found

    def report(self, client: Client, cards: Cards) -> Report:
        """Return the errors on both."""
        means = {name: classifiers.mean_error(runs) for name, runs in cards.items()}
        checks = [
            Check(f"{name} {means[name]:.2f} % ≤ {largest:.2f} %", means[name] <= largest)
            for name, largest in LARGEST_ERROR.items()
        ]
        largest = LARGEST_ERROR["fashion"]
        control = f"fashion by an mlp of its size {means['fashion-mlp']:.2f} % stays above"
        return Report(classifiers.table(client, cards), [*checks, Check(control, means["fashion-mlp"] > largest)])


ROW = ModernCnn()
