"""Conversations: what is read of a file, which pairs they make, and what is wrong with a line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from models.contract.errors import InvalidDataset
from models.conversation.exchanges import TURN, exchanges, source_text
from models.data.kind import Content, UploadedFile
from models.data.kinds.dialogues import KIND, conversations


def _read(folder: Path, data: bytes | str, **options: object) -> Content:
    path = folder / "train.jsonl"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return KIND.read({"train": UploadedFile("chats.jsonl", path)}, KIND.options.parse(options))


def test_lists_and_objects_are_conversations(tmp_path: Path) -> None:
    """Empty turns are left out, and conversations without a reply are counted; gzip is read as it is."""
    rows = [["Hi  there", "", "Hello"], {"turns": ["a", "b", "c"], "id": 4}, ["alone"], [" "]]
    data = "\n\n".join(map(json.dumps, rows)).encode()
    for content in (_read(tmp_path, data), _read(tmp_path, gzip.compress(data))):
        assert conversations(content.splits["train"]["turns"]) == [["Hi there", "Hello"], ["a", "b", "c"]]
        assert content.meta["changes"] == {"without_reply_train": 2}
        size = {"conversations": 2, "turns": 5, "words_per_turn": {"mean": 1.2, "longest": 2}}
        assert KIND.facts(content) == {"size": {"train": size}}
        assert KIND.preview(content, "train", 1) == [{"turns": ["Hi there", "Hello"]}]


def test_every_turn_but_the_first_is_a_reply(tmp_path: Path) -> None:
    """With as many turns before it as are asked for; both sides are cut to their length."""
    split = _read(tmp_path, json.dumps(["a b", "c", "d e f g", "h"]), lowercase=True).splits["train"]
    found = list(exchanges(split, context_turns=2, longest=3))
    assert [(list(item.turns), item.reply) for item in found] == [
        (["a b"], "c"),
        (["a b", "c"], "d e f"),
        (["c", "d e f g"], "h"),
    ]
    assert source_text(found[1].turns, 2, 10) == f"a b {TURN} c"
    assert source_text(found[1].turns, 1, 10) == "c"
    assert source_text(found[1].turns, 2, 2) == f"{TURN} c"
    assert source_text(found[1].turns, 0, 10) == ""


def test_the_mark_between_turns_is_not_said(tmp_path: Path) -> None:
    """It makes no turns of one, and a turn of nothing else is none."""
    split = _read(tmp_path, json.dumps([f"a {TURN} b{TURN}", TURN, "c", f"{TURN} d"])).splits["train"]
    found = list(exchanges(split, context_turns=5, longest=9))
    assert [item.reply for item in found] == ["c", "d"]
    assert source_text(found[1].turns, 5, 9) == f"a b {TURN} c"


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("[1", "is not JSON"),
        ('"text"', "is neither a list of turns nor an object with one under 'turns'"),
        ('{"said": ["a", "b"]}', "is neither a list of turns nor an object with one under 'turns'"),
        ('["a", 2]', "turn 2 is not a text"),
        (json.dumps(["a", "b" * 30_000]), "turn 2 has 30000 characters; at most 20000"),
        (json.dumps(["a"] * 20_000), "has 20000 turns; at most 10000"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, line: str, detail: str) -> None:
    with pytest.raises(InvalidDataset) as refused:
        _read(tmp_path, f'["a", "b"]\n{line}\n')
    assert [item.pointer for item in refused.value.errors] == ["/train"]
    assert refused.value.errors[0].detail.startswith(f"chats.jsonl line 2: {detail}")


def test_a_file_without_any_reply_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match="no conversation of two turns"):
        _read(tmp_path, '["alone"]\n')
