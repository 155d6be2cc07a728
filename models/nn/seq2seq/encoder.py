"""The encoder: vectors of source tokens, recurrent layers, a state per token and a summary of all."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models.nn.dropout import Dropout
from models.nn.recurrent import Recurrent
from models.seq2seq.options import Seq2SeqConfig


class Encoder(nn.Module):
    """A memory cell per source token, and the last hidden state of the uppermost layer."""

    def __init__(self, config: Seq2SeqConfig, vocabulary: int, generator: torch.Generator) -> None:
        """Draw the weights from ``generator``."""
        super().__init__()
        self.embedding = vectors(vocabulary, config.embedding, generator)
        self.dropout = Dropout(config.dropout, generator)
        below = {"none": 0, "first": 1, "all": config.depth}[config.bidirectional]
        stacks: list[Recurrent] = []
        for layers, both in ((below, True), (config.depth - below, False)):
            if layers:
                stacks.append(
                    Recurrent(
                        config.cell,
                        config.hidden if stacks else config.embedding,
                        config.hidden // 2 if both else config.hidden,
                        generator,
                        layers=layers,
                        bidirectional=both,
                        dropout=config.dropout,
                        residual=config.residual,
                    )
                )
        self.stacks = nn.ModuleList(stacks)

    def forward(self, tokens: Tensor, mask: Tensor, spelt: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the memory (batch, source, hidden) and the summary (batch, hidden).

        Args:
            tokens: (batch, source) int64.
            mask: (batch, source) bool.
            spelt: (batch, source, embedding) to be taken in place of the tokens' vectors.
        """
        found = nn.functional.embedding(tokens, self.embedding) if spelt is None else spelt
        outputs = self.dropout(found)
        summary = outputs[:, 0]
        for number, stack in enumerate(self.stacks):
            assert isinstance(stack, Recurrent)
            outputs, last = stack(self.dropout(outputs) if number else outputs, mask, keep_state=False)
            directions = 2 if len(last) == 2 * len(stack.layers) else 1
            summary = torch.cat([state[0] for state in last[-directions:]], dim=1)
        return outputs, summary


def vectors(vocabulary: int, size: int, generator: torch.Generator) -> nn.Parameter:
    """Return vectors (vocabulary, size) of a mean length of 1."""
    drawn = torch.empty(vocabulary, size, device=generator.device).normal_(generator=generator)
    return nn.Parameter(drawn / math.sqrt(size))
