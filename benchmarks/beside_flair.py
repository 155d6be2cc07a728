"""How fast a tagger trains beside Flair's: ``make bench-flair`` installs Flair in an environment of its own.

A one-layer BI-LSTM-CRF of 100 units over random word vectors of 100, Adam, sentences of 1 to 60 tokens in batches of
32, no further features: the same sentences, sizes, dropout and number of steps on both sides, one thread each, in
turns by epochs. The ratio is the median of those of each turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, cast

import torch

from benchmarks.machine import describe
from benchmarks.tagging import zipf_world
from models.catalog import Catalog
from models.contract.jobs import Progress
from models.data.kind import Content
from models.data.tag_schemes import spans_of
from workers.training import prepare, train

PACKAGES = ("flair==0.15.1", "torch==2.13.0")
ENVIRONMENT = Path(".bench/flair").absolute()
PROGRAM = Path(__file__).parent / "programs" / "flair_epochs.py"
SIZES = {"hidden": 100, "word_dimensions": 100, "dropout": 0.5}
TRAINING = {"batch_size": 32, "learning_rate": 2e-3, "gradient_clip": 5.0}
LEAST = 2.0


def main() -> int:
    """Print tokens per second of both; return 1 if Lectern does not train twice as fast."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=6, help="of each side, the first not counted (default 6)")
    epochs = parser.parse_args().epochs
    _install()
    torch.set_num_threads(1)
    print(describe("torch"), *PACKAGES)
    data, _ = zipf_world()
    split = data.splits["train"]
    tokens = [str(row).split("\n") for row in split["tokens"].tolist()]
    tags = [str(row).split("\n") for row in split["tags"].tolist()]
    sentences = [
        (row, [(span.start, span.end) for span in spans_of(own)]) for row, own in zip(tokens, tags, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("wb") as log:
        given = Path(folder) / "sentences.json"
        given.write_text(json.dumps({"sentences": sentences, **SIZES, **TRAINING}), encoding="utf-8")
        command = [str(ENVIRONMENT / "bin" / "python"), "-P", str(PROGRAM), str(given)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True) as flair:
            turns = _Turns(flair, Path(log.name))
            _train(data, epochs, turns)
            cast("IO[str]", flair.stdin).close()
    count = sum(map(len, tokens))
    pairs = list(zip(turns.own, turns.flairs, strict=True))[1:]
    ratio = statistics.median(other / own for own, other in pairs)
    for name, seconds in (("Lectern", [own for own, _ in pairs]), ("Flair", [other for _, other in pairs])):
        print(f"{name}: {count / statistics.median(seconds):,.0f} tokens/s (median of {len(pairs)} epochs)")
    print(f"ratio {ratio:.2f} (from {min(b / a for a, b in pairs):.2f} to {max(b / a for a, b in pairs):.2f})")
    return 0 if ratio >= LEAST else 1


class _Turns:
    """An observer that lets Flair train for an epoch after each of ours."""

    def __init__(self, flair: subprocess.Popen[str], log: Path) -> None:
        self.own: list[float] = []
        self.flairs: list[float] = []
        self._flair, self._log = flair, log
        self._started = 0.0

    def begin(self) -> None:
        """Begin the first epoch."""
        self._started = time.perf_counter()

    def progress(self, progress: Progress) -> None:
        """Hear nothing."""

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Book an epoch, and ask for one of Flair's."""
        del metrics
        own = time.perf_counter() - self._started
        asking, answering = cast("IO[str]", self._flair.stdin), cast("IO[str]", self._flair.stdout)
        asking.write("epoch\n")
        asking.flush()
        answer = answering.readline()
        if not answer:
            raise SystemExit(f"Flair has ended:\n{self._log.read_text(encoding='utf-8')[-2000:]}")
        other = json.loads(answer)
        print(f"epoch {epoch}: {own:.2f} s, Flair's {other['seconds']:.2f} s", flush=True)
        self.own.append(own)
        self.flairs.append(other["seconds"])
        self._started = time.perf_counter()

    def checkpoint(self, state: object, step: int) -> None:
        """Keep nothing."""


def _train(data: Content, epochs: int, turns: _Turns) -> None:
    catalog = Catalog()
    spec = catalog.spec("sequence_tagger")
    config = spec.config.model_validate({**SIZES, "capitals": False, "affixes": [], "unknown_share": 0.0})
    family = catalog.family("sequence_tagger")(config, data.meta)
    options = spec.training.model_validate({**TRAINING, "epochs": epochs})
    run = prepare(family, options, data.splits, torch.device("cpu"), {})
    turns.begin()
    train(run, turns)


def _install() -> None:
    """Make Flair's environment unless it is there."""
    mark = ENVIRONMENT / "installed"
    if mark.exists() and mark.read_text(encoding="utf-8") == " ".join(PACKAGES):
        return
    print(f"installing {' '.join(PACKAGES)}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
    pip = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *PACKAGES], check=True)
    mark.write_text(" ".join(PACKAGES), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
