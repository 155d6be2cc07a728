"""Epoch time of Lectern's trainer against a bare PyTorch loop: ``make bench-training``.

Both train the same net (784-512-512-10, dropout 0.2 and 0.5) on the same 60,000 images in memory with fused Adam,
batch 128, a linearly decayed rate and the same shuffling; epochs of one and the other alternate in one process.
The bare loop holds normalised float32 images; Lectern holds the bytes and normalises inside the network.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import mnist
from benchmarks.machine import describe
from models.catalog import Catalog
from workers.training import Observer, prepare, train

BATCH = 128
RATE = 1e-3


class _EpochClock:
    """An observer that lets the training go on by one epoch at a time."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick = tick

    def progress(self, progress: object) -> None:
        """Hear nothing."""

    def epoch(self, epoch: int, metrics: object) -> None:
        """Mark the end of an epoch."""
        del epoch, metrics
        self._tick()

    def checkpoint(self, state: object, step: int) -> None:
        """Keep nothing."""


def bare_epochs(images: Tensor, labels: Tensor, epochs: int) -> Iterator[float]:
    """Yield the seconds of each epoch of a plain loop."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Dropout(0.2),
        nn.Linear(784, 512),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(512, 512),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(512, 10),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, fused=True)
    steps, step = epochs * -(-len(images) // BATCH), 0
    for _ in range(epochs):
        started = time.perf_counter()
        net.train()
        total = correct = 0.0
        for indices in cast("list[Tensor]", torch.randperm(len(images)).split(BATCH)):
            batch, truth = images[indices], labels[indices]
            for group in optimizer.param_groups:
                group["lr"] = RATE * (1 - step / steps)
            optimizer.zero_grad(set_to_none=True)
            logits = net(batch)
            loss = functional.cross_entropy(logits, truth)
            cast("Any", loss).backward()
            optimizer.step()
            total += loss.item() * len(indices)
            correct += (logits.argmax(dim=1) == truth).sum().item()
            step += 1
        yield time.perf_counter() - started


def lectern_epochs(split: dict[str, object], epochs: int) -> Iterator[float]:
    """Yield the seconds of each epoch of Lectern's loop, run in a thread that waits between epochs."""
    import threading  # noqa: PLC0415

    go, done = threading.Semaphore(0), threading.Semaphore(0)

    def tick() -> None:
        done.release()
        go.acquire()

    catalog = Catalog()
    spec = catalog.spec("mlp")
    meta = {
        "height": 28,
        "width": 28,
        "channels": None,
        "classes": [str(k) for k in range(10)],
        "value_range": [0, 255],
        "pixel_mean": 0.0,
        "pixel_standard_deviation": 1.0,
    }
    config = spec.config.parse({"hidden_sizes": [512, 512], "dropout_input": 0.2, "dropout": 0.5})
    options = spec.training.parse({"epochs": epochs, "batch_size": BATCH, "learning_rate": RATE})
    run = prepare(catalog.family("mlp")(config, meta), options, {"train": split}, torch.device("cpu"))
    observer: Observer = _EpochClock(tick)

    def body() -> None:
        go.acquire()
        train(run, observer)

    worker = threading.Thread(target=body, daemon=True)
    worker.start()
    for _ in range(epochs):
        started = time.perf_counter()
        go.release()
        done.acquire()
        yield time.perf_counter() - started
    go.release()
    worker.join()


def main() -> None:
    """Print the seconds of each epoch, the medians and the median of the pairwise ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=7, help="epochs of each, the first not counted (default 7)")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default 1)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    data = mnist.arrays()
    labels = torch.from_numpy(data["train_labels"].astype("int64"))
    images = torch.from_numpy(data["train_images"]).float().div(255).flatten(1)
    split: dict[str, object] = {
        "images": data["train_images"],
        "labels": data["train_labels"].astype("int64"),
    }
    print(describe("torch"), f"; {arguments.threads} thread(s)")
    pairs: list[tuple[float, float]] = []
    lectern = lectern_epochs(split, arguments.epochs)
    bare = bare_epochs(images, labels, arguments.epochs)
    for index, (ours, theirs) in enumerate(zip(lectern, bare, strict=True)):
        print(
            f"epoch {index + 1}: lectern {ours:6.2f} s   bare {theirs:6.2f} s   ratio {ours / theirs:.3f}",
            flush=True,
        )
        if index:
            pairs.append((ours, theirs))
    ratios = [ours / theirs for ours, theirs in pairs]
    print(
        f"median: lectern {statistics.median(item[0] for item in pairs):.2f} s, "
        f"bare {statistics.median(item[1] for item in pairs):.2f} s, ratio {statistics.median(ratios):.3f} "
        f"(from {min(ratios):.3f} to {max(ratios):.3f})"
    )


if __name__ == "__main__":
    main()
