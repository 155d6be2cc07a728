"""Broad Twitter Corpus: names in tweets, with letters and with given word vectors."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from app.client import Client
from benchmarks import taggers
from benchmarks.row import Cards, Check, Report, Row

CORPUS, VECTORS = "broad_twitter_ner", "glove_twitter_25d_12k"
LEAST_GAIN = 10.0
CONFIG: dict[str, JsonValue] = {"characters": "convolution"}


class BroadTwitter(Row):
    """The default network with a convolution over letters, its words from nothing or from GloVe's 25 dimensions."""

    title = "Broad Twitter Corpus, names"
    seeds = (0,)

    def upload(self, client: Client) -> None:
        """Upload corpus and vectors."""
        taggers.upload(client, CORPUS)
        taggers.upload(client, VECTORS, "vectors")

    def variants(self) -> Mapping[str, Mapping[str, JsonValue]]:
        """Return the tagger with random vectors and with given ones."""
        common: dict[str, JsonValue] = {"family": "sequence_tagger", "dataset": CORPUS}
        return {
            "random": {**common, "config": CONFIG},
            "glove-25": {**common, "config": {**CONFIG, "word_vectors": VECTORS}},
        }

    def report(self, client: Client, cards: Cards) -> Report:
        """Return F1; each word's commonest tag is the control."""
        control = taggers.commonest(CORPUS)
        checks = [
            Check(
                f"{name}: F1 {taggers.f1(runs):.2f} % is {LEAST_GAIN:.0f} above the commonest tag's {control:.2f} %",
                taggers.f1(runs) >= control + LEAST_GAIN,
            )
            for name, runs in cards.items()
        ]
        return Report(taggers.span_table(cards), [*checks, taggers.served(client, cards["glove-25"][0], CORPUS)])


ROW = BroadTwitter()
