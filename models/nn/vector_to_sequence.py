"""From one vector to a sequence: a recurrent network that is told the vector at every step, at the start, or both.

Goodfellow, Bengio, Courville, "Deep Learning" (2016), §10.2.4, Figure 10.9: the network that captions an image. What it
read or drew at the step before is its input; in training that is the truth (teacher forcing, §10.2.1).
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn

from models.nn.linear import linear
from models.nn.recurrent import Cell, RecurrentLayer, State

Told = Literal["input", "state", "both"]


class VectorToSequence(nn.Module):
    """h_t = f(y_t−1, x, h_t−1) with x at every step, or h_0 = tanh(V x + b), or both; outputs W h_t + c."""

    def __init__(
        self, told: Told, cell: Cell, vector: int, outputs: int, hidden: int, generator: torch.Generator
    ) -> None:
        """Draw the weights from ``generator``.

        Args:
            told: where the vector enters: an extra ``input`` of each step, the initial ``state``, or both.
            cell: of the recurrent layer.
            vector: size of the vector.
            outputs: numbers per step, read and returned.
            hidden: units.
            generator: of the weights.
        """
        super().__init__()
        self.told: Told = told
        self.recurrent = RecurrentLayer(cell, outputs + (0 if told == "state" else vector), hidden, generator)
        self.initial = None if told == "input" else linear(vector, hidden, generator)
        self.output = linear(hidden, outputs, generator)

    def forward(self, vector: Tensor, previous: Tensor) -> Tensor:
        """Return the outputs (batch, time, outputs) where each step is given the truth before it.

        Args:
            vector: (batch, vector).
            previous: (batch, time, outputs), the true output before each step, zeros at the first.
        """
        repeated = vector.unsqueeze(1).expand(-1, previous.shape[1], -1)
        inputs = previous if self.told == "state" else torch.cat([previous, repeated], dim=2)
        hidden, _ = self.recurrent(inputs, None, self._start(vector))
        return self.output(hidden)

    def generate(self, vector: Tensor, steps: int) -> Tensor:
        """Return (batch, steps, outputs) where each step is given the output before it, zeros at the first."""
        state, found = self._start(vector), [vector.new_zeros(len(vector), self.output.out_features)]
        for _ in range(steps):
            inputs = found[-1] if self.told == "state" else torch.cat([found[-1], vector], dim=1)
            state = self.recurrent.step(inputs, state)
            found.append(cast("Tensor", self.output(state[0])))
        return torch.stack(found[1:], dim=1)

    def _start(self, vector: Tensor) -> State:
        """Return the state before the first step; a memory cell begins at zero."""
        zeros = self.recurrent.start(len(vector))
        return zeros if self.initial is None else (self.initial(vector).tanh(), *zeros[1:])
