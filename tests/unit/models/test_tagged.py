"""The kinds ``tagged`` and ``vectors``: what is read, what is told, and what is refused with its line."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.contract.errors import InvalidDataset, ValidationFailed
from models.data.kind import Content, DatasetKind, UploadedFile
from models.data.kinds import tagged, vectors

Read = Callable[..., Content]
CHUNKS = "EU NNP B-NP\nrejects VBZ B-VP\n\nGerman JJ B-NP\ncall NN I-NP\n. . O\n"


@pytest.fixture
def reader(tmp_path: Path) -> Callable[[DatasetKind], Read]:
    """Return what reads texts of a kind as if they had been uploaded."""

    def of(kind: DatasetKind) -> Read:
        def read(
            train: str | bytes, *, name: str = "train.txt", options: dict[str, Any] | None = None, **others: str
        ) -> Content:
            files: dict[str, UploadedFile] = {}
            for part, text in {"train": train, **others}.items():
                path = tmp_path / part
                path.write_bytes(text.encode() if isinstance(text, str) else text)
                files[part] = UploadedFile(name if part == "train" else f"{part}.txt", path)
            return kind.read(files, kind.options.parse(options or {}, "/options"))

        return read

    return of


@pytest.fixture
def read(reader: Callable[[DatasetKind], Read]) -> Read:
    """Return a reader of tagged sentences."""
    return reader(tagged.KIND)


@pytest.fixture
def read_vectors(reader: Callable[[DatasetKind], Read]) -> Read:
    """Return a reader of word vectors."""
    return reader(vectors.KIND)


def _rows(content: Content, name: str = "tags", split: str = "train") -> list[list[str]]:
    return [str(text).split("\n") for text in content.splits[split][name].tolist()]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(CHUNKS, id="spaces"),
        pytest.param(CHUNKS.replace(" ", "\t"), id="tabs"),
        pytest.param(CHUNKS.replace("\n", "\r\n"), id="Windows line ends"),
        pytest.param("\n\n" + CHUNKS.replace("\n\n", "\n \n\n") + "\n\n", id="more empty lines"),
        pytest.param("-DOCSTART- -X- O\n\n" + CHUNKS, id="document starts"),
        pytest.param(gzip.compress(CHUNKS.encode()), id="gzip"),
        pytest.param(CHUNKS.strip(), id="no line end at the end"),
        pytest.param("\ufeff" + CHUNKS, id="byte order mark"),
    ],
)
def test_same_sentences_however_they_are_written(read: Read, text: str | bytes) -> None:
    """Two sentences, their tags, and the part of speech as a further column."""
    content = read(text, options={"features": [1]})
    assert _rows(content, "tokens") == [["EU", "rejects"], ["German", "call", "."]]
    assert _rows(content) == [["B-NP", "B-VP"], ["B-NP", "I-NP", "O"]]
    assert _rows(content, "column_0") == [["NNP", "VBZ"], ["JJ", "NN", "."]]
    assert content.meta["scheme"] == "bio"
    assert content.meta["features"] == [1]


def test_document_starts_are_counted(read: Read) -> None:
    """They are no sentences."""
    content = read("-DOCSTART- -X- O\n\n" + CHUNKS)
    assert content.meta["notes"] == ["train: 1 lines of -DOCSTART- were left out."]


@pytest.mark.parametrize(
    ("tags", "written"), [("I-X I-X I-Y", "iob1"), ("B-X E-X S-Y", "bioes"), ("B-X I-X B-Y", "bio")]
)
def test_schemes_are_found_out_and_kept_in_iob2(read: Read, tags: str, written: str) -> None:
    """Whatever it was uploaded in."""
    content = read("\n".join(f"w {tag}" for tag in tags.split()))
    assert content.meta["written_scheme"] == written
    assert _rows(content) == [["B-X", "I-X", "B-Y"]]


def test_conllu_is_read_by_its_own_columns(read: Read) -> None:
    """Comments are left out, and ids of fused and of empty words; tokens may have spaces."""
    lines = [
        "# text = 10 000 don't",
        "1\t10 000\t_\tNUM\tCD",
        "2-3\tdon't\t_\t_\t_",
        "2\tdo\t_\tAUX\tVB",
        "2.1\tgone\t_\tVERB\tVB",
        "3\tn't\t_\tPART\tRB",
    ]
    content = read("\n".join(lines), name="x.conllu.gz")
    assert _rows(content, "tokens") == [["10 000", "do", "n't"]]
    assert _rows(content) == [["NUM", "AUX", "PART"]]
    assert content.meta["scheme"] == "none"
    assert "2 lines of fused or empty words" in str(content.meta["notes"])
    assert _rows(read("\n".join(lines), name="x.conllu", options={"tag": 4})) == [["CD", "VB", "RB"]]


def test_hash_is_a_token_of_columns(read: Read) -> None:
    """Only CoNLL-U has comments: the Wall Street Journal writes pounds so."""
    assert _rows(read("# # B-NP\n5 CD I-NP\n"), "tokens") == [["#", "5"]]


def test_illegal_gold_is_counted_and_repaired(read: Read) -> None:
    """By conlleval's rule: a span begins wherever the one before has ended."""
    content = read("a B-X\nb I-Y\nc O\nd I-Y\n\ne B-X\n", options={"scheme": "bio"})
    assert _rows(content)[0] == ["B-X", "B-Y", "O", "B-Y"]
    (note,) = content.meta["notes"]  # type: ignore[misc]
    assert "1 of 2 sentences have tags that bio does not allow (first at line 2)" in str(note)


def test_tags_that_train_never_has_are_told(read: Read) -> None:
    """They are kept: each is an error of the model, and the record says how many there are."""
    content = read(CHUNKS, test="a NN B-ADJP\nb NN O\n")
    facts = tagged.KIND.facts(content)
    assert facts["tags_unseen_in_train"] == {"test": {"B-ADJP": 1}}
    assert facts["tags"] == ["B-NP", "B-VP", "I-NP", "O"]
    assert facts["longest_sentence"] == {"train": 3, "test": 2}


def test_preview_is_what_tag_takes(read: Read) -> None:
    """Tokens, tags and further columns."""
    content = read(CHUNKS, options={"features": [1]})
    assert tagged.KIND.preview(content, "train", 1) == [
        {"tokens": ["EU", "rejects"], "tags": ["B-NP", "B-VP"], "features": [["NNP", "VBZ"]]}
    ]


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        pytest.param("a X\nb\nc Y Z\n", {}, "train.txt line 2: has 1 columns divided by spaces", id="ragged"),
        pytest.param("a\tX\nb X\n", {}, "line 2: has 1 columns divided by tabs", id="spaces among tabs"),
        pytest.param("a X\n", {"tag": 7}, "there is no column 7 (option 'tag')", id="no such tag"),
        pytest.param("a X\n", {"features": [2]}, "there is no column 2 (option 'features: 2')", id="no such feature"),
        pytest.param("word\n", {}, "token and tag are the same one", id="one column"),
        pytest.param("", {}, "holds no sentence", id="empty"),
        pytest.param(
            "a O\nb I-X\n", {"scheme": "bio", "illegal": "refuse"}, "line 2: 'I-X' may not stand", id="illegal"
        ),
        pytest.param("a B-X\nb Q\n", {"scheme": "bio"}, "line 2: the tag 'Q' is not O or one of B, I", id="not bio"),
        pytest.param("a B-\n", {"scheme": "bio"}, "line 1: the tag 'B-' is not", id="no label"),
        pytest.param("w O\n" * 2_001, {}, "line 1: a sentence of 2001 tokens begins here", id="long sentence"),
        pytest.param("w" * 1_001 + " O\n", {}, "line 1: has a token of 1001 characters", id="long token"),
        pytest.param(b"a O\n\xff O\n", {}, "line 2: the text is not UTF-8", id="not UTF-8"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(
    read: Read, text: str | bytes, options: dict[str, Any], reason: str
) -> None:
    """With file, line and remedy."""
    with pytest.raises(ValidationFailed) as refused:
        read(text, options=options)
    assert any(reason in error.detail for error in refused.value.errors), refused.value.errors


def test_too_many_tags_are_refused(read: Read) -> None:
    """Such as a column of words taken for tags."""
    with pytest.raises(InvalidDataset, match="has 1001 different tags"):
        read("\n".join(f"w t{index}" if index % 9 else f"w t{index}\n" for index in range(1_001)))


def test_line_without_a_token_is_told(read: Read) -> None:
    """The Broad Twitter Corpus has seven of them."""
    content = read("a\tO\n\tO\nb\tO\n")
    assert _rows(content, "tokens") == [["a", "\ufffd", "b"]]
    assert "1 lines have no token, the first is 2" in str(content.meta["notes"])


@pytest.mark.parametrize("text", ["a 1 2.5\nb -1 0\n", "2 2\na 1 2.5\nb -1 0\n", "a\t1\t2.5\nb\t-1\t0\na 9 9\n\n"])
def test_vectors_as_their_makers_write_them(read_vectors: Read, text: str) -> None:
    """With or without a first line of sizes; of a word that comes again the first counts."""
    content = read_vectors(text)
    assert content.splits["train"]["words"].tolist() == ["a", "b"]
    np.testing.assert_array_equal(content.splits["train"]["vectors"], [[1, 2.5], [-1, 0]])
    assert content.meta["dimensions"] == 2
    assert vectors.KIND.facts(content)["words"] == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a 1 2\nb 1\n", "line 2: needs a word and 2 finite numbers, as many as the lines before; it has 1 fields"),
        ("a 1 2\nb 1 x\n", "line 2: needs a word and 2 finite numbers"),
        ("a 1 nan\n", "line 1: needs a word and 2 finite numbers"),
        ("a 1 1e39\n", "line 1: needs a word and 2 finite numbers"),
        ("a\n", "line 1: needs a word and its finite numbers"),
        ("", "holds no vector"),
    ],
)
def test_uneven_vectors_are_refused(read_vectors: Read, text: str, reason: str) -> None:
    """With their line."""
    with pytest.raises(ValidationFailed, match=reason.replace("(", "\\(")):
        read_vectors(text)
