"""The world of sprites, five factors: Table 1 of Higgins et al. (2017) on one code, with its classifiers stated."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import JsonValue

from app.client import Client
from benchmarks.row import Cards, Check, Report, Row
from benchmarks.rows.ellipses import codes, mean_scores, submission, table
from models.data.worlds.sprites import WORLDS
from models.metrics.disentanglement.scores import MOST_EXAMPLES, scores

LEAST_BETA_VAE, LEAST_GAIN, LEAST_FACTOR_VAE, LEAST_NATS = 0.70, 0.25, 0.50, 5.0
EPOCHS = 6
NAMES = {"beta-1": "vae, beta-1", "infogan": "infogan", "beta-4": "vae, beta-4"}
INFOGAN: Mapping[str, JsonValue] = {
    "family": "infogan",
    "dataset": "sprites",
    "config": {
        "categorical_codes": [3],
        "continuous_codes": 4,
        "generator_channels": [64, 32, 16, 8],
        "discriminator_channels": [8, 16, 32, 64],
    },
    "training": {"epochs": EPOCHS, "batch_size": 64},
}
"""A code for each factor, the shape's a category; sides are halved to 4 × 4, and maps are as narrow as time allows."""


class Sprites(Row):
    """Convolutional VAE and β-VAE, latent of 10, Adam at 1e-3; InfoGAN of 5 codes; batch 64, 6 epochs: 2,628 steps."""

    title = "Sprites, 5 factors at 64×64: ground truth, pixels, PCA, FastICA, untrained, VAE, InfoGAN and β-VAE"
    seeds = (0,)

    def upload(self, client: Client) -> None:
        """Upload nothing: the world is built in."""

    def variants(self) -> Mapping[str, Mapping[str, JsonValue]]:
        """Return those of VAE and β-VAE, and InfoGAN's."""
        betas = {f"beta-{beta}": submission("sprites", {"beta": float(beta)}, EPOCHS) for beta in (1, 4)}
        return {**betas, "infogan": INFOGAN}

    def report(self, client: Client, cards: Cards) -> Report:
        """Return all scores of the trained codes and of what they are compared with."""
        del client
        factors = WORLDS["sprites"].classes()[:MOST_EXAMPLES].astype(np.int64)
        means = {"ground truth": scores(factors / factors.std(axis=0), factors)}  # each as wide as any other
        means |= {name: mean_scores(cards["beta-4"], name) for name in codes(cards["beta-4"]) if name != "trained"}
        means |= {NAMES[variant]: mean_scores(runs, "trained") for variant, runs in cards.items()}
        own, untrained = means["vae, beta-4"], means["untrained"]
        nats = {variant: cards[variant][0].metrics["test"]["divergence"] for variant in ("beta-1", "beta-4")}
        gain = own["beta_vae"] - untrained["beta_vae"]
        checks = [
            Check(f"β-VAE score {own['beta_vae']:.3f} ≥ {LEAST_BETA_VAE:g}", own["beta_vae"] >= LEAST_BETA_VAE),
            Check(f"above the untrained network by {gain:.3f} ≥ {LEAST_GAIN:g}", gain >= LEAST_GAIN),
            Check(
                f"FactorVAE score {own['factor_vae']:.3f} ≥ {LEAST_FACTOR_VAE:g}", own["factor_vae"] >= LEAST_FACTOR_VAE
            ),
            Check(
                f"β = 4 has {nats['beta-4']:.1f} nats, β = 1 {nats['beta-1']:.1f}: {LEAST_NATS:g} fewer at equal steps",
                nats["beta-4"] < nats["beta-1"] - LEAST_NATS,
            ),
        ]
        note = (
            "Published figures (ground truth 100, pixels 45.75, PCA 84.9, ICA 42.03, untrained VAE 44.14, VAE 61.58, "
            "InfoGAN 73.5, β-VAE 99.23) depend on the classifier and on how many pairs a point has; here all codes "
            "have the same, and none of them is a gate but that of β = 4. InfoGAN's code is what its Q reads of an "
            "image: the likeliest of 3 categories as one dimension, and the means of 4 continuous codes. PCA, FastICA "
            "and the untrained network are those beside β = 4."
        )
        return Report(f"{table(means)}\n\n{note}", checks)


ROW = Sprites()
