"""The kind ``text``: lines of files in their order, cut into words and characters by stated rules."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.catalog import Catalog
from models.contract.errors import InvalidDataset
from models.data.kind import Content, UploadedFile
from models.data.kinds.text import KIND
from models.data.packing import mapped
from models.data.reading import CONTENT_NAME, Order, read
from models.data.texts.segments import segments
from models.data.texts.tokens import normalized, space_before, tokens


class Reader:
    """Reads parts, text or bytes, as an upload is read."""

    def __init__(self, folder: Path) -> None:
        """Keep where the files are written."""
        self._folder = folder

    def __call__(self, options: dict[str, Any] | None = None, **parts: str | bytes) -> Content:
        content = KIND.read(self.files(parts), KIND.options.parse(options or {}, "/options"))
        return Content(content.splits, {**content.meta, **KIND.facts(content)})

    def files(self, parts: dict[str, str | bytes]) -> dict[str, UploadedFile]:
        """Write the parts and return them as uploaded files."""
        for part, text in parts.items():
            (self._folder / part).write_bytes(text.encode() if isinstance(text, str) else text)
        return {part: UploadedFile(f"{part}.txt", self._folder / part) for part in parts}


@pytest.fixture
def texts(tmp_path: Path) -> Reader:
    """Return a reader of texts."""
    return Reader(tmp_path)


def _lines(content: Content, split: str = "train") -> list[str]:
    return content.splits[split]["lines"].tolist()


def test_lines_keep_their_order_and_the_empty_ones(texts: Reader) -> None:
    """Line ends of any system, a byte order mark and gzip make no difference."""
    plain = "One line.\n\nAnother, longer one.\n"
    wanted = ["One line.", "", "Another, longer one."]
    assert _lines(texts(train=plain)) == wanted
    assert _lines(texts(train=plain.replace("\n", "\r\n").encode("utf-8-sig"))) == wanted
    assert _lines(texts(train=gzip.compress(plain.encode()))) == wanted


def test_several_files_of_a_part_follow_one_another_by_number(texts: Reader) -> None:
    parts: dict[str, str | bytes] = {"train_10": "ten\n", "train_2": "two\n", "test": "a test\n"}
    content = texts(None, **parts)
    assert _lines(content) == ["two", "ten"]
    assert _lines(content, "test") == ["a test"]


def test_facts_count_lines_words_and_characters(texts: Reader) -> None:
    """A line end counts as a word and as a character."""
    meta: Any = texts(train="Don't stop, Ann.\nStop\n", options={"lowercase": True}).meta
    assert meta["size"]["train"] == {"lines": 2, "words": 8, "characters": 22}
    assert meta["different"]["words"] == len({"don't", "stop", ",", "ann", "."})
    assert meta["lowercase"] is True


def test_what_is_set_aside_is_the_end(tmp_path: Path) -> None:
    """The order of a text means something: neither split has lines from the middle of the other."""
    path = tmp_path / "train.txt"
    path.write_text("".join(f"line {row}\n" for row in range(100)))
    files = {"train": UploadedFile("train.txt", path)}
    record = read(Order(name="a", kind="text", options={}, files=files), Catalog(("models",)), tmp_path)
    assert record.counts == {"train": 70, "validation": 10, "test": 20}
    assert "from the end" in record.split_rule
    splits = mapped(tmp_path / CONTENT_NAME)
    ordered = np.concatenate([splits[name]["lines"] for name in ("train", "validation", "test")])
    assert ordered.tolist() == [f"line {row}" for row in range(100)]


def test_preview_shows_lines(texts: Reader) -> None:
    assert KIND.preview(texts(train="a\nb\nc\n"), "train", 2) == [{"line": "a"}, {"line": "b"}]


@pytest.mark.parametrize(
    ("parts", "place", "reason"),
    [
        ({}, "/train", "is missing"),
        ({"train": ""}, "/train", "train.txt: holds no text"),
        ({"train": "  \n\n"}, "/train", "holds no text"),
        ({"train": b"good\nbad \xff\n"}, "/train", "train.txt line 2: the text is not UTF-8: byte 0xff at position 5"),
        ({"train": "text".encode("utf-16")}, "/train", "UTF-16; save the file as UTF-8"),
        ({"train": "a\0b\n"}, "/train", "NUL byte"),
        ({"train": f"fine\n{'x' * 100_001}\n"}, "/train", "train.txt line 2: 100001 characters; break lines"),
        ({"train": "a\n", "dev": "b\n"}, "/dev", "is not a part of a text"),
        ({"train": gzip.compress(b"one\ntwo\n" * 500)[:-20]}, "/train", "damaged or cut off"),
    ],
)
def test_wrong_files_are_refused_with_their_place(
    texts: Reader, parts: dict[str, str | bytes], place: str, reason: str
) -> None:
    with pytest.raises(InvalidDataset, match=r".") as refused:
        texts(None, **parts)
    assert refused.value.errors[0].pointer == place
    assert reason in refused.value.errors[0].detail


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("Don't stop.\nNow", ["Don't", "stop", ".", "\n", "Now"]),
        ("a  b\tc", ["a", "b", "c"]),
        ("(3.5 km)", ["(", "3", ".", "5", "km", ")"]),
        ("naïve 日本", ["naïve", "日本"]),
    ],
)
def test_words_are_cut_by_the_stated_rules(text: str, cut: list[str]) -> None:
    assert tokens(text, "word") == cut
    assert tokens(text, "character") == list(text)


def test_usual_sentences_come_back_from_their_words() -> None:
    text = "Well, Ann (the cook) said: stop!\nDon't."
    cut = tokens(text, "word")
    spaced = [space_before(token, previous, "word") + token for previous, token in zip(["\n", *cut], cut, strict=False)]
    assert "".join(spaced) == text


def test_normalized_texts_are_composed() -> None:
    assert normalized("e\u0301\r\nA\rB", lowercase=False) == "é\nA\nB"
    assert normalized("ÄB", lowercase=True) == "äb"


def test_segments_are_whole_lines_and_lose_none() -> None:
    lines = [f"{row} " + "x" * (row % 90) for row in range(500)]
    found = list(segments(lines))
    assert "".join(found) == "".join(f"{line}\n" for line in lines)
    assert all(2_000 <= len(text) < 2_100 for text in found[:-1])
