"""The timing task: eight LSTM units with peepholes learn to fire at an exact step (Gers et al. 2002)."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch.nn import functional

from app.client import Client
from benchmarks.local import Figures, trained
from benchmarks.row import Cards, Check, LayersRow, Report
from models.data.worlds.timing import timing
from models.nn.linear import linear
from models.nn.recurrent import Cell, RecurrentLayer
from models.optimization import clip_gradient

HIDDEN, BATCH, UPDATES, RATE, CLIP = 8, 64, 2_000, 0.03, 1.0
TEST = 2_000
TEST_SEED = 99
LEAST_EXACT = 0.95


class Timing(LayersRow):
    """8 units, 64 fresh sequences an update, Adam at 0.03 decayed linearly to 0, gradients clipped to 1."""

    title = "Timing task, intervals of 10 to 20 steps: LSTM with and without peepholes"

    def report(self, client: Client, cards: Cards) -> Report:
        """Return the share of fresh sequences in which the network fires at the right step and at no other."""
        del client, cards
        cells = ("peephole_lstm", "lstm")
        found = trained(train, [(cell, seed) for cell in cells for seed in self.seeds])
        lines = ["| cell | exact, per seed | loss in nats per step |", "|---|---|---|"]
        exact: dict[str, list[float]] = {}
        for cell in cells:
            runs = [found[cell, seed] for seed in self.seeds]
            exact[cell] = [run["exact"] for run in runs]
            losses = ", ".join(f"{run['loss']:.4f}" for run in runs)
            lines.append(f"| {cell} | {', '.join(f'{share:.1%}' for share in exact[cell])} | {losses} |")
        lines.append("| never firing | 0.0% | |")
        worst = min(exact["peephole_lstm"])
        checks = [
            Check(f"with peepholes the worst of three, {worst:.1%}, ≥ {LEAST_EXACT:.0%}", worst >= LEAST_EXACT),
            Check(
                f"without, the worst of three is {min(exact['lstm']):.1%}, no better: they help and are not needed "
                "(Greff et al. 2017)",
                min(exact["lstm"]) <= worst,
            ),
        ]
        return Report("\n".join(lines), checks, sum(run["seconds"] for run in found.values()))


ROW = Timing()


def train(cell: str, seed: int) -> Figures:
    """Return the share of ``exact`` answers and the ``loss`` on fresh sequences after the last update."""
    generator, random = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    layer = RecurrentLayer(cast("Cell", cell), 2, HIDDEN, generator)
    output = linear(HIDDEN, 1, generator)
    parameters = [*layer.parameters(), *output.parameters()]
    optimizer = torch.optim.Adam(parameters, RATE)
    for update in range(UPDATES):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - update / UPDATES)
        inputs, fire = (torch.from_numpy(array) for array in timing(BATCH, random))
        loss = functional.binary_cross_entropy_with_logits(output(layer(inputs)[0]).squeeze(2), fire)
        optimizer.zero_grad()
        loss.backward()
        clip_gradient(parameters, CLIP)
        optimizer.step()
    inputs, fire = (torch.from_numpy(array) for array in timing(TEST, np.random.default_rng(TEST_SEED)))
    with torch.no_grad():
        logits = output(layer(inputs)[0]).squeeze(2)
    right = ((logits > 0) == fire.bool()).all(dim=1)
    return {
        "exact": right.float().mean().item(),
        "loss": functional.binary_cross_entropy_with_logits(logits, fire).item(),
    }
