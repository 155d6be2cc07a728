"""Turns as pairs: what was said before as the source, a reply as the target. Trainer and codec make them alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from models.contract.task import Split
from models.data.kinds.dialogues import LONGEST_TURN, conversations
from models.data.texts.segmentation import words_of

TURN = "⏎"
"""Stands between two turns, as a word of its own; nobody says it."""


@dataclass(frozen=True)
class Exchange:
    """The turns before a reply, and the reply."""

    turns: Sequence[str]
    reply: str


def exchanges(split: Split, context_turns: int, longest: int) -> Iterator[Exchange]:
    """Yield every turn but the first of each conversation of ``split``, with up to ``context_turns`` before it.

    Replies of more than ``longest`` words are cut behind these.
    """
    for lines in conversations(split["turns"]):
        turns = [turn for turn in map(unmarked, lines) if turn]
        for place in range(1, len(turns)):
            reply = "".join(words_of(turns[place])[:longest])
            yield Exchange(turns[max(0, place - context_turns) : place], reply)


def unmarked(text: str) -> str:
    """Return what a speaker said, without marks like that between turns, which would make one turn look like two."""
    return text.replace(TURN, " ").strip()


def source_text(turns: Sequence[str], context_turns: int, longest: int) -> str:
    """Return the last ``context_turns`` of ``turns`` as one text, of which the last ``longest`` words are kept.

    Of words without end the last letters are kept, as many as a turn may have.
    """
    if context_turns == 0:
        return ""
    words = words_of(f" {TURN} ".join(turn for turn in turns[-context_turns:] if turn))
    return "".join(words[-longest:])[-LONGEST_TURN:].strip()
