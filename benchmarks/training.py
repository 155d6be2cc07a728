"""Epoch time of Lectern's trainer against bare PyTorch loops: ``make bench-training``.

Both train the same net on the same 60,000 images in memory with fused Adam, a linearly decayed rate and the same
shuffling. They take turns of a quarter of a second in one process, each as many steps as the other, so that what else
the machine does slows both alike; on a GPU both wait for each step, as both read its loss. ``mlp`` is 784-512-512-10
with dropout 0.2 and 0.5 in batches of 128, ``cnn`` its default network in batches of 64: one bare loop lays the images
out as torch does unless told, the other with their channels last as Lectern does, and the ratio is to the faster one.
The bare loops hold normalised float32 images; Lectern holds the bytes and normalises inside the network.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import mnist
from benchmarks.machine import describe
from models.catalog import Catalog
from models.contract.jobs import Progress
from workers.devices import make_repeatable
from workers.training import prepare, train

META: Mapping[str, object] = {
    "height": 28,
    "width": 28,
    "channels": None,
    "classes": [str(k) for k in range(10)],
    "value_range": [0, 255],
    "pixel_mean": 0.0,
    "pixel_standard_deviation": 1.0,
}


@dataclass(frozen=True)
class Subject:
    """One net, as Lectern's configuration and written by hand.

    Attributes:
        family: which trains it in Lectern.
        config: its options.
        batch_size: examples per step.
        rate: initial learning rate.
        bare: makes the net and lays out images (count, 28, 28) float32, by the name of the bare loop.
    """

    family: str
    config: Mapping[str, object]
    batch_size: int
    rate: float
    bare: Mapping[str, Callable[[Tensor], tuple[nn.Module, Tensor]]]


def _mlp(images: Tensor) -> tuple[nn.Module, Tensor]:
    hidden = [nn.Dropout(0.2), nn.Linear(784, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 512), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Dropout(0.5), nn.Linear(512, 10)), images.flatten(1)


def _cnn(images: Tensor) -> tuple[nn.Module, Tensor]:
    first = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*first, *second, nn.Linear(1568, 128), nn.ReLU(), nn.Linear(128, 10)), images.unsqueeze(1)


def _cnn_channels_last(images: Tensor) -> tuple[nn.Module, Tensor]:
    net, _ = _cnn(images)
    return cast("Any", net).to(memory_format=torch.channels_last), images.unsqueeze(3).permute(0, 3, 1, 2)


SUBJECTS = (
    Subject("mlp", {"hidden_sizes": [512, 512], "dropout_input": 0.2, "dropout": 0.5}, 128, 1e-3, {"bare": _mlp}),
    Subject("cnn", {}, 64, 2e-3, {"bare": _cnn, "bare, channels last": _cnn_channels_last}),
)


class _Turns:
    """An observer that lets bare loops catch up at each report of the training, all in the one thread."""

    def __init__(self, family: str, bare: Mapping[str, Generator[float, int, None]], epochs: int) -> None:
        self.seconds = [dict.fromkeys(("lectern", *bare), 0.0) for _ in range(epochs)]
        self._family, self._bare = family, bare
        self._epoch = self._step = 0
        self._started = time.perf_counter()

    def progress(self, progress: Progress) -> None:
        """Book the training's turn, and take one of as many steps in each bare loop."""
        times = self.seconds[self._epoch]
        times["lectern"] += time.perf_counter() - self._started
        if progress.step > self._step:
            for loop, turns in self._bare.items():
                times[loop] += turns.send(progress.step - self._step)
        self._step = progress.step
        if progress.epoch > self._epoch:
            print(f"{self._family} epoch {progress.epoch}: {_listing(times)}", flush=True)
            self._epoch = progress.epoch
        self._started = time.perf_counter()

    def epoch(self, epoch: int, metrics: object) -> None:
        """Hear nothing."""

    def checkpoint(self, state: object, step: int) -> None:
        """Keep nothing."""


def bare_turns(subject: Subject, loop: str, images: Tensor, labels: Tensor, epochs: int) -> Generator[float, int, None]:
    """Yield the seconds of as many steps of a plain loop as are sent, on the device of ``images`` and ``labels``."""
    torch.manual_seed(0)
    net, images = subject.bare[loop](images)
    net.to(images.device)
    optimizer = torch.optim.Adam(net.parameters(), lr=subject.rate, fused=True)
    total_steps, step = epochs * -(-len(images) // subject.batch_size), 0
    left = yield 0.0
    started = time.perf_counter()
    for _ in range(epochs):
        net.train()
        total = correct = 0.0
        order = torch.randperm(len(images), device=images.device)
        for indices in cast("list[Tensor]", order.split(subject.batch_size)):
            batch, truth = images[indices], labels[indices]
            for group in optimizer.param_groups:
                group["lr"] = subject.rate * (1 - step / total_steps)
            optimizer.zero_grad(set_to_none=True)
            logits = net(batch)
            loss = functional.cross_entropy(logits, truth)
            cast("Any", loss).backward()
            optimizer.step()
            total += loss.item() * len(indices)
            correct += (logits.argmax(dim=1) == truth).sum().item()
            step, left = step + 1, left - 1
            if left == 0:
                left = yield time.perf_counter() - started
                started = time.perf_counter()


def measure(subject: Subject, data: Mapping[str, Any], epochs: int, device: torch.device) -> None:
    """Print the seconds of each epoch, the medians and the median of the ratios to the faster bare loop."""
    labels = data["train_labels"].astype("int64")
    images = torch.from_numpy(data["train_images"]).to(device).float().div(255)
    truth = torch.from_numpy(labels).to(device)
    bare = {loop: bare_turns(subject, loop, images, truth, epochs) for loop in subject.bare}
    for turns in bare.values():
        next(turns)
    catalog = Catalog()
    spec = catalog.spec(subject.family)
    training = {"epochs": epochs, "batch_size": subject.batch_size, "learning_rate": subject.rate}
    family = catalog.family(subject.family)(spec.config.parse(subject.config), META)
    split = {"images": data["train_images"], "labels": labels}
    run = prepare(family, spec.training.parse(training), {"train": split}, device)
    observer = _Turns(subject.family, bare, epochs)
    train(run, observer)
    table = observer.seconds
    medians = {loop: statistics.median(times[loop] for times in table[1:]) for loop in table[0]}
    fastest = min(bare, key=lambda loop: medians[loop])
    ratios = [times["lectern"] / times[fastest] for times in table[1:]]
    spread = f"from {min(ratios):.3f} to {max(ratios):.3f}"
    print(
        f"{subject.family} median: {_listing(medians)}; ratio to '{fastest}' {statistics.median(ratios):.3f} ({spread})"
    )


def _listing(seconds: Mapping[str, float]) -> str:
    return "   ".join(f"{loop} {time_:6.2f} s" for loop, time_ in seconds.items())


def main() -> None:
    """Measure the subjects one after another."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [subject.family for subject in SUBJECTS]
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"{' or '.join(names)} (default: all)")
    parser.add_argument("--epochs", type=int, default=7, help="epochs of each, the first not counted (default 7)")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default 1)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to train (default cpu)")
    parser.add_argument(
        "--any-order", action="store_true", help="let a GPU add in whatever order is fastest, as no job does"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.families) - set(names)
    if unknown:
        parser.error(f"no bare loop for {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    data = mnist.arrays()
    device = torch.device(arguments.device)
    if not arguments.any_order:
        make_repeatable(device)
    card = f"; {torch.cuda.get_device_name()}" if device.type == "cuda" else ""
    print(f"{describe('torch')}; {arguments.threads} thread(s){card}")
    for subject in SUBJECTS:
        if not arguments.families or subject.family in arguments.families:
            measure(subject, data, arguments.epochs, device)


if __name__ == "__main__":
    main()
