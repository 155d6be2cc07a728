"""Sentences turned around, whose alignment is known: where attention looks, beside a network without."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import JsonValue

from app.client import Client
from benchmarks import translations
from benchmarks.corpora import upload_lines
from benchmarks.row import Cards, Check, Report, Row

DATASET = "permutations"
WORDS = 60
SIZES = {"train": 4_000, "validation": 200, "test": 400}
LEAST_ALIGNED = 0.95
LARGEST_GAP = 1e-5


class Permutations(Row):
    """Two to ten different words of sixty, and these words backwards in another language; 64 units, 6 epochs."""

    title = "Words backwards: alignment by attention, encoder_decoder 64"

    def upload(self, client: Client) -> None:
        """Upload the drawn sentences."""
        files = {f"{split}.tsv": ["\t".join(pair) for pair in pairs] for split, pairs in _world().items()}
        upload_lines(client, DATASET, "parallel", files, {})

    def seeds_of(self, variant: str) -> tuple[int, ...]:
        """Return three seeds with attention, one without."""
        return (0,) if variant == "none" else (0, 1, 2)

    def variants(self) -> Mapping[str, Mapping[str, JsonValue]]:
        """Return two attentions, and none."""
        config: dict[str, JsonValue] = {"vocabulary": "word", "least_count": 1, "joint": False, "dropout": 0.1}
        config |= {"hidden": 64, "embedding": 32}
        training: dict[str, JsonValue] = {"epochs": 6, "batch_size": 32, "learning_rate": 5e-3}
        base: dict[str, JsonValue] = {"family": "encoder_decoder", "dataset": DATASET, "training": training}
        return {name: {**base, "config": {**config, "attention": name}} for name in ("general", "additive", "none")}

    def report(self, client: Client, cards: Cards) -> Report:
        """Return how many sentences are right and how many tokens look at their own word, as HTTP answers."""
        test = _world()["test"]
        lines = ["| attention | seed | sentences right | tokens that look at their word |", "|---|---|---|---|"]
        shares: dict[str, list[float]] = {}
        aligned: dict[str, list[float]] = {}
        gaps: list[float] = []
        for variant, runs in cards.items():
            for card in runs:
                answers = translations.translations(client, card.model, [source for source, _ in test])
                right = [item["translation"] == target for item, (_, target) in zip(answers, test, strict=True)]
                shares.setdefault(variant, []).append(float(np.mean(right)))
                told = "–"
                if variant != "none":
                    maps = [np.array(item["attention"]) for item, same in zip(answers, right, strict=True) if same]
                    gaps += [float(np.abs(looked.sum(axis=1) - 1).max()) for looked in maps]
                    hits = [row.argmax() == len(rows) - 1 - time for rows in maps for time, row in enumerate(rows)]
                    aligned.setdefault(variant, []).append(float(np.mean(hits)))
                    told = f"{aligned[variant][-1]:.4f}"
                lines.append(f"| {variant} | {card.seed} | {shares[variant][-1]:.3f} | {told} |")
        checks = [
            Check(
                f"{name}: {np.mean(found):.4f} of the tokens look at their word ≥ {LEAST_ALIGNED}",
                bool(np.mean(found) >= LEAST_ALIGNED),
            )
            for name, found in aligned.items()
        ]
        without, least = shares["none"][0], min(float(np.mean(shares[name])) for name in aligned)
        checks += [
            Check(f"every served row sums to 1 within {max(gaps):.1e} ≤ {LARGEST_GAP}", max(gaps) <= LARGEST_GAP),
            Check(
                f"the control without attention has {without:.3f} of the sentences, with it {least:.3f}",
                without < least,
            ),
        ]
        about = "Token t of a target of n is word n − 1 − t of its source; counted where the translation is right."
        return Report("\n".join([*lines, "", about]), checks)


ROW = Permutations()


def _world() -> dict[str, list[tuple[str, str]]]:
    random = np.random.default_rng(1)
    found: dict[str, list[tuple[str, str]]] = {}
    for split, count in SIZES.items():
        rows = [random.choice(WORDS, size=random.integers(2, 11), replace=False).tolist() for _ in range(count)]
        found[split] = [
            (" ".join(f"w{word}" for word in row), " ".join(f"W{word}" for word in reversed(row))) for row in rows
        ]
    return found
