"""Tiny Shakespeare by characters: one layer of 256 units beside what counting n-grams can do."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from app.client import Client
from benchmarks import corpora
from benchmarks.row import Cards, Check, Report, Row
from models.data.texts.segments import segments

CELLS = ("gru", "lstm", "rnn")
HEADLINE = "gru"
LARGEST_NATS = 1.56
LEAST_GAIN = 0.08
ORDERS = (1, 3, 5, 6)
CONTROL = 5


class TinyShakespeare(Row):
    """256 units, vectors of 64, windows of 64, 64 streams, Adam at 3e-3 decayed linearly to 0, 8 epochs."""

    title = "Tiny Shakespeare by characters, recurrent_lm 256, 1,968 updates"

    def upload(self, client: Client) -> None:
        """Upload the first 90 % of the characters to train on, the rest for the test."""
        corpora.upload(client, "tinyshakespeare", corpora.tinyshakespeare(), {})

    def variants(self) -> Mapping[str, Mapping[str, JsonValue]]:
        """Return the same network with three cells."""
        config: dict[str, JsonValue] = {"level": "character", "hidden": 256, "embedding": 64, "window": 64}
        config |= {"vocabulary_size": 1_000, "least_count": 1}
        training: dict[str, JsonValue] = {"epochs": 8, "batch_size": 64, "learning_rate": 3e-3}
        return {
            f"{cell}-256": {
                "family": "recurrent_lm",
                "dataset": "tinyshakespeare",
                "config": {**config, "cell": cell},
                "training": training,
            }
            for cell in CELLS
        }

    def seeds_of(self, variant: str) -> Sequence[int]:
        """Return three seeds for the headline, one for the other cells."""
        return self.seeds if variant == f"{HEADLINE}-256" else self.seeds[:1]

    def report(self, client: Client, cards: Cards) -> Report:
        """Return nats per character of the test text, beside those of n-grams; and what the served model says of it."""
        splits = corpora.tinyshakespeare()
        counts = corpora.counted(cards[f"{HEADLINE}-256"][0], splits, ORDERS)
        lines = ["| model | nats per character | bits | per seed |", "|---|---|---|---|"]
        nats: dict[str, float] = {}
        for name, runs in cards.items():
            each = [run.metrics["test"]["loss"] for run in runs]
            nats[name] = statistics.mean(each)
            shown = ", ".join(f"{value:.3f}" for value in each)
            lines.append(f"| {name} | {nats[name]:.3f} | {nats[name] / math.log(2):.3f} | {shown} |")
        lines += [
            f"| {order}-gram, Witten-Bell | {loss:.3f} | {loss / math.log(2):.3f} | |" for order, loss in counts.items()
        ]
        ours, control, classical = nats[f"{HEADLINE}-256"], counts[CONTROL], nats["rnn-256"]
        served = _served_loss(client, cards, splits["test"])
        promised = cards[f"{HEADLINE}-256"][0].metrics["test"]["loss"]
        checks = [
            Check(f"GRU {ours:.3f} nats ≤ {LARGEST_NATS}", ours <= LARGEST_NATS),
            Check(f"{control - ours:.3f} nats below the {CONTROL}-gram ≥ {LEAST_GAIN}", control - ours >= LEAST_GAIN),
            Check(f"the classical network at the same updates, {classical:.3f}, is worse", classical > ours),
            Check(f"over HTTP: {served:.6f} nats, the card says {promised:.6f}", abs(served - promised) < 1e-5),
        ]
        return Report("\n".join(lines), checks)


ROW = TinyShakespeare()


def _served_loss(client: Client, cards: Cards, lines: Sequence[str]) -> float:
    """Return nats per character of the test text from HTTP answers."""
    texts = list(segments(lines))
    nats = tokens = 0.0
    for begin in range(0, len(texts), 32):
        body: dict[str, object] = {"texts": texts[begin : begin + 32]}
        answer: Any = client.predict(cards[f"{HEADLINE}-256"][0].model, "score", body)
        for item in answer["predictions"]:
            nats -= item["log_probability"]
            tokens += item["tokens"]
    return nats / tokens
