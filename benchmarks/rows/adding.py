"""The adding problem over 100 steps: which cells carry two numbers to the end (Hochreiter, Schmidhuber 1997, §5.4)."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch.nn import functional

from app.client import Client
from benchmarks.local import Figures, trained
from benchmarks.row import Cards, Check, LayersRow, Report
from models.data.worlds.adding import TRIVIAL_ERROR, adding
from models.nn.linear import linear
from models.nn.recurrent import Cell, RecurrentLayer
from models.optimization import clip_gradient

TIME, HIDDEN, BATCH, UPDATES, RATE, CLIP = 100, 64, 64, 4_000, 2e-3, 1.0
TEST = 2_000
TEST_SEED = 99
SOLVED, UNSOLVED = 0.01, 0.12
EVERY = 250


class Adding(LayersRow):
    """64 units, 64 fresh rows an update, Adam at 2e-3, gradients clipped to 1, 4,000 updates."""

    title = "Adding problem over 100 steps: LSTM, GRU and the classical network"

    def report(self, client: Client, cards: Cards) -> Report:
        """Return the mean squared errors on 2,000 fresh rows after the last update, and when each was solved."""
        del client, cards
        cells = ("lstm", "gru", "rnn")
        found = trained(train, [(cell, seed) for cell in cells for seed in self.seeds])
        lines = ["| cell | mean squared error, per seed | updates until below 0.01 |", "|---|---|---|"]
        errors: dict[str, list[float]] = {}
        for cell in cells:
            runs = [found[cell, seed] for seed in self.seeds]
            errors[cell] = [run["error"] for run in runs]
            solved = ", ".join(f"{run['solved']:.0f}" if run["solved"] else "never" for run in runs)
            lines.append(f"| {cell} | {', '.join(f'{error:.4f}' for error in errors[cell])} | {solved} |")
        lines.append(f"| always 1 | {TRIVIAL_ERROR:.4f} | never |")
        worst, best = max(errors["lstm"] + errors["gru"]), min(errors["rnn"])
        checks = [
            Check(f"LSTM and GRU: the worst of six, {worst:.4f}, < {SOLVED}", worst < SOLVED),
            Check(f"the classical network's best, {best:.4f}, > {UNSOLVED} at the same updates", best > UNSOLVED),
        ]
        return Report("\n".join(lines), checks, sum(run["seconds"] for run in found.values()))


ROW = Adding()


def train(cell: str, seed: int) -> Figures:
    """Return ``error`` after the last update, and the update at which it was first ``solved``, 0 for never."""
    generator, random = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    layer = RecurrentLayer(cast("Cell", cell), 2, HIDDEN, generator)
    output = linear(HIDDEN, 1, generator)
    parameters = [*layer.parameters(), *output.parameters()]
    optimizer = torch.optim.Adam(parameters, RATE)
    test = [torch.from_numpy(array) for array in adding(TEST, TIME, np.random.default_rng(TEST_SEED))]
    error, solved = float("inf"), 0

    def squared(inputs: torch.Tensor, sums: torch.Tensor) -> torch.Tensor:
        _, last = layer(inputs)
        return functional.mse_loss(output(last[0]).squeeze(1), sums)

    for update in range(1, UPDATES + 1):
        loss = squared(*(torch.from_numpy(array) for array in adding(BATCH, TIME, random)))
        optimizer.zero_grad()
        loss.backward()
        clip_gradient(parameters, CLIP)
        optimizer.step()
        if update % EVERY == 0:
            with torch.no_grad():
                error = squared(*test).item()
            solved = solved or (update if error < SOLVED else 0)
    return {"error": error, "solved": float(solved)}
