"""What is exported of a network: see :mod:`models.seq2seq.parts` for names and shapes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.nn.seq2seq.decoder import Memory
from models.nn.seq2seq.network import Seq2Seq
from models.nn.seq2seq.spelling import Speller
from models.nn.sequences import real_tokens

SPELLING_CHOICES = 2


class EncoderGraph(nn.Module):
    """Reads a source."""

    def __init__(self, network: Seq2Seq) -> None:
        """Wrap the trained network."""
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor, lengths: Tensor, letters: Tensor | None = None) -> tuple[Tensor, Tensor] | Tensor:
        """Return the packed state before the first step and, with attention, the memory with its keys."""
        memory, state = self.network.encode(tokens, real_tokens(tokens, lengths), letters)
        start = self.network.decoder.packed(state)
        if self.network.decoder.attention is None:
            return start
        return start, memory.cells if memory.keys is None else torch.cat([memory.cells, memory.keys], dim=2)


class StepGraph(nn.Module):
    """Takes one step of the target."""

    def __init__(self, network: Seq2Seq, top: int) -> None:
        """Wrap the trained network; ``top`` candidates are returned."""
        super().__init__()
        self.network = network
        self.top = top

    def forward(
        self, tokens: Tensor, wanted: Tensor, state: Tensor, memory: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Return log-probabilities and tokens of the best, the log-probability of ``wanted``, state and attention."""
        decoder = self.network.decoder
        held: Memory | None = None
        if memory is not None and lengths is not None:
            cells = memory[:, :, : decoder.hidden]
            keys = memory[:, :, decoder.hidden :] if memory.shape[2] > decoder.hidden else None
            held = Memory(cells, keys, real_tokens(memory, lengths))
        output, weights, following = decoder.step(self.network.vectors(tokens), decoder.unpacked(state), held)
        # ONNX Runtime computes LogSoftmax by vectors and LogSumExp one number at a time.
        scores = self.network.logits(output).log_softmax(dim=1)  # (batch, targets)
        best = scores.topk(self.top, dim=1)
        scored = scores.gather(1, wanted.unsqueeze(1)).squeeze(1)
        found = (best.values, best.indices, scored, decoder.packed(following))
        if weights is not None:
            found = (*found, weights)
        return found if self.network.speller is None else (*found, self.network.speller.start(output))


class SpellerGraph(nn.Module):
    """Writes one letter of an unknown word."""

    def __init__(self, speller: Speller) -> None:
        """Wrap the trained speller."""
        super().__init__()
        self.speller = speller

    def forward(self, letters: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        """Return log-probabilities and letters of the best, and the next state."""
        logits, following = self.speller.step(letters, state)
        best = logits.log_softmax(dim=1).topk(SPELLING_CHOICES, dim=1)
        return best.values, best.indices, following
