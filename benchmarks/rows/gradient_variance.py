"""How much the gradient of the bound varies, reparameterised and by REINFORCE (Kingma and Welling 2014, §2.2)."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor

from app.client import Client
from benchmarks import mnist
from benchmarks.local import Figures, trained
from benchmarks.row import Cards, Check, LayersRow, Report
from models.contract.training import Plan
from models.generation.vae.family import VaeFamily
from models.generation.vae.network import Vae
from models.generation.vae.spec import VaeConfig, VaeTraining

STEPS, BATCH, DRAWS = 600, 100, 1_000
LARGEST_SHARE = 1 / 50
META = {
    "height": 28,
    "width": 28,
    "channels": None,
    "value_range": [0, 255],
    "pixel_mean": 33.3,
    "pixel_standard_deviation": 78.6,
}


class GradientVariance(LayersRow):
    """784-400-20 on binarised MNIST, before the first step and after 600; 1,000 draws for 100 images."""

    title = "Variance of the bound's gradient by the posterior mean: reparameterised against REINFORCE"

    def report(self, client: Client, cards: Cards) -> Report:
        """Return both variances and their ratio."""
        del client, cards
        cases = ("before", "after")
        found = trained(train, [(case, seed) for case in cases for seed in self.seeds])
        lines = ["| network | reparameterised | REINFORCE | ratio, per seed |", "|---|---|---|---|"]
        shares = list[float]()
        for case in cases:
            runs = [found[case, seed] for seed in self.seeds]
            ratios = [run["reinforce"] / run["pathwise"] for run in runs]
            shares += [1 / ratio for ratio in ratios]
            mean = {name: float(np.mean([run[name] for run in runs])) for name in ("pathwise", "reinforce")}
            each = ", ".join(f"{ratio:,.0f}" for ratio in ratios)
            lines.append(f"| {case} {STEPS} steps | {mean['pathwise']:.3g} | {mean['reinforce']:.3g} | {each} |")
        worst = max(shares)
        checks = [
            Check(f"reparameterised at most 1/{1 / worst:,.0f} of REINFORCE's, ≤ 1/50", worst <= LARGEST_SHARE),
        ]
        return Report("\n".join(lines), checks, sum(run["seconds"] for run in found.values()))


ROW = GradientVariance()


def train(case: str, seed: int) -> Figures:
    """Return the variance of both estimators, summed over the mean's dimensions, per image."""
    generator = torch.Generator().manual_seed(seed)
    family = VaeFamily(VaeConfig(latent=20, hidden_sizes=(400,), binarization="sample"), META)
    module = cast("Vae", family.build(generator))
    images = mnist.arrays()["train_images"]
    examples = family.examples({"images": images[: STEPS * BATCH]}, torch.device("cpu"))
    plan = Plan.of(len(examples), 1, BATCH)
    learner = family.learner(module, VaeTraining(epochs=1), plan, generator)
    for step in range(STEPS if case == "after" else 0):
        learner.step(examples.take(torch.arange(BATCH) + BATCH * step))
    pixels = module.pixels(torch.from_numpy(images[-BATCH:]))
    with torch.no_grad():
        mean, log_variance = module.encode(pixels)
    draws = {name: list[Tensor]() for name in ("pathwise", "reinforce")}
    for _ in range(DRAWS):
        noise = torch.randn(mean.shape, generator=generator)
        moved, deviation = mean.clone().requires_grad_(), (log_variance / 2).exp()
        latent = moved + deviation * noise
        bound = module.log_likelihood(pixels, latent) - (latent.square() - noise.square() - log_variance).sum(dim=1) / 2
        draws["pathwise"].append(torch.autograd.grad(bound.sum(), moved)[0])
        draws["reinforce"].append(bound.detach().unsqueeze(1) * noise / deviation)
    return {name: float(torch.stack(found).var(dim=0).sum() / BATCH) for name, found in draws.items()}
