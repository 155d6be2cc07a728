"""Conversations: turns of two speakers in their order, a conversation a line of JSON.

Parts: ``train``, optional ``validation`` and ``test``, plain or gzipped. A line is a list of turns, or an object with
such a list under ``turns``. Array of a split: ``turns`` (conversations,) text, the turns of one joined by line ends.
Facts: ``lowercase``, how many turns and words there are, and what was left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, cast

import numpy as np
import orjson
from pydantic import Field, JsonValue, StringConstraints

from models.contract.task import Array, Split
from models.data.kind import Content, DatasetKind, SplitOptions, UploadedFile
from models.data.problems import Problems, check_parts
from models.data.text_lines import read_lines, shown
from models.data.texts.segmentation import one_line, words_of

PARTS = ("train", "validation", "test")
LONGEST_TURN = 20_000
MOST_TURNS = 10_000
SEPARATOR = "\n"

RULES = (
    "Accents are composed (Unicode NFC), white space is one space between words and none at the ends.",
    "Empty turns are left out, and conversations of fewer than two turns, which have no reply.",
)

Key = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class DialoguesOptions(SplitOptions):
    """Options of the kind ``dialogues``."""

    turns: Key = Field(default="turns", description="Key of the list of turns, where a line is an object.")
    lowercase: bool = Field(default=False, description="Whether letters are made small, here and in requests.")


class Dialogues(DatasetKind):
    """Conversations."""

    name = "dialogues"
    title = "Conversations (jsonl, a list of turns a line)"
    options: ClassVar[type[SplitOptions]] = DialoguesOptions

    def read(self, files: Mapping[str, UploadedFile], options: SplitOptions) -> Content:
        """Return the conversations of each split."""
        assert isinstance(options, DialoguesOptions)
        foreign = f"is not a part of conversations; use {', '.join(PARTS)}"
        check_parts(files, PARTS, foreign, "is missing; send a jsonl file as 'train'")
        problems = Problems()
        splits: dict[str, Split] = {}
        changes: dict[str, JsonValue] = {}
        for part in PARTS:
            if part in files:
                found, short = _conversations(part, files[part], options, problems)
                splits[part] = {"turns": np.array(found, np.dtypes.StringDType())}
                changes |= {f"without_reply_{part}": short} if short else {}
        problems.check()
        return Content(splits, {"lowercase": options.lowercase, "changes": changes, "rules": list(RULES)})

    def facts(self, content: Content) -> dict[str, JsonValue]:
        """Return conversations, turns and words per turn of each split."""
        return {"size": {name: _size(split["turns"]) for name, split in content.splits.items()}}

    def preview(self, content: Content, split: str, count: int) -> list[dict[str, JsonValue]]:
        """Return the first conversations; some of its first turns are what ``reply`` takes."""
        return [{"turns": list(turns)} for turns in conversations(content.splits[split]["turns"][:count])]


KIND = Dialogues()


def conversations(array: Array) -> list[list[str]]:
    """Return the turns of each conversation of the array ``turns``."""
    return [text.split(SEPARATOR) for text in cast("list[str]", array.tolist())]


def _conversations(
    part: str, file: UploadedFile, options: DialoguesOptions, problems: Problems
) -> tuple[list[str], int]:
    """Return conversations as they are kept, and how many had no reply."""
    found: list[str] = []
    short, before = 0, problems.count
    for number, line in enumerate(read_lines(part, file, problems), start=1):
        if not line.strip():
            continue
        turns, wrong = _turns(line, options.turns)
        if wrong:
            problems.add(part, f"{shown(file)} line {number}: {wrong}")
            continue
        kept = [text for text in (one_line(turn, lowercase=options.lowercase) for turn in turns) if text]
        if len(kept) < 2:
            short += 1
        else:
            found.append(SEPARATOR.join(kept))
    if not found and problems.count == before:
        problems.add(part, f"{shown(file)}: holds no conversation of two turns or more")
    return found, short


def _turns(line: str, key: str) -> tuple[list[str], str | None]:
    """Return the turns of a line, or what is wrong with it."""
    try:
        row: object = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return [], f"is not JSON ({error}); write one conversation a line, as a list of turns"
    if isinstance(row, dict):
        row = cast("dict[str, object]", row).get(key)
    if not isinstance(row, list):
        return [], f"is neither a list of turns nor an object with one under '{key}'"
    turns = cast("list[object]", row)
    if len(turns) > MOST_TURNS:
        return [], f"has {len(turns)} turns; at most {MOST_TURNS} are read. Break the conversation up"
    for place, turn in enumerate(turns, start=1):
        if not isinstance(turn, str):
            return [], f"turn {place} is not a text"
        if len(turn) > LONGEST_TURN:
            return [], f"turn {place} has {len(turn)} characters; at most {LONGEST_TURN} are read"
    return cast("list[str]", turns), None


def _size(array: Array) -> dict[str, JsonValue]:
    turns = [turn for conversation in conversations(array) for turn in conversation]
    words = [len(words_of(turn)) for turn in turns]
    mean = round(sum(words) / len(words), 2)
    return {"conversations": len(array), "turns": len(turns), "words_per_turn": {"mean": mean, "longest": max(words)}}
