"""Attention over a masked memory: additive, dot, general, concat; to all of it, or to a window of it.

Bahdanau, Cho, Bengio (2015), §3.1 and App. A.1.2 for ``additive``; Luong, Pham, Manning (2015), Eq. 8 for ``dot``,
``general`` and ``concat``, §3.2 for ``local_m`` and ``local_p``, both with the score ``general``. Weights (batch,
target, source) sum to 1 over the real tokens of a row and are 0 at padding and outside a window.

Departures: ``concat`` is vᵀ tanh(W [h; s]) = vᵀ tanh(W₁ h + W₂ s), so it is ``additive`` without a bias and with as
many units as the memory has. The window of ``local_m`` stays within the sentence when the target is longer. ``local_p``
multiplies by its Gaussian before it normalises, where Eq. 10 does it behind, so that its rows sum to 1 too.
"""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
from torch import Tensor, nn

from models.nn.linear import linear

Score = Literal["additive", "dot", "general", "concat", "local_m", "local_p"]


class Attention(nn.Module):
    """Where each query looks, and what it finds there."""

    def __init__(self, score: Score, width: int, window: int, generator: torch.Generator) -> None:
        """Draw the weights from ``generator``.

        Args:
            score: how query and memory are compared.
            width: numbers of a query and of a memory cell.
            window: cells seen on either side of the position by ``local_m`` and ``local_p``.
            generator: of the weights.
        """
        super().__init__()
        self.score: Score = score
        self.window = window
        summed = score in ("additive", "concat")
        self.query = None if score == "dot" else _matrix(width, width, generator)
        self.key = _matrix(width, width, generator) if summed else None
        self.bias = nn.Parameter(torch.zeros(width, device=generator.device)) if score == "additive" else None
        self.vector = _matrix(width, 1, generator) if summed else None
        drawn = [linear(width, width, generator), linear(width, 1, generator)] if score == "local_p" else None
        self.position = None if drawn is None else nn.ModuleList(drawn)

    def keys(self, memory: Tensor) -> Tensor | None:
        """Return what can be computed of ``memory`` (batch, source, width) once for all queries; None if nothing."""
        if self.key is None:
            return None
        keys = self.key(memory)
        return keys if self.bias is None else keys + self.bias

    def forward(
        self, queries: Tensor, memory: Tensor, keys: Tensor | None, mask: Tensor, steps: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what is found (batch, target, width), and the weights (batch, target, source).

        Args:
            queries: (batch, target, width).
            memory: (batch, source, width).
            keys: as :meth:`keys` returns them.
            mask: (batch, source) bool; each row has a real token.
            steps: (batch, target) float, the place of each query in the target, from 0; read by ``local_m``.
        """
        scores = self._scores(queries, memory, keys)  # (batch, target, source)
        seen = mask.unsqueeze(1)
        if self.score in ("local_m", "local_p"):
            centre = self._centre(queries, mask, steps)  # (batch, target, 1)
            places = torch.arange(memory.shape[1], device=memory.device).to(scores.dtype)
            distance = places - centre
            seen = seen & (distance.abs() <= self.window)
            if self.score == "local_p":
                scores = scores - distance.square() / (2 * (self.window / 2) ** 2)  # Eq. 10: σ = D / 2
        weights = scores.masked_fill(~seen, -math.inf).softmax(dim=2)
        return torch.bmm(weights, memory), weights

    def _scores(self, queries: Tensor, memory: Tensor, keys: Tensor | None) -> Tensor:
        projected = queries if self.query is None else self.query(queries)
        if self.vector is None:
            return torch.bmm(projected, memory.transpose(1, 2))
        assert keys is not None
        both = (projected.unsqueeze(2) + keys.unsqueeze(1)).tanh()  # (batch, target, source, width)
        return self.vector(both).squeeze(3)

    def _centre(self, queries: Tensor, mask: Tensor, steps: Tensor) -> Tensor:
        """Return the middle of each query's window (batch, target, 1), in tokens from 0."""
        lengths = mask.sum(dim=1).to(queries.dtype).view(-1, 1, 1)
        if self.position is None:
            return torch.minimum(steps.to(queries.dtype).unsqueeze(2), lengths - 1)
        hidden, out = self.position
        return lengths * out(hidden(queries).tanh()).sigmoid()  # Eq. 9


def _matrix(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    layer = cast("nn.Linear", nn.utils.skip_init(nn.Linear, inputs, outputs, bias=False, device=generator.device))
    bound = 1 / math.sqrt(inputs)
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
    return layer
