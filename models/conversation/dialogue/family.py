"""The conversational model on conversations."""

from __future__ import annotations

from collections.abc import Sequence

from models.contract.task import Split
from models.conversation.dialogue.spec import DialogueConfig
from models.conversation.exchanges import exchanges, source_text
from models.nn.seq2seq.learning import Seq2SeqFamily


class DialogueFamily(Seq2SeqFamily[DialogueConfig]):
    """The conversational model."""

    def pairs(self, split: Split) -> tuple[Sequence[str], Sequence[str]]:
        """Return the turns before each reply as one text, and the replies."""
        context, longest = self.config.context_turns, self.config.longest
        found = list(exchanges(split, max(1, context), longest))
        return [source_text(item.turns, context, longest) for item in found], [item.reply for item in found]


FAMILY = DialogueFamily
