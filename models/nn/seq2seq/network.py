"""Encoder and decoder with the vectors of target tokens and the output over them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.nn.dropout import Dropout
from models.nn.linear import linear
from models.nn.seq2seq.decoder import Decoder, DecoderState, Memory
from models.nn.seq2seq.encoder import Encoder, vectors
from models.seq2seq.options import Seq2SeqConfig


class Seq2Seq(nn.Module):
    """p(y | x) = ∏ p(y_t | y_<t, x)."""

    def __init__(self, config: Seq2SeqConfig, sources: int, targets: int, generator: torch.Generator) -> None:
        """Draw the weights from ``generator``, for vocabularies of ``sources`` and ``targets`` tokens."""
        super().__init__()
        self.encoder = Encoder(config, sources, generator)
        self.decoder = Decoder(config, generator)
        self.embedding = vectors(targets, config.embedding, generator)
        self.dropout = Dropout(config.dropout, generator)
        same = config.hidden == config.embedding
        self.projection = linear(config.hidden, config.embedding, generator) if config.tied and not same else None
        self.output = None if config.tied else linear(config.hidden, targets, generator)
        self.output_bias = nn.Parameter(torch.zeros(targets, device=generator.device)) if config.tied else None
        self._generator = generator

    def encode(self, tokens: Tensor, mask: Tensor) -> tuple[Memory, DecoderState]:
        """Return what the decoder begins with.

        Args:
            tokens: (batch, source) int64.
            mask: (batch, source) bool.
        """
        cells, summary = self.encoder(tokens, mask)
        attention = self.decoder.attention
        keys = None if attention is None else attention.keys(cells)
        return Memory(cells, keys, mask), self.decoder.start(summary)

    def forward(
        self, tokens: Tensor, mask: Tensor, before: Tensor, sampled: float = 0.0
    ) -> tuple[Tensor, Tensor | None]:
        """Return outputs (batch, target, hidden) and attention weights (batch, target, source).

        Args:
            tokens: (batch, source) int64.
            mask: (batch, source) bool.
            before: (batch, target) int64, the true token before each (teacher forcing).
            sampled: share of these that are replaced by draws of the network's own (Bengio et al. 2015, §2.4).
        """
        memory, state = self.encode(tokens, mask)
        if sampled > 0:
            return self._sampled(before, state, memory, sampled), None
        return self.decoder(self.vectors(before), state, memory)

    def vectors(self, tokens: Tensor) -> Tensor:
        """Return (…, embedding) of target tokens (…) int64."""
        return self.dropout(nn.functional.embedding(tokens, self.embedding))

    def logits(self, outputs: Tensor) -> Tensor:
        """Return (…, targets) of outputs (…, hidden)."""
        outputs = self.dropout(outputs)
        if self.output is not None:
            return self.output(outputs)
        projected = outputs if self.projection is None else self.projection(outputs)
        return nn.functional.linear(projected, self.embedding, self.output_bias)

    def _sampled(self, before: Tensor, state: DecoderState, memory: Memory, share: float) -> Tensor:
        outputs: list[Tensor] = []
        for time, truth in enumerate(before.unbind(1)):
            tokens = truth
            if time:
                with torch.no_grad():
                    probabilities = self.logits(outputs[-1]).softmax(dim=1)
                    drawn = torch.multinomial(probabilities, 1, generator=self._generator).squeeze(1)
                    own = torch.rand(len(truth), generator=self._generator, device=truth.device) < share
                tokens = torch.where(own, drawn, truth)
            output, _, state = self.decoder.step(self.vectors(tokens), state, memory)
            outputs.append(output)
        return torch.stack(outputs, dim=1)
