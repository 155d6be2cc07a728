"""Names and numbers that were never seen: words, words copied by attention, hybrid and characters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import JsonValue

from app.client import Client
from benchmarks import translations
from benchmarks.corpora import upload_lines
from benchmarks.row import Cards, Check, Report, Row

DATASET = "open-vocabulary"
LEAST_RATIO = 2.0
SIZES = {"train": 4_000, "validation": 200, "test": 400}
FRAMES = (
    ("{0} met {1} in the park.", "{0} traf {1} im park."),
    ("the train to {0} leaves at {1}.", "der zug nach {0} fährt um {1} ab."),
    ("{1} houses belong to {0}.", "{0} gehören {1} häuser."),
    ("yesterday {0} bought {1} apples.", "gestern kaufte {0} {1} äpfel."),
)
SYLLABLES = ("ba", "ko", "li", "mar", "ne", "o", "pet", "ri", "sa", "tu", "vel", "zin")
WORDS: dict[str, JsonValue] = {"vocabulary_size": 60, "least_count": 1, "hidden": 96, "embedding": 64, "dropout": 0.1}
UNITS = ("word", "hybrid", "character")


class OpenVocabulary(Row):
    """Frames with a name and a number in each, drawn anew: 60 words are known, the rest must be copied or spelt."""

    title = "Unseen names and numbers: word, hybrid and character vocabularies, encoder_decoder 96"
    seeds = (0,)

    def upload(self, client: Client) -> None:
        """Upload the drawn sentences."""
        files = {f"{split}.tsv": [f"{row[0]}\t{row[1]}" for row in rows] for split, rows in _world().items()}
        upload_lines(client, DATASET, "parallel", files, {})

    def variants(self) -> Mapping[str, Mapping[str, JsonValue]]:
        """Return a network for each kind of token."""
        training: dict[str, JsonValue] = {"epochs": 10, "batch_size": 32, "learning_rate": 3e-3}
        base: dict[str, JsonValue] = {"family": "encoder_decoder", "dataset": DATASET, "training": training}
        return {unit: {**base, "config": {**WORDS, "vocabulary": unit}} for unit in UNITS}

    def report(self, client: Client, cards: Cards) -> Report:
        """Return how many unseen names and numbers stand in the translation, as HTTP answers."""
        test = _world()["test"]
        lines = [
            "| tokens | names and numbers there | sentences right | test perplexity per token |",
            "|---|---|---|---|",
        ]
        shares: dict[str, float] = {}
        for unit, (card,) in cards.items():
            for copies in (False, True) if unit == "word" else (False,):
                answers = translations.translations(
                    client, card.model, [row[0] for row in test], attention=False, copy_unknown=copies
                )
                texts = [str(item["translation"]) for item in answers]
                there = [
                    part in text.rstrip(".").split() for text, row in zip(texts, test, strict=True) for part in row[2:]
                ]
                right = [text == row[1] for text, row in zip(texts, test, strict=True)]
                name = f"{unit}, unknown words copied by attention" if copies else unit
                shares[name] = float(np.mean(there))
                perplexity = card.metrics["test"]["perplexity"]
                lines.append(f"| {name} | {shares[name]:.3f} | {np.mean(right):.3f} | {perplexity:.2f} |")
        plain, hybrid, character = (shares[unit] for unit in ("word", "hybrid", "character"))
        told = f"characters have {character:.3f} of them and hybrid words {hybrid:.3f}, the better at least"
        sentence = f"{told} {LEAST_RATIO:.0f} × the {plain:.3f} of words alone"
        checks = [Check(sentence, max(hybrid, character) >= LEAST_RATIO * max(plain, 1e-3))]
        about = (
            "Names are syllables and numbers up to 9,999, none of those of the test in training; 60 tokens are known."
        )
        return Report("\n".join([*lines, "", about]), checks)


ROW = OpenVocabulary()


def _world() -> dict[str, list[tuple[str, ...]]]:
    """Return source, target, name and number of each sentence; no name or number is in two splits."""
    random = np.random.default_rng(1)
    seen: set[str] = set()
    found: dict[str, list[tuple[str, ...]]] = {}
    for split, count in SIZES.items():
        own: set[str] = set()
        rows = found[split] = []
        while len(rows) < count:
            drawn: list[int] = random.integers(len(SYLLABLES), size=random.integers(2, 5)).tolist()
            name = "".join(SYLLABLES[index] for index in drawn)
            number = str(random.integers(1, 10_000))
            if {name, number} & seen:
                continue
            own |= {name, number}
            source, target = FRAMES[int(random.integers(len(FRAMES)))]
            rows.append((source.format(name, number), target.format(name, number), name, number))
        seen |= own
    return found
