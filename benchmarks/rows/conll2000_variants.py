"""CoNLL-2000 chunking: encoders and decoders beside one another, one seed each."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from app.client import Client
from benchmarks import taggers
from benchmarks.row import Cards, Check, Report, Row
from benchmarks.rows.conll2000 import VARIANT

LEAST_TEMPLATES = 93.2
LEAST_CHARACTERS = 93.8
LEAST_CRF_GAIN = 0.3
LEAST_BOTH_WAYS_GAIN = 2.0
CONFIGS: Mapping[str, dict[str, JsonValue]] = {
    "lstm-softmax": {"encoder": "lstm", "decoder": "softmax"},
    "lstm-crf": {"encoder": "lstm"},
    "bilstm-softmax": {"decoder": "softmax"},
    "convolution-crf": {"encoder": "convolution"},
}
CHARACTERS: dict[str, JsonValue] = {"characters": "convolution", "hidden": 150}
TEMPLATES: dict[str, JsonValue] = {
    "encoder": "none",
    "templates": ["context"],
    "least_feature_count": 2,
    "scheme": "bio",
}
SPARSE: dict[str, JsonValue] = {"epochs": 10, "optimizer": "adagrad", "learning_rate": 0.1, "schedule": "constant"}


class Conll2000Variants(Row):
    """What the encoder, the decoder and letters bring, and the CRF over templates alone."""

    title = "CoNLL-2000 chunking: LSTM, BI-LSTM, CRF, LSTM-CRF, BI-LSTM-CRF, Conv-CRF"
    seeds = (0,)

    def upload(self, client: Client) -> None:
        """Upload the corpus, parts of speech as a further column."""
        taggers.upload(client, "conll2000")

    def variants(self) -> Mapping[str, Mapping[str, JsonValue]]:
        """Return every encoder with every decoder that the lecture's table has."""
        return {
            "bilstm-crf": VARIANT,
            **{name: {**VARIANT, "config": config} for name, config in CONFIGS.items()},
            "crf-templates": {**VARIANT, "config": TEMPLATES, "training": SPARSE},
            "bilstm-crf-characters": {**VARIANT, "config": CHARACTERS},
        }

    def report(self, client: Client, cards: Cards) -> Report:
        """Return F1 of each, and whether each part brings what it should."""
        found = {name: taggers.f1(runs) for name, runs in cards.items()}
        pair = ("bilstm-crf", "bilstm-softmax")
        raw = [100 * cards[name][0].metrics["test"]["f1_unconstrained"] for name in pair]
        crf, served = raw[0] - raw[1], found[pair[0]] - found[pair[1]]
        both = found["bilstm-softmax"] - found["lstm-softmax"]
        templates, characters = found["crf-templates"], found["bilstm-crf-characters"]
        checks = [
            Check(f"CRF over templates {templates:.2f} % ≥ {LEAST_TEMPLATES} %", templates >= LEAST_TEMPLATES),
            Check(
                f"with letters and 2 × 150 units {characters:.2f} % ≥ {LEAST_CHARACTERS} %",
                characters >= LEAST_CHARACTERS,
            ),
            Check(
                f"decoded freely, as in the papers, the CRF brings {crf:.2f} ≥ {LEAST_CRF_GAIN} over the softmax "
                f"({served:.2f} where only legal tags are served, which helps the softmax more)",
                crf >= LEAST_CRF_GAIN,
            ),
            Check(f"reading both ways brings {both:.2f} ≥ {LEAST_BOTH_WAYS_GAIN}", both >= LEAST_BOTH_WAYS_GAIN),
            taggers.served(client, cards["bilstm-crf-characters"][0], "conll2000", columns=1),
        ]
        return Report(taggers.span_table(cards), checks)


ROW = Conll2000Variants()
