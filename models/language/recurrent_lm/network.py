"""The network: vectors of tokens, recurrent layers, logits; and the two graphs that are exported of it."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from models.language.recurrent_lm.spec import RecurrentLmConfig
from models.nn.dropout import Dropout
from models.nn.linear import linear
from models.nn.recurrent import Recurrent, State
from models.nn.sequences import real_tokens


class RecurrentLm(nn.Module):
    """h_t = f(E x_t, h_t−1), p(x_t+1 | x_1 … x_t) = softmax(W h_t + b) (Mikolov et al. 2010, Eq. 1 to 3)."""

    def __init__(self, config: RecurrentLmConfig, vocabulary: int, generator: torch.Generator) -> None:
        """Draw the weights from ``generator``; tied vectors are small, so that the first logits are near zero."""
        super().__init__()
        device = generator.device
        vectors = torch.empty(vocabulary, config.embedding, device=device).normal_(generator=generator)
        self.embedding = nn.Parameter(vectors / math.sqrt(config.embedding) if config.tied else vectors)
        self.dropout = Dropout(config.dropout, generator)
        self.recurrent = Recurrent(
            config.cell, config.embedding, config.hidden, generator, layers=config.layers, dropout=config.dropout
        )
        same = config.hidden == config.embedding
        self.projection = None if same or not config.tied else linear(config.hidden, config.embedding, generator)
        self.output = None if config.tied else linear(config.hidden, vocabulary, generator)
        self.output_bias = nn.Parameter(torch.zeros(vocabulary, device=device)) if config.tied else None
        self.parts = tuple(len(state) for state in self.recurrent.start(1))
        self.hidden = config.hidden

    @property
    def state_size(self) -> int:
        """Numbers in the state of all layers."""
        return sum(self.parts) * self.hidden

    def forward(self, tokens: Tensor, mask: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs (batch, time, hidden) of the last layer, and the next state (batch, state).

        Args:
            tokens: (batch, time) int64.
            mask: (batch, time) bool; all are real without one.
            state: (batch, state), zeros before the first token.
        """
        inputs = self.dropout(nn.functional.embedding(tokens, self.embedding))
        outputs, states = self.recurrent(inputs, mask, self._layered(state))
        return outputs, torch.cat([part for layer in states for part in layer], dim=1)

    def logits(self, outputs: Tensor) -> Tensor:
        """Return (…, vocabulary) of outputs (…, hidden)."""
        outputs = self.dropout(outputs)
        if self.output is not None:
            return self.output(outputs)
        vectors = outputs if self.projection is None else self.projection(outputs)
        return nn.functional.linear(vectors, self.embedding, self.output_bias)

    def last_output(self, state: Tensor) -> Tensor:
        """Return the output (batch, hidden) of the last layer behind the last token, which its state begins with."""
        return state[:, self.state_size - self.parts[-1] * self.hidden :][:, : self.hidden]

    def _layered(self, state: Tensor) -> list[State]:
        parts = iter(cast("tuple[Tensor, ...]", state.split(self.hidden, dim=1)))
        return [tuple(next(parts) for _ in range(count)) for count in self.parts]


class Reader(nn.Module):
    """Logits behind the last token of each row."""

    def __init__(self, network: RecurrentLm) -> None:
        """Wrap the trained network."""
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (batch, vocabulary) and the next state; ``lengths`` (batch,) are 1 or more."""
        _, following = self.network(tokens, real_tokens(tokens, lengths), state)
        return self.network.logits(self.network.last_output(following)), following


class Scorer(nn.Module):
    """Log-probability of each target."""

    def __init__(self, network: RecurrentLm) -> None:
        """Wrap the trained network."""
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor, targets: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities (batch, time) in nats, 0 at padding, and the next state."""
        mask = real_tokens(tokens, lengths)
        outputs, following = self.network(tokens, mask, state)
        each = self.network.logits(outputs).log_softmax(dim=2).gather(2, targets.unsqueeze(2)).squeeze(2)
        return each * mask, following
