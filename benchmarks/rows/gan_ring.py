"""Eight Gaussians on a ring: how many of them a generator finds, with and without the penalty that keeps D flat."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from app.client import Client
from benchmarks.local import Figures, trained
from benchmarks.row import Cards, Check, LayersRow, Report
from models.contract.training import Plan
from models.data.worlds.ring import DEVIATION, MODES, modes_of, ring
from models.generation.adversarial.learner import AdversarialLearner, Adversaries
from models.generation.adversarial.networks import Discriminator
from models.generation.adversarial.prior import Prior
from models.generation.adversarial.training import AdversarialTraining
from models.generation.gan.network import trunk
from models.nn.linear import linear

STEPS = 4_000
BATCH = 256
NOISE = 16
HIDDEN = (128, 128)
RATE = 1e-3
PENALTY = 0.1
DRAWN = 2_500
COVERED = DRAWN // MODES // 10
"""Points within three deviations that make a mode covered: a tenth of its share."""

CODE = (*sorted(Path("models/generation/adversarial").glob("*.py")), Path("models/generation/gan/network.py"))


class GanRing(LayersRow):
    """Two hidden layers of 128 a side, 16 numbers of noise, Adam at 1e-3 falling to zero, batches of 256."""

    title = "GAN: eight Gaussians on a ring"

    def report(self, client: Client, cards: Cards) -> Report:
        """Return modes and share of good samples, by seed."""
        del client, cards
        variants = ("penalty", "paper")
        found = trained(train, [(variant, seed) for variant in variants for seed in self.seeds], CODE)
        table = ["| variant | modes of 8, mean | per seed | samples on a mode |", "|---|---|---|---|"]
        for variant in variants:
            runs = [found[variant, seed] for seed in self.seeds]
            modes = [run["modes"] for run in runs]
            good = statistics.mean(run["good"] for run in runs)
            each = ", ".join(f"{value:.0f}" for value in modes)
            table.append(f"| {variant} | {statistics.mean(modes):.1f} | {each} | {good:.1%} |")
        mean = statistics.mean(found["penalty", seed]["modes"] for seed in self.seeds)
        before = max(figures["modes_before"] for figures in found.values())
        checks = [
            Check(f"with the penalty {mean:.1f} of 8 modes ≥ 6.5, mean of 3 seeds", mean >= 6.5),
            Check(f"the untrained generator finds {before:.0f}", before == 0),
        ]
        body = "\n".join(table) + (
            f"\n\nRadius 2, deviation {DEVIATION}. A mode is found when {COVERED} of {DRAWN:,} samples lie within "
            f"three deviations of it. `penalty` keeps the discriminator flat at real points (factor {PENALTY}); "
            "`paper` does not."
        )
        return Report(body, checks, sum(figures["seconds"] for figures in found.values()))


ROW = GanRing()


def train(variant: str, seed: int) -> Figures:
    """Return modes found and the share of samples on one, after training and before it."""
    generator = torch.Generator().manual_seed(seed)
    random = np.random.default_rng(seed)
    layers = trunk(2, HIDDEN, 0.0, generator)
    discriminator = Discriminator(layers, linear(HIDDEN[-1], 1, generator))
    draw = nn.Sequential(
        linear(NOISE, HIDDEN[0], generator),
        nn.ReLU(),
        linear(HIDDEN[0], HIDDEN[1], generator),
        nn.ReLU(),
        linear(HIDDEN[1], 2, generator),
    )
    module = Adversaries(Prior(NOISE), draw, discriminator, nn.Identity())
    options: Any = {"discriminator_learning_rate": RATE, "generator_learning_rate": RATE, "schedule": "linear"}
    options["gradient_penalty"] = PENALTY if variant == "penalty" else 0.0
    plan = Plan(STEPS * BATCH, 1, BATCH, STEPS)
    learner = AdversarialLearner(module, AdversarialTraining(**options), plan, generator)
    before, _ = _found(module)
    for _ in range(STEPS):
        learner.step({"images": torch.from_numpy(ring(BATCH, random))})
    modes, good = _found(module)
    return {"modes": modes, "good": good, "modes_before": before}


def _found(module: Adversaries) -> tuple[float, float]:
    latents = module.prior.draw(DRAWN, torch.Generator().manual_seed(0))
    with torch.inference_mode():
        counts = modes_of(module.generator(latents).numpy())
    return float((counts >= COVERED).sum()), float(counts.sum() / DRAWN)
