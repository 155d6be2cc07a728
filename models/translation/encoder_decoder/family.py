"""The encoder-decoder on sentence pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from models.contract.task import Split
from models.nn.seq2seq.learning import Seq2SeqFamily
from models.translation.encoder_decoder.spec import EncoderDecoderConfig


class EncoderDecoderFamily(Seq2SeqFamily[EncoderDecoderConfig]):
    """The encoder-decoder."""

    def pairs(self, split: Split) -> tuple[Sequence[str], Sequence[str]]:
        """Return the sentences of both sides."""
        return cast("list[str]", split["sources"].tolist()), cast("list[str]", split["targets"].tolist())


FAMILY = EncoderDecoderFamily
