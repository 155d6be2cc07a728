"""Self-dialogues by words: a small language model beside its own trigram."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pydantic import JsonValue

from app.client import Client
from benchmarks import corpora
from benchmarks.row import Cards, Check, Report, Row

ORDERS = (1, 2, 3, 4)
CONTROL = 3


class SelfDialogue(Row):
    """GRU of 160 units, tied vectors of 96, 3,000 words, Adam at 3e-3 decayed linearly to 0, 3 epochs."""

    title = "Self-dialogues by words, recurrent_lm 160 beside its trigram"
    seeds = (0,)

    def upload(self, client: Client) -> None:
        """Upload an eighth of the dialogues to train on, every twentieth for the test."""
        corpora.upload(client, "self-dialogue", corpora.self_dialogue(), {"lowercase": True})

    def variants(self) -> Mapping[str, Mapping[str, JsonValue]]:
        """Return the one network."""
        config: dict[str, JsonValue] = {"level": "word", "vocabulary_size": 3_000, "least_count": 2, "window": 35}
        config |= {"cell": "gru", "hidden": 160, "embedding": 96, "tied": True, "dropout": 0.1}
        training: dict[str, JsonValue] = {"epochs": 3, "batch_size": 32, "learning_rate": 3e-3}
        submission: dict[str, JsonValue] = {"family": "recurrent_lm", "dataset": "self-dialogue"}
        return {"gru-160": {**submission, "config": config, "training": training}}

    def report(self, client: Client, cards: Cards) -> Report:
        """Return the perplexity of the test dialogues, beside those of n-grams over the same words."""
        del client
        (card,) = cards["gru-160"]
        scores = card.metrics["test"]
        counts = corpora.counted(card, corpora.self_dialogue(), ORDERS)
        lines = ["| model | perplexity | nats per word |", "|---|---|---|"]
        lines.append(f"| gru-160 | {scores['perplexity']:.1f} | {scores['loss']:.3f} |")
        lines += [
            f"| {order}-gram, Witten-Bell | {math.exp(loss):.1f} | {loss:.3f} |" for order, loss in counts.items()
        ]
        control = math.exp(counts[CONTROL])
        about = f"{scores['unknown']:.1%} of the words are unknown, and one word to all models; line ends count."
        sentence = f"perplexity {scores['perplexity']:.1f} below the trigram's {control:.1f}"
        return Report("\n".join([*lines, "", about]), [Check(sentence, scores["perplexity"] < control)])


ROW = SelfDialogue()
