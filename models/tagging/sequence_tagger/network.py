"""The network: what is known of each word, read over time by an encoder, to a score per tag."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.data.vocabulary import PADDING, UNKNOWN
from models.nn.crf import LinearChain
from models.nn.dropout import Dropout
from models.nn.linear import linear
from models.nn.recurrent import Cell, Recurrent
from models.tagging.sequence_tagger.spec import SequenceTaggerConfig

LETTER_WINDOW = 3
CELLS: dict[str, tuple[Cell, bool]] = {"rnn": ("rnn", False), "lstm": ("lstm", False), "bilstm": ("lstm", True)}
"""Cell, and whether it reads both ways."""


@dataclass(frozen=True)
class Sizes:
    """How many there are of what the training split decides.

    Attributes:
        words: indices of words.
        symbols: indices of each field.
        characters: indices of letters; None where they are not looked at.
        features: indices of sparse features; None where there are no templates.
        tags: tags.
    """

    words: int
    symbols: tuple[int, ...]
    characters: int | None
    features: int | None
    tags: int


class Tagger(nn.Module):
    """Emissions of a sentence, and the chain of tags where there is one."""

    def __init__(
        self, config: SequenceTaggerConfig, sizes: Sizes, names: Sequence[str], generator: torch.Generator
    ) -> None:
        """Draw the weights from ``generator``; ``names`` are those of the inputs in order."""
        super().__init__()
        self.names = tuple(names)
        self.reader = None if config.encoder == "none" else Reader(config, sizes, generator)
        self.output = None if self.reader is None else linear(self.reader.width, sizes.tags, generator)
        self.templates: nn.Parameter | None = None
        if sizes.features is not None:
            self.templates = nn.Parameter(torch.zeros(sizes.features, sizes.tags, device=generator.device))
        self.chain = LinearChain(sizes.tags, generator) if config.decoder == "crf" else None

    def forward(
        self, words: Tensor, second: Tensor | None = None, third: Tensor | None = None, fourth: Tensor | None = None
    ) -> Tensor:
        """Return emissions (batch, time, tags), zero at padding.

        Args:
            words: (batch, time) int64, 0 for padding.
            second: those of ``symbols`` (batch, time, fields), ``characters`` (batch, time, letters) and ``features``
                (batch, time, templates) that there are, all int64, in this order.
            third: the next of them.
            fourth: the last of them.
        """
        given = dict(zip(self.names, (words, second, third, fourth), strict=False))
        mask = words != PADDING
        emissions: Tensor | None = None
        if self.reader is not None and self.output is not None:
            emissions = self.output(self.reader(words, given.get("symbols"), given.get("characters"), mask))
        if self.templates is not None:
            features = cast("Tensor", given["features"])
            direct = functional.embedding(features, self.templates, padding_idx=PADDING).sum(dim=2)
            emissions = direct if emissions is None else emissions + direct
        assert emissions is not None
        return emissions * mask.unsqueeze(2)


class Reader(nn.Module):
    """Vectors of words, symbols and letters, read by the encoder: (batch, time, ``width``)."""

    def __init__(self, config: SequenceTaggerConfig, sizes: Sizes, generator: torch.Generator) -> None:
        """Draw the weights from ``generator``."""
        super().__init__()
        self.words = _vectors(sizes.words, config.word_dimensions, generator)
        self.rare = nn.Buffer(torch.zeros(sizes.words, dtype=torch.bool, device=generator.device))
        """Words (words,) that the training split has once."""
        self.symbols = nn.ModuleList(_vectors(size, config.symbol_dimensions, generator) for size in sizes.symbols)
        self.letters = None if sizes.characters is None else Letters(config, sizes.characters, generator)
        inputs = config.word_dimensions + config.symbol_dimensions * len(sizes.symbols)
        inputs += 0 if self.letters is None else self.letters.width
        self.dropout = Dropout(config.dropout, generator)
        self.encoder: Recurrent | Convolutions
        if config.encoder == "convolution":
            self.encoder = Convolutions(inputs, config.hidden, config.window, config.layers, generator)
        else:
            cell, both = CELLS[config.encoder]
            self.encoder = Recurrent(
                cell,
                inputs,
                config.hidden,
                generator,
                layers=config.layers,
                bidirectional=both,
                dropout=config.dropout,
            )
        self.width = self.encoder.width
        self._unknown_share = config.unknown_share
        self._generator = generator

    def forward(self, words: Tensor, symbols: Tensor | None, characters: Tensor | None, mask: Tensor) -> Tensor:
        """Return the encoder's outputs (batch, time, width)."""
        if self.training and self._unknown_share > 0:
            drawn = torch.empty(words.shape, device=words.device).bernoulli_(
                self._unknown_share, generator=self._generator
            )
            words = words.masked_fill(self.rare[words] & (drawn > 0), UNKNOWN)
        found = [self.words(words)]
        if symbols is not None:
            found += [table(symbols[:, :, field]) for field, table in enumerate(self.symbols)]
        if characters is not None and self.letters is not None:
            found.append(self.letters(characters))
        inputs = self.dropout(torch.cat(found, dim=2) if len(found) > 1 else found[0])
        if isinstance(self.encoder, Convolutions):
            return self.dropout(self.encoder(inputs, mask))
        return self.dropout(self.encoder(inputs, mask, keep_state=False)[0])


class Convolutions(nn.Module):
    """Layers of windows over time (Collobert et al. 2011, §3.2.2, Eq. 5) with rectifiers; beyond the ends are zeros."""

    def __init__(self, inputs: int, hidden: int, window: int, layers: int, generator: torch.Generator) -> None:
        """Draw the weights of ``layers`` layers from ``generator``."""
        super().__init__()
        self.width = hidden
        self._window = window
        self.layers = nn.ModuleList(
            linear(window * (inputs if layer == 0 else hidden), hidden, generator) for layer in range(layers)
        )

    def forward(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Return (batch, time, hidden) of ``inputs`` (batch, time, inputs), zero where ``mask`` is False."""
        outputs = inputs * mask.unsqueeze(2)
        for layer in self.layers:
            outputs = layer(_windows(outputs, self._window)).relu() * mask.unsqueeze(2)
        return outputs


class Letters(nn.Module):
    """A vector for the spelling of each word, from its letters."""

    def __init__(self, config: SequenceTaggerConfig, letters: int, generator: torch.Generator) -> None:
        """Draw the weights from ``generator``."""
        super().__init__()
        self.vectors = _vectors(letters, config.character_dimensions, generator)
        self.convolution: nn.Linear | None = None
        self.recurrent: Recurrent | None = None
        self.width = config.character_hidden
        if config.characters == "convolution":
            self.convolution = linear(LETTER_WINDOW * config.character_dimensions, self.width, generator)
        else:
            self.recurrent = Recurrent(
                "lstm", config.character_dimensions, config.character_hidden, generator, bidirectional=True
            )
            self.width *= 2

    def forward(self, characters: Tensor) -> Tensor:
        """Return (batch, time, width) of ``characters`` (batch, time, letters) int64.

        The convolution's maps are taken at their largest (Ma and Hovy 2016, §2.1), of the LSTM the last states both
        ways (Lample et al. 2016, §4.1).
        """
        flat = characters.flatten(0, 1)  # (words, letters)
        mask = flat != PADDING
        vectors = self.vectors(flat) * mask.unsqueeze(2)
        if self.convolution is not None:
            # A rectifier before the maximum: padding at 0 then never wins over a letter.
            found = (self.convolution(_windows(vectors, LETTER_WINDOW)).relu() * mask.unsqueeze(2)).amax(dim=1)
        else:
            assert self.recurrent is not None
            outputs, _ = self.recurrent(vectors, mask, keep_state=False)
            half = self.width // 2
            last = (mask.sum(dim=1, keepdim=True) - 1).clamp(min=0).unsqueeze(2).expand(-1, 1, half)
            found = torch.cat([outputs[:, :, :half].gather(1, last).squeeze(1), outputs[:, 0, half:]], dim=1)
        return found.view(*characters.shape[:2], self.width)


def _windows(sequence: Tensor, width: int) -> Tensor:
    """Return each place (batch, time, width × inputs) with those around it, zeros beyond the ends."""
    before = (width - 1) // 2
    wide = functional.pad(sequence, (0, 0, before, width - 1 - before))
    time = sequence.shape[1]
    return torch.cat([wide[:, offset : offset + time] for offset in range(width)], dim=2)


def _vectors(count: int, dimensions: int, generator: torch.Generator) -> nn.Embedding:
    """Return vectors drawn from U(−√(3/d), √(3/d)), of unit variance summed over their dimensions."""
    table = cast("nn.Embedding", nn.utils.skip_init(nn.Embedding, count, dimensions, device=generator.device))
    bound = math.sqrt(3 / dimensions)
    with torch.no_grad():
        table.weight.uniform_(-bound, bound, generator=generator)
    return table
