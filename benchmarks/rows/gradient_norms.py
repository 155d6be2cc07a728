"""How a gradient fares over 100 steps on its way back: vanishing, exploding, and what a memory cell keeps of it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from app.client import Client
from benchmarks.plots import Axes, chart
from benchmarks.row import Cards, Check, LayersRow, Report
from models.nn.gradient_norms import gradient_norms
from models.nn.recurrent import Cell, RecurrentLayer

PLOT = Path("docs/gradient_norms.svg")
TIME, HIDDEN, SEED = 100, 64, 0
BACK = (10, 25, 50, 100)


class GradientNorms(LayersRow):
    """64 units as they are drawn, at rest: inputs are zero, so that slopes are 1 and gates as their biases say."""

    title = "Gradient norms through 100 steps: vanishing, exploding, LSTM with and without forget gate"
    seeds = (SEED,)

    def report(self, client: Client, cards: Cards) -> Report:
        """Return the norms at some distances from the loss, relative to one step before it, and draw all of them."""
        del client, cards
        lines = {
            "classical, W = 0.9 × rotation": _norms("rnn", rotation=0.9),
            "classical, W = 1.1 × rotation": _norms("rnn", rotation=1.1),
            "LSTM, forget gates at 0.5": _norms("lstm", forget_bias=0.0),
            "LSTM, forget gates at 0.73": _norms("lstm", forget_bias=1.0),
            "LSTM without forget gate": _norms("lstm_without_forget_gate"),
            "GRU": _norms("gru"),
        }
        table = [f"| layer | {' | '.join(f'{back} steps' for back in BACK)} |", "|---|" + "---|" * len(BACK)]
        for name, values in lines.items():
            table.append(f"| {name} | {' | '.join(f'{values[back]:.1e}' for back in BACK)} |")
        axes = Axes("Norm of the gradient by the distance from the loss", "steps back", "relative", 1e-12, 1e6)
        PLOT.write_text(chart(axes, lines), encoding="utf-8")
        far = {name: values[BACK[-1]] for name, values in lines.items()}
        shrunk, grown, half, open_, kept, _ = far.values()
        checks = [
            Check(f"λ = 0.9 vanishes: {shrunk:.1e} ≤ 0.9^99 = {0.9**99:.1e}", shrunk <= 1.001 * 0.9**99),
            Check(f"λ = 1.1 explodes: {grown:.1e} > 100", grown > 100),
            Check(f"without forget gate nothing vanishes: {kept:.1e} ≥ 1", kept >= 1),
            Check(f"forget gates at 0.73 keep more ({open_:.1e}) than at 0.5 ({half:.1e})", open_ > half),
        ]
        about = f"Relative to the norm one step before the loss. ![Norms by distance]({PLOT.name})"
        return Report("\n".join([*table, "", about]), checks)


ROW = GradientNorms()


def _norms(cell: Cell, *, rotation: float | None = None, forget_bias: float | None = None) -> list[float]:
    """Return the norms from 1 step before the loss back to the first step, preceded by that at the loss."""
    generator = torch.Generator().manual_seed(SEED)
    layer = RecurrentLayer(cell, 1, HIDDEN, generator)
    with torch.no_grad():
        if rotation is not None:
            square = torch.empty(HIDDEN, HIDDEN).normal_(generator=generator)
            layer.weight_hidden.copy_(cast("Tensor", torch.linalg.qr(square)[0]) * rotation)
        if forget_bias is not None:
            layer.bias_input[HIDDEN : 2 * HIDDEN] = forget_bias
    direction = torch.empty(HIDDEN).normal_(generator=generator)
    norms = gradient_norms(layer, torch.zeros(1, TIME, 1), functional.normalize(direction, dim=0))
    backward = cast("list[float]", norms.flip(0).tolist())
    return [value / backward[1] for value in backward]
