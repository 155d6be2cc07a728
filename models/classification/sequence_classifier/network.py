"""The network: vectors of tokens, recurrent layers, and logits of the last state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.classification.sequence_classifier.spec import SequenceClassifierConfig
from models.nn.dropout import Dropout
from models.nn.linear import linear
from models.nn.recurrent import Recurrent
from models.nn.sequences import real_tokens


class SequenceClassifier(nn.Module):
    """h_t = f(E x_t, h_t−1), logits = W h_T + b; h_T of both directions side by side (Goodfellow Figure 10.5)."""

    def __init__(
        self, config: SequenceClassifierConfig, vocabulary: int, classes: int, generator: torch.Generator
    ) -> None:
        """Draw the weights from ``generator``."""
        super().__init__()
        vectors = torch.empty(vocabulary, config.embedding, device=generator.device)
        self.embedding = nn.Parameter(vectors.normal_(generator=generator))
        self.dropout = Dropout(config.dropout, generator)
        self.recurrent = Recurrent(
            config.cell,
            config.embedding,
            config.hidden,
            generator,
            layers=config.layers,
            bidirectional=config.bidirectional,
            dropout=config.dropout,
        )
        self.directions = 2 if config.bidirectional else 1
        self.output = linear(self.recurrent.width, classes, generator)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Return logits (batch, classes) of ``tokens`` (batch, time) int64, ``lengths`` (batch,) of them real."""
        inputs = self.dropout(nn.functional.embedding(tokens, self.embedding))
        _, states = self.recurrent(inputs, real_tokens(tokens, lengths))
        last = torch.cat([state[0] for state in states[-self.directions :]], dim=1)  # (batch, width)
        return self.output(self.dropout(last))
