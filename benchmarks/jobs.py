"""What a job's supervision costs, and how soon a job begins: ``make bench-jobs``.

First the time from the submission over HTTP to the first step of the training, on a stack whose worker is idle: with a
trainer that has loaded torch beforehand, and without (``LECTERN_WARM_TRAINERS=0``). Then the seconds of training of the
same ``mlp`` on MNIST (from ``LECTERN_DATA``) as a job, with lease, beats, events and checkpoints as they are by
default, and alone: the bare loop of the trainer in a process of its own, watched by nobody. Both take turns, on one
thread.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from app.cli.address import free_address
from app.cli.log_files import LogFiles
from app.cli.stack import Stack, StackOptions
from app.client import Client
from benchmarks import mnist
from benchmarks.machine import describe

COLD_SECONDS = 2.5
WARM_SECONDS = 0.5
OVERHEAD = 0.03
IDLE_SECONDS = 5.0
"""How long the worker is left alone before a job, as it is when somebody comes to it."""

DIGITS: Mapping[str, Any] = {"family": "mlp", "dataset": "digits", "model": "digits", "training": {"epochs": 50}}
CONFIG: Mapping[str, Any] = {"hidden_sizes": [512, 512], "dropout": 0.5, "dropout_input": 0.2}

ALONE = """
import sys, time
import orjson, torch
from models.artifacts.datasets import Datasets
from models.artifacts.store import ArtifactStore
from models.catalog import Catalog
from workers.training import prepare, train

class Nobody:
    def progress(self, progress): pass
    def epoch(self, epoch, metrics): pass
    def checkpoint(self, state, step): pass

order, catalog = orjson.loads(sys.argv[1]), Catalog()
datasets = Datasets(ArtifactStore(order["store"]), catalog)
record = datasets.record("mnist")
spec = catalog.spec("mlp")
torch.set_num_threads(1)
torch.set_flush_denormal(True)
family = catalog.family("mlp")(spec.config.parse(order["config"]), record.meta)
options = spec.training.parse(order["training"])
run = prepare(family, options, datasets.content(record).splits, torch.device("cpu"))
started = time.monotonic()
train(run, Nobody())
print(time.monotonic() - started)
"""


def main() -> None:
    """Print both measurements; exit with 1 if a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="first steps awaited, of each kind (default 7)")
    parser.add_argument("--rounds", type=int, default=5, help="trainings of each kind (default 5)")
    parser.add_argument("--epochs", type=int, default=6, help="epochs of each training (default 6)")
    options = parser.parse_args()
    files = mnist.files()
    print(describe("torch", "celery", "redis"))
    kept = [
        _first_step("cold", {"LECTERN_WARM_TRAINERS": "0"}, options.runs, COLD_SECONDS),
        _first_step("warm", {"LECTERN_WARM_TRAINERS": "1"}, options.runs, WARM_SECONDS),
        _overhead(files, options.rounds, options.epochs),
    ]
    sys.exit(0 if all(kept) else 1)


def _first_step(name: str, environment: Mapping[str, str], runs: int, limit: float) -> bool:
    """Print the seconds from submission to first step; return whether their median is within ``limit``."""
    with _stack(environment) as (_, client):
        seconds: list[float] = []
        imports: list[float] = []
        for _ in range(runs):
            seconds.append(_seconds_to_first_step(client))
            imports.append(_seconds_to_import_torch())
    median = statistics.median(seconds)
    spread = f"from {min(seconds):.2f} to {max(seconds):.2f}"
    print(f"submission to first step, {name}: {median:.2f} s ({spread}; at most {limit} wanted)", flush=True)
    print(f"  beside it, `import torch` alone: {statistics.median(imports):.2f} s", flush=True)
    return median <= limit


def _seconds_to_first_step(client: Client) -> float:
    time.sleep(IDLE_SECONDS)
    started = time.monotonic()
    job = client.submit(dict(DIGITS))
    seconds = 0.0
    for event in client.events(job.id):
        if not seconds and event.event == "progress" and event.progress().step > 0:
            seconds = time.monotonic() - started
    return seconds


def _seconds_to_import_torch() -> float:
    """Return the seconds in which a new process imports torch, in turn with the jobs: what the machine is like now."""
    code = "import time; started = time.monotonic(); import torch; print(time.monotonic() - started)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(run.stdout)


def _overhead(files: Mapping[str, Path], rounds: int, epochs: int) -> bool:
    """Print the seconds of training as a job and alone; return whether the median ratio is within ``OVERHEAD``."""
    with _stack({"LECTERN_TRAINER_THREADS": "1", "LECTERN_WARM_TRAINERS": "0"}) as (stack, client):
        client.add_dataset("mnist", "images", files, {})
        training = {"epochs": epochs, "seed": 0}
        job = {"family": "mlp", "dataset": "mnist", "model": "mnist", "config": CONFIG, "training": training}
        ratios: list[float] = []
        for number in range(rounds):
            alone = _alone(stack, training)
            supervised = _as_a_job(client, job)
            ratios.append(supervised / alone)
            print(f"round {number + 1}: as a job {supervised:.2f} s, alone {alone:.2f} s", flush=True)
    overhead = statistics.median(ratios) - 1
    spread = f"from {min(ratios) - 1:+.1%} to {max(ratios) - 1:+.1%}"
    print(f"supervision costs {overhead:+.1%} of the training ({spread}; at most {OVERHEAD:.0%} wanted)")
    return overhead <= OVERHEAD


def _as_a_job(client: Client, job: Mapping[str, Any]) -> float:
    submitted = client.submit(dict(job))
    for _ in client.events(submitted.id):
        pass
    version = client.job(submitted.id).version
    if version is None:
        sys.exit(f"the training failed:\n{client.logs(submitted.id)}")
    return client.version("mnist", version).duration_seconds["train"]


def _alone(stack: Stack, training: Mapping[str, Any]) -> float:

    order = {"store": (stack.home / "store").as_uri(), "config": CONFIG, "training": training}
    command: Sequence[str] = [sys.executable, "-c", ALONE, orjson.dumps(order).decode()]
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


@contextmanager
def _stack(environment: Mapping[str, str]) -> Generator[tuple[Stack, Client]]:
    with tempfile.TemporaryDirectory() as folder, LogFiles(Path(folder) / "logs") as logs:
        own = {"LECTERN_STORE_URL": (Path(folder) / "store").as_uri(), **environment}
        options = StackOptions(Path(folder), free_address("127.0.0.1", 0), environment=own)
        with Stack(options, logs.emit) as stack, Client(stack.base_url) as client:
            yield stack, client


if __name__ == "__main__":
    main()
