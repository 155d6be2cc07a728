"""Letters of words that the vocabulary lacks: read into a vector on one side, written out of a state on the other.

Luong and Manning (2016), Achieving Open Vocabulary Neural Machine Translation with Hybrid Word-Character Models, §4:
the last state over a word's letters stands for the word in the encoder (§4.2), and where the decoder says "unknown",
letters are written from a state of their own, made of what the decoder attended to (§4.3, the separate path).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.data.vocabulary import PADDING
from models.nn.linear import linear
from models.nn.recurrent import RecurrentLayer
from models.nn.seq2seq.encoder import vectors


class LetterReader(nn.Module):
    """A vector per word, of its letters."""

    def __init__(self, letters: int, size: int, generator: torch.Generator) -> None:
        """Draw the weights for ``letters`` different letters and vectors of ``size``."""
        super().__init__()
        self.embedding = vectors(letters, size, generator)
        self.recurrent = RecurrentLayer("gru", size, size, generator)

    def forward(self, letters: Tensor) -> Tensor:
        """Return (words, size) of letters (words, letters) int64, padded; of a word without any it means nothing."""
        _, last = self.recurrent(nn.functional.embedding(letters, self.embedding), letters != PADDING)
        return last[0]


class Speller(nn.Module):
    """p(c_t | c_<t, h̃) of the letters of a word."""

    def __init__(self, letters: int, hidden: int, size: int, generator: torch.Generator) -> None:
        """Draw the weights for states of ``size``, begun from a decoder's outputs of ``hidden`` numbers."""
        super().__init__()
        self.size = size
        self.embedding = vectors(letters, size, generator)
        self.initial = linear(hidden, size, generator)
        self.recurrent = RecurrentLayer("gru", size, size, generator)
        self.output = linear(size, letters, generator)

    def start(self, outputs: Tensor) -> Tensor:
        """Return the state (…, size) before the first letter, of the decoder's outputs (…, hidden)."""
        return self.initial(outputs).tanh()

    def forward(self, before: Tensor, state: Tensor) -> Tensor:
        """Return logits (words, letters, choices) behind the letters ``before`` (words, letters) int64."""
        hidden, _ = self.recurrent(nn.functional.embedding(before, self.embedding), None, (state,))
        return self.output(hidden)

    def step(self, letters: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (words, choices) behind ``letters`` (words,) int64, and the next state."""
        (following,) = self.recurrent.step(nn.functional.embedding(letters, self.embedding), (state,))
        return self.output(following), following
