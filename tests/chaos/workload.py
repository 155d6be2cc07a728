"""What the clients want: small jobs of several purposes, drawn from a seed. Says nothing of how they are run."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Purpose(StrEnum):
    """What becomes of a job if nothing goes wrong."""

    PLAIN = "plain"
    DIVERGING = "diverging"
    CANCELLED_QUEUED = "cancelled at once"
    CANCELLED_RUNNING = "cancelled while it trains"
    CANCELLED_LATE = "cancelled while it exports"
    RESUMED = "cancelled, then resumed"
    RESUMING = "resumes another"


SHARES: Mapping[Purpose, int] = {
    Purpose.PLAIN: 11,
    Purpose.DIVERGING: 2,
    Purpose.CANCELLED_QUEUED: 2,
    Purpose.CANCELLED_RUNNING: 2,
    Purpose.CANCELLED_LATE: 1,
    Purpose.RESUMED: 2,
}
"""How many of twenty jobs are for what."""

SHORTEST_EPOCHS, LONGEST_EPOCHS = 30, 80
FURTHER_EPOCHS = 20
MODELS = 8
PRIORITIES = ("normal", "normal", "high", "low")
FORMATS = ("torchscript", "torchscript", "torchscript", "onnx")
"""Loading what exports to ONNX takes longer than all else that such a small job does."""


@dataclass(frozen=True)
class Plan:
    """One job as a client will want it.

    Attributes:
        name: unique; the client's idempotency key is made of it.
        purpose: what becomes of it.
        body: what is submitted.
        follows: whether the client follows the event stream rather than poll.
        twice: whether it submits again after the answer, as if that had been lost.
        patience_seconds: how long it lets the job train before it cancels.
    """

    name: str
    purpose: Purpose
    body: Mapping[str, object]
    follows: bool
    twice: bool
    patience_seconds: float


def plans(seed: int, epochs_factor: float = 1.0) -> Iterator[Plan]:
    """Yield plans without end; the same seed gives the same ones. Every purpose comes early."""
    chance = random.Random(seed)  # noqa: S311 - reproducible, not secret
    deck = list(SHARES)
    for number in itertools.count(1):
        if not deck:
            deck = [purpose for purpose, share in SHARES.items() for _ in range(share)]
            chance.shuffle(deck)
        purpose = deck.pop()
        yield Plan(
            name=f"{seed}-{number}",
            purpose=purpose,
            body=_body(purpose, number, epochs_factor, chance),
            follows=chance.random() < 0.4,
            twice=chance.random() < 0.25,
            patience_seconds=chance.uniform(0.2, 1.5),
        )


def _body(purpose: Purpose, number: int, epochs_factor: float, chance: random.Random) -> dict[str, object]:
    """Return what is submitted."""
    training: dict[str, object] = {
        "epochs": int(chance.randint(SHORTEST_EPOCHS, LONGEST_EPOCHS) * epochs_factor),
        "batch_size": 32,
        "seed": number,
    }
    config: dict[str, object] = {"hidden_sizes": [chance.choice((24, 32, 48))]}
    if purpose is Purpose.DIVERGING:
        training |= {"optimizer": "momentum", "learning_rate": 100.0, "schedule": "constant"}
        config |= {"activation": "leaky_relu"}
    return {
        "family": "mlp",
        "dataset": "digits",
        "model": f"model-{chance.randrange(MODELS)}",
        "priority": chance.choice(PRIORITIES),
        "config": config,
        "training": training,
        "export": {"formats": [chance.choice(FORMATS)]},
    }


class Desk:
    """Hands plans out to clients: at least ``jobs`` of them, and more for as long as ``wanted`` says so."""

    def __init__(self, source: Iterator[Plan], jobs: int, wanted: Callable[[], bool]) -> None:
        """Hand out nothing yet."""
        self._source = source
        self._jobs = self._left = jobs
        self._wanted = wanted
        self._lock = threading.Lock()
        self.closed = False

    @property
    def share(self) -> float:
        """Return which share of the ordered plans was handed out."""
        return min(1.0, (self._jobs - self._left) / self._jobs)

    def next(self) -> Plan | None:
        """Return the next plan; None when it is enough."""
        with self._lock:
            if self.closed or (self._left <= 0 and not self._wanted()):
                return None
            self._left -= 1
            return next(self._source)
