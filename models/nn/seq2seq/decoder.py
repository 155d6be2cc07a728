"""The decoder: recurrent layers over target tokens that look at the encoder's memory, all steps at once or one by one.

Luong's (2015, §3): h_t = f(y_t−1, h_t−1), looks with h_t, h̃_t = tanh(W_c [c_t; h_t]) (Eq. 5); with input feeding the
step reads h̃_t−1 too (§3.3). Bahdanau's (2015, App. A.2): looks with s_t−1, s_t = f(y_t−1, c_t, s_t−1), then a maxout
layer of s_t, y_t−1 and c_t. Without attention h_t itself (Sutskever et al. 2014), or each step reads the summary and
h̃_t does (Cho et al. 2014, §2.2). The state before the first step is tanh(V c + b) of the summary c (Cho et al. 2014,
App. A.1.2), for memory cells of LSTMs too.

Departures: Bahdanau's output reads s_t as Eq. 4 says, where App. A.2.2 prints s_t−1; in a deep decoder the uppermost
layer looks, where Wu et al. (2016, §3) take the lowest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from models.nn.attention import Attention
from models.nn.dropout import Dropout
from models.nn.linear import linear
from models.nn.recurrent import Recurrent, State
from models.seq2seq.options import Seq2SeqConfig


@dataclass(frozen=True)
class Memory:
    """What the encoder found.

    Attributes:
        cells: (batch, source, hidden).
        keys: of the attention, see :meth:`models.nn.attention.Attention.keys`.
        mask: (batch, source) bool.
    """

    cells: Tensor
    keys: Tensor | None
    mask: Tensor


@dataclass(frozen=True)
class DecoderState:
    """What is carried from step to step.

    Attributes:
        layers: of the recurrent layers.
        fed: (batch, hidden), the output that the next step reads, or the summary that each does; None if none.
        steps: (batch,) float, how many steps were taken; None where nothing asks for it.
    """

    layers: tuple[State, ...]
    fed: Tensor | None
    steps: Tensor | None


class Decoder(nn.Module):
    """Outputs (batch, target, hidden) from which the next token is told."""

    def __init__(self, config: Seq2SeqConfig, generator: torch.Generator) -> None:
        """Draw the weights from ``generator``."""
        super().__init__()
        hidden = config.hidden
        self.hidden = hidden
        self.feeds = config.input_feeding
        self.looks_first = config.decoder == "bahdanau"
        self.told = config.attention == "none" and config.summary == "every_step"
        wide = self.feeds or self.looks_first or self.told
        self.dropout = Dropout(config.dropout, generator)
        self.recurrent = Recurrent(
            config.cell,
            config.embedding + (hidden if wide else 0),
            hidden,
            generator,
            layers=config.depth,
            dropout=config.dropout,
            residual=config.residual,
        )
        self.attention = (
            None if config.attention == "none" else Attention(config.attention, hidden, config.window, generator)
        )
        self.counts = config.attention == "local_m"
        self.shape = tuple(len(state) for state in self.recurrent.start(1))
        """Tensors in the state of each layer."""
        self.parts = sum(self.shape)
        self.initial = linear(hidden, self.parts * hidden, generator)
        readout = 2 * hidden + (config.embedding if self.looks_first else 0)
        plain = self.attention is None and not self.told
        self.readout = None if plain else linear(readout, 2 * hidden if self.looks_first else hidden, generator)

    @property
    def state_size(self) -> int:
        """Numbers of a packed state."""
        return (self.parts + (self.feeds or self.told)) * self.hidden + self.counts

    def start(self, summary: Tensor) -> DecoderState:
        """Return the state before the first step, of the encoder's ``summary`` (batch, hidden)."""
        each = iter(cast("tuple[Tensor, ...]", self.initial(summary).tanh().split(self.hidden, dim=1)))
        layers = tuple(tuple(next(each) for _ in range(count)) for count in self.shape)
        fed = summary if self.told else torch.zeros_like(summary) if self.feeds else None
        return DecoderState(layers, fed, torch.zeros_like(summary[:, 0]) if self.counts else None)

    def forward(self, vectors: Tensor, state: DecoderState, memory: Memory | None) -> tuple[Tensor, Tensor | None]:
        """Return the outputs (batch, target, hidden) and the weights (batch, target, source).

        One call of the recurrent layers where no step waits for what the one before found; else step by step.

        Args:
            vectors: (batch, target, embedding) of the tokens before each.
            state: before the first step.
            memory: of the encoder; None without attention.
        """
        if self.feeds or self.looks_first:
            return self._one_by_one(vectors, state, memory)
        if self.told:
            assert state.fed is not None
            vectors = torch.cat([vectors, state.fed.unsqueeze(1).expand(-1, vectors.shape[1], -1)], dim=2)
        hidden, _ = self.recurrent(vectors, None, state.layers, keep_state=False)
        if self.attention is None:
            return self._read(hidden, None if state.fed is None else vectors[:, :, -self.hidden :]), None
        assert memory is not None
        steps = torch.arange(vectors.shape[1], device=vectors.device).unsqueeze(0).expand(len(vectors), -1)
        found, weights = self.attention(hidden, memory.cells, memory.keys, memory.mask, steps)
        return self._read(hidden, found), weights

    def step(
        self, vector: Tensor, state: DecoderState, memory: Memory | None
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """Return output (batch, hidden), weights (batch, source) and the state after ``vector`` (batch, embedding)."""
        steps = None if state.steps is None else state.steps + 1
        if self.looks_first:
            assert memory is not None
            found, weights = self._look(state.layers[-1][0], state, memory)
            above, layers = self.recurrent.step(torch.cat([vector, found], dim=1), state.layers)
            assert self.readout is not None
            pairs = self.readout(torch.cat([above, found, vector], dim=1))
            return pairs.unflatten(1, (self.hidden, 2)).amax(dim=2), weights, DecoderState(layers, None, steps)
        inputs = vector if state.fed is None else torch.cat([vector, state.fed], dim=1)
        hidden, layers = self.recurrent.step(inputs, state.layers)
        if self.attention is None:
            return self._read(hidden, state.fed), None, DecoderState(layers, state.fed, steps)
        assert memory is not None
        found, weights = self._look(hidden, state, memory)
        output = self._read(hidden, found)
        return output, weights, DecoderState(layers, output if self.feeds else None, steps)

    def packed(self, state: DecoderState) -> Tensor:
        """Return a state as (batch, state size)."""
        tensors = [part for layer in state.layers for part in layer]
        tensors += [] if state.fed is None else [state.fed]
        tensors += [] if state.steps is None else [state.steps.unsqueeze(1)]
        return torch.cat(tensors, dim=1)

    def unpacked(self, packed: Tensor) -> DecoderState:
        """Return what :meth:`packed` was given."""
        kept = self.parts + (self.feeds or self.told)
        each = list(cast("tuple[Tensor, ...]", packed[:, : kept * self.hidden].split(self.hidden, dim=1)))
        parts = iter(each)
        layers = tuple(tuple(next(parts) for _ in range(count)) for count in self.shape)
        fed = each[-1] if self.feeds or self.told else None
        return DecoderState(layers, fed, packed[:, -1] if self.counts else None)

    def _one_by_one(self, vectors: Tensor, state: DecoderState, memory: Memory | None) -> tuple[Tensor, Tensor | None]:
        outputs: list[Tensor] = []
        weights: list[Tensor] = []
        for vector in cast("Sequence[Tensor]", vectors.unbind(1)):
            output, own, state = self.step(vector, state, memory)
            outputs.append(output)
            weights += [] if own is None else [own]
        return torch.stack(outputs, dim=1), torch.stack(weights, dim=1) if weights else None

    def _look(self, query: Tensor, state: DecoderState, memory: Memory) -> tuple[Tensor, Tensor]:
        """Return what is found (batch, hidden) and the weights (batch, source) of one query (batch, hidden)."""
        assert self.attention is not None
        steps = torch.zeros_like(query[:, :1]) if state.steps is None else state.steps.unsqueeze(1)
        found, weights = self.attention(query.unsqueeze(1), memory.cells, memory.keys, memory.mask, steps)
        return found.squeeze(1), weights.squeeze(1)

    def _read(self, hidden: Tensor, found: Tensor | None) -> Tensor:
        if self.readout is None or found is None:
            return hidden
        return self.readout(torch.cat([found, hidden], dim=-1)).tanh()
