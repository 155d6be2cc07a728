"""The kind ``labelled_text``: csv, tsv and jsonl give the same examples, and each wrong row is told with its line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from models.contract.errors import InvalidDataset, ValidationFailed
from models.data.kind import Content, UploadedFile
from models.data.kinds.labelled_text import KIND

ROWS = [("Good, really good.", "yes"), ('He said "no".\nTwice.', "no"), ("café", "yes")]


class Reader:
    """Reads parts, text or bytes, as an upload is read."""

    def __init__(self, folder: Path) -> None:
        """Keep where the files are written."""
        self._folder = folder

    def __call__(self, train: str | bytes, options: dict[str, Any] | None = None, **others: str | bytes) -> Content:
        parts = {"train": train, **others}
        for part, text in parts.items():
            (self._folder / part).write_bytes(text.encode() if isinstance(text, str) else text)
        files = {part: UploadedFile(f"{part}.csv", self._folder / part) for part in parts}
        content = KIND.read(files, KIND.options.parse(options or {}, "/options"))
        return Content(content.splits, {**content.meta, **KIND.facts(content)})


@pytest.fixture
def labelled(tmp_path: Path) -> Reader:
    """Return a reader of labelled texts."""
    return Reader(tmp_path)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


CSV = "id,text,label\n" + "".join(f"{row},{_quoted(text)},{label}\n" for row, (text, label) in enumerate(ROWS))
TSV = "label\ttext\n" + "".join(f"{label}\t{_quoted(text)}\n" for text, label in ROWS)
JSONL = "".join(json.dumps({"text": text, "label": label, "id": 1}) + "\n" for text, label in ROWS)


@pytest.mark.parametrize("file", [CSV, TSV, JSONL, gzip.compress(JSONL.encode()), CSV.replace("\n", "\r\n")])
def test_each_form_gives_the_same_examples(labelled: Reader, file: str | bytes) -> None:
    """Columns in any order, further ones left out, line ends and quotes within a text."""
    content = labelled(file)
    assert content.splits["train"]["texts"].tolist() == [text for text, _ in ROWS]
    assert content.splits["train"]["labels"].tolist() == [1, 0, 1]
    meta: Any = content.meta
    assert meta["classes"] == ["no", "yes"]
    assert meta["class_balance"]["train"] == {"no": 1, "yes": 2}
    assert meta["words_per_text"]["train"]["longest"] == 9


def test_columns_are_named_by_options_and_labels_may_be_numbers(labelled: Reader) -> None:
    file = '{"review": "Fine", "stars": 5}\n{"review": "Bad", "stars": 1}\n'
    content = labelled(file, {"text": "review", "label": "stars", "lowercase": True})
    assert content.meta["classes"] == ["1", "5"]
    assert content.splits["train"]["texts"].tolist() == ["fine", "bad"]


def test_preview_shows_what_classify_takes(labelled: Reader) -> None:
    assert KIND.preview(labelled(CSV), "train", 1) == [{"text": ROWS[0][0], "label": "yes"}]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("", "holds no header"),
        ("text,label\n", "holds no labelled text"),
        ("words,label\na,b\n", "no column is called 'text'; there are: words, label"),
        ("text,label\na,x\n,y\nb,\n", "line 3: the text is empty"),
        ("text,label\na,x\n,y\nb,\n", "line 4: the label is empty"),
        ("text,label\na,x\nb,y,z\n", "line 3: 3 fields, the header has 2"),
        ("text,label\na,x\nb,x\n", "every label is 'x'"),
        ('{"text": "a", "label": "x"}\n{"text": 1.5, "label": "y"}\n', "line 2: has no text under 'text'"),
        ('{"text": "a", "label": "x"}\n{"text": "a"', "line 2: is not JSON"),
        ('{"text": "a", "label": "x"}\n["b", "y"]\n', "line 2: has no text under 'text'"),
        ('[{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]\n', "is a JSON array; write one object a line"),
        ('[\n  {"text": "a", "label": "x"}\n]\n', "is a JSON array; write one object a line"),
        ('{\n  "text": "a",\n  "label": "x"\n}\n', "is a JSON object over several lines; write one object a line"),
        (b"text,label\na,x\n\xe4,y\n", "line 3: the text is not UTF-8"),
        ('text,label\n"a,x\n', "a quote opens here and never closes"),
        (f"text,label\n{'x' * 100_001},a\nb,c\n", "line 2: the text has 100001 characters"),
    ],
)
def test_wrong_files_are_refused_with_their_lines(labelled: Reader, file: str | bytes, reason: str) -> None:
    with pytest.raises(InvalidDataset, match=r".") as refused:
        labelled(file)
    assert any(reason in error.detail for error in refused.value.errors), refused.value.errors
    assert {error.pointer for error in refused.value.errors} == {"/train"}


def test_other_keys_are_told_once_with_the_options_that_choose(labelled: Reader) -> None:
    """Of a file whose objects are all alike; what is wrong in other lines is told beside it."""
    with pytest.raises(InvalidDataset, match=r".") as refused:
        labelled('{"review": "Fine", "stars": 5}\n{"review": "Bad", "stars": 1}\n{"text": 1.5, "label": "x"}\n')
    told = "no key is called 'label' or 'text'; there are: review, stars. Name it with the options 'text' and 'label'"
    assert [error.detail for error in refused.value.errors] == [
        f"train.csv line 1: {told}",
        "train.csv line 3: has no text under 'text'; each line is an object with 'text' and 'label'",
    ]
    with pytest.raises(InvalidDataset, match=r".") as refused:
        labelled('{"text": "a", "label": "x"}\n{"text": "b"}\n{"text": "c"}\n')
    assert [error.detail.partition(":")[0] for error in refused.value.errors] == [
        "train.csv line 2",
        "train.csv line 3",
    ]


def test_label_that_train_never_has_is_refused(labelled: Reader) -> None:
    with pytest.raises(InvalidDataset, match=r"test.csv line 2: the label 'z' does not occur in 'train'"):
        labelled(CSV, test="text,label\na,z\n")


def test_other_parts_and_options_are_refused_by_name(labelled: Reader) -> None:
    with pytest.raises(InvalidDataset, match="/dev: is not a part of labelled text"):
        labelled(CSV, dev=CSV)
    with pytest.raises(ValidationFailed, match="text and label are both 'a'"):
        labelled(CSV, {"text": "a", "label": "a"})
