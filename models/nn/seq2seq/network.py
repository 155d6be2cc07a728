"""Encoder and decoder with the vectors of target tokens and the output over them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.data.vocabulary import PADDING
from models.nn.dropout import Dropout
from models.nn.linear import linear
from models.nn.seq2seq.decoder import Decoder, DecoderState, Memory
from models.nn.seq2seq.encoder import Encoder, vectors
from models.nn.seq2seq.spelling import LetterReader, Speller
from models.seq2seq.options import Seq2SeqConfig


class Seq2Seq(nn.Module):
    """p(y | x) = ∏ p(y_t | y_<t, x)."""

    def __init__(
        self, config: Seq2SeqConfig, sources: int, targets: int, letters: int, generator: torch.Generator
    ) -> None:
        """Draw the weights from ``generator``, for vocabularies of ``sources`` and ``targets`` tokens.

        With ``letters`` other than 0 unknown words are read and spelt with so many different ones.
        """
        super().__init__()
        self.encoder = Encoder(config, sources, generator)
        self.decoder = Decoder(config, generator)
        self.embedding = vectors(targets, config.embedding, generator)
        self.dropout = Dropout(config.dropout, generator)
        same = config.hidden == config.embedding
        self.projection = linear(config.hidden, config.embedding, generator) if config.tied and not same else None
        self.output = None if config.tied else linear(config.hidden, targets, generator)
        self.output_bias = nn.Parameter(torch.zeros(targets, device=generator.device)) if config.tied else None
        self.reader = LetterReader(letters, config.embedding, generator) if letters else None
        self.speller = Speller(letters, config.hidden, config.embedding, generator) if letters else None
        self._generator = generator

    def encode(self, tokens: Tensor, mask: Tensor, letters: Tensor | None = None) -> tuple[Memory, DecoderState]:
        """Return what the decoder begins with.

        Args:
            tokens: (batch, source) int64.
            mask: (batch, source) bool.
            letters: (batch, source, letters) int64 of the tokens that are unknown, padding of all others.
        """
        cells, summary = self.encoder(tokens, mask, None if letters is None else self._read(tokens, letters))
        attention = self.decoder.attention
        keys = None if attention is None else attention.keys(cells)
        return Memory(cells, keys, mask), self.decoder.start(summary)

    def forward(
        self, tokens: Tensor, mask: Tensor, before: Tensor, sampled: float = 0.0, letters: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return outputs (batch, target, hidden) and attention weights (batch, target, source).

        Args:
            tokens: (batch, source) int64.
            mask: (batch, source) bool.
            before: (batch, target) int64, the true token before each (teacher forcing).
            sampled: share of these that are replaced by draws of the network's own (Bengio et al. 2015, §2.4).
            letters: of the source's unknown tokens, see :meth:`encode`.
        """
        memory, state = self.encode(tokens, mask, letters)
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

    def _read(self, tokens: Tensor, letters: Tensor) -> Tensor:
        """Return the vectors (batch, source, embedding) of tokens, those of unknown ones read from their letters."""
        assert self.reader is not None
        known = nn.functional.embedding(tokens, self.encoder.embedding)
        unknown = letters[:, :, 0] != PADDING
        if not self.training:
            read = self.reader(letters.flatten(0, 1)).unflatten(0, letters.shape[:2])
            return torch.where(unknown.unsqueeze(2), read, known)
        # Few words are unknown: in training only these are read.
        return known.masked_scatter(unknown.unsqueeze(2), self.reader(letters[unknown])) if unknown.any() else known

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
