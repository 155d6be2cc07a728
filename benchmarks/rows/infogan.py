"""MNIST with InfoGAN at half the paper's width: what its codes come to mean without a label (Chen et al. 2016, §7)."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import JsonValue

from app.client import Client
from app.schemas import ModelCard
from benchmarks import mnist
from benchmarks.digit_shape import correlation, slants_and_widths
from benchmarks.row import Cards, Check, Report, Row

EPOCHS, CONTROL_EPOCHS = 12, 5
UPDATES_PER_EPOCH = 430
"""55,000 images in batches of 128."""

EARLY, MIDDLE = 4, 7
"""Epochs that end at 1,720 and 3,010 updates."""

DRAWN = 200
"""Images of each category whose slant and width are measured."""


class InfoGan(Row):
    """Adam, 2e-4 for discriminator and Q, 1e-3 for the generator; one categorical code and two continuous ones."""

    title = "MNIST, InfoGAN of half width: information and meaning of the codes"

    def upload(self, client: Client) -> None:
        """Upload MNIST, a twelfth of the training images set aside to watch the codes on."""
        if "mnist-55000" not in {dataset.name for dataset in client.datasets()}:
            client.add_dataset("mnist-55000", "images", mnist.files(), {"validation_fraction": 1 / 12})

    def variants(self) -> Mapping[str, Mapping[str, JsonValue]]:
        """Return InfoGAN, and the control: the same networks, the generator of which gives nothing for information."""
        common: dict[str, JsonValue] = {"family": "infogan", "dataset": "mnist-55000"}
        return {
            "infogan": {**common, "training": {"epochs": EPOCHS}},
            "without-information": {
                **common,
                "config": {"information_weight": 0},
                "training": {"epochs": CONTROL_EPOCHS},
            },
        }

    def seeds_of(self, variant: str) -> Sequence[int]:
        """Return three seeds, one for the control."""
        return self.seeds if variant == "infogan" else self.seeds[:1]

    def report(self, client: Client, cards: Cards) -> Report:
        """Return information, accuracy of the first code and correlations of the others, by seed."""
        columns = ["variant, seed", "L_I, nats, at 1,720 updates", "at the end", "c1 as a classifier at 3,010"]
        columns += ["at the end, test", "c2, slant / width", "c3, slant / width", "FID"]
        table = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        steering: list[float] = []
        for variant, runs in cards.items():
            for seed, card in zip(self.seeds_of(variant), runs, strict=True):
                found = _correlations(client, card)
                if variant == "infogan":
                    steering.append(max(map(abs, found.values())))
                table.append(_line(f"{variant}, {seed}", card, found))
        main, control = cards["infogan"], cards["without-information"][0]
        early = min(_at(card, EARLY, "information") for card in main)
        most = max(point["information"] for point in control.curves)
        middle = statistics.mean(_at(card, MIDDLE, "validation_code_accuracy") for card in main)
        end = statistics.mean(card.metrics["quality"]["code_accuracy"] for card in main)
        other = control.metrics["quality"]["code_accuracy"]
        steered = statistics.mean(steering)
        checks = [
            Check(f"L_I {early:.2f} ≥ 2.20 within 2,000 updates, least of all seeds (ln 10 is 2.30)", early >= 2.20),
            Check(f"without L_I in the generator's loss it stays at {most:.2f} ≤ 0.50", most <= 0.5),
            Check(f"c1 names the digit of {middle:.1%} ≥ 65 % of images at 3,010 updates, mean", middle >= 0.65),
            Check(f"and of {end:.1%} ≥ 70 % at {EPOCHS * UPDATES_PER_EPOCH:,}, mean, on the test images", end >= 0.70),
            Check(f"the control's c1 {other:.1%} stays below", other < 0.65),
            Check(f"c2 or c3 moves slant or width: |ρ| {steered:.2f} ≥ 0.5, mean of the best by seed", steered >= 0.5),
        ]
        return Report("\n".join(table), checks)


ROW = InfoGan()


def _line(name: str, card: ModelCard, found: Mapping[tuple[str, str], float]) -> str:
    early, last = _at(card, EARLY, "information"), card.curves[-1]["information"]
    later = [point for point in card.curves if point["epoch"] == MIDDLE]
    middle = f"{later[0]['validation_code_accuracy']:.1%}" if later else "–"
    end, fid = card.metrics["quality"]["code_accuracy"], card.metrics["quality"]["fid"]
    codes = [f"{found[code, 'slant']:+.2f} / {found[code, 'width']:+.2f}" for code in ("c2", "c3")]
    return f"| {name} | {early:.2f} | {last:.2f} | {middle} | {end:.1%} | {' | '.join(codes)} | {fid:.0f} |"


def _at(card: ModelCard, epoch: int, name: str) -> float:
    return next(point[name] for point in card.curves if point["epoch"] == epoch)


def _correlations(client: Client, card: ModelCard) -> dict[tuple[str, str], float]:
    """Return by code and measure how they correlate in served samples of one category, over all categories."""
    images: list[Any] = []
    codes: list[Mapping[str, float]] = []
    for category in range(10):
        body = {"count": DRAWN, "seed": category, "codes": {"c1": category}}
        answer: Any = client.predict(card.model, "sample", body)
        images += [item["image"] for item in answer["predictions"]]
        codes += [item["codes"] for item in answer["predictions"]]
    slants, widths = slants_and_widths(np.array(images))
    groups = np.array([item["c1"] for item in codes])
    return {
        (code, name): correlation(np.array([item[code] for item in codes]), measure, groups)
        for code in ("c2", "c3")
        for name, measure in (("slant", slants), ("width", widths))
    }
