"""A network whose only recurrence is from its output to the hidden units of the next step.

Goodfellow, Bengio, Courville, "Deep Learning" (2016), §10.2.1, Figures 10.4 and 10.6. Given the true outputs its steps
do not depend on one another, so that they are computed, and learnt, at once; its output must say all that is to be
remembered.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.nn.linear import linear


class OutputRecurrence(nn.Module):
    """h_t = tanh(U x_t + W o_t−1 + b), o_t = V h_t + c."""

    def __init__(self, inputs: int, outputs: int, hidden: int, generator: torch.Generator) -> None:
        """Draw the weights from ``generator``."""
        super().__init__()
        self.hidden = linear(inputs + outputs, hidden, generator)
        self.output = linear(hidden, outputs, generator)

    def forward(self, inputs: Tensor, previous: Tensor) -> Tensor:
        """Return the outputs (batch, time, outputs), all steps at once, from the truth before each (teacher forcing).

        Args:
            inputs: (batch, time, inputs).
            previous: (batch, time, outputs), the true output before each step, zeros at the first.
        """
        return self.output(self.hidden(torch.cat([inputs, previous], dim=2)).tanh())

    def generate(self, inputs: Tensor) -> Tensor:
        """Return the outputs (batch, time, outputs) where each step is given its own output before."""
        found = [inputs.new_zeros(len(inputs), self.output.out_features)]
        for step in range(inputs.shape[1]):
            found.append(self(inputs[:, step : step + 1], found[-1].unsqueeze(1)).squeeze(1))
        return torch.stack(found[1:], dim=1)
