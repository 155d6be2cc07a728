"""The dataset kind ``table``: what a csv file says, how it is split, and what is told of it."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.artifacts.datasets import Datasets
from models.artifacts.store import ArtifactStore
from models.catalog import Catalog
from models.contract.errors import ValidationFailed
from models.data.kind import UploadedFile
from models.data.kinds.table import KIND
from unit.models.tables import FLOWERS, TableReader, columns_of, numbered


@pytest.fixture
def read(tmp_path: Path) -> TableReader:
    """Return a reader of tables."""
    return TableReader(tmp_path)


def _refused(read: TableReader, *args: Any, **others: str | bytes) -> list[tuple[str, str]]:
    with pytest.raises(ValidationFailed) as refused:
        read(*args, **others)
    return [(error.pointer, error.detail) for error in refused.value.errors]


def test_columns_become_numbers_and_indices(read: TableReader) -> None:
    """Missing numbers are NaN, missing words 0; categories and classes are sorted and counted from 1 and from 0."""
    content = read(FLOWERS)
    train = content.splits["train"]
    assert train["numbers"].dtype == np.float32
    np.testing.assert_array_equal(train["numbers"], np.array([[1.5], [2.5], [np.nan], [4]], np.float32))
    assert train["categories"].tolist() == [[2], [1], [2], [0]]
    assert train["labels"].tolist() == [1, 0, 0, 1]
    assert content.meta["classes"] == ["iris", "rose"]


def test_facts_are_those_of_the_training_split(read: TableReader) -> None:
    content = read(FLOWERS, test="petal,colour,class\n100,blue,rose\n,green,iris\n")
    petal, colour = columns_of(content).values()
    present = np.array([1.5, 2.5, 4])
    assert (petal["mean"], petal["deviation"]) == (pytest.approx(present.mean()), pytest.approx(present.std()))
    assert (petal["minimum"], petal["maximum"]) == (1.5, 4)
    assert petal["missing"] == {"train": 1, "test": 1}
    assert (colour["categories"], colour["counts"]) == (["blue", "red"], [1, 2])
    assert colour["missing"] == {"train": 1, "test": 1}
    assert content.meta["class_balance"] == {"train": {"iris": 2, "rose": 2}, "test": {"iris": 1, "rose": 1}}
    assert content.meta["notes"] == ["Part 'test': 1 values of 'colour' do not occur in 'train' and count as unknown."]


def test_rules_are_told(read: TableReader) -> None:
    """How types were found and what becomes of missing and unknown values stands in the record."""
    rules = " ".join(str(rule) for rule in read(FLOWERS).meta["rules"])  # type: ignore[union-attr]
    told = ("'class' is the label, as the only one", "at most 255 categories", "'NaN'", "mean of", "unknown has")
    assert [said for said in told if said not in rules] == []


@pytest.mark.parametrize(
    "text",
    [
        FLOWERS.replace(",", ";"),
        FLOWERS.replace(",", "\t"),
        FLOWERS.replace("\n", "\r\n"),
        FLOWERS.replace("\n", "\r"),
        FLOWERS.replace("\n", "\n\n") + "   \n",
        "\n  \n" + FLOWERS,
        FLOWERS.replace(",", " , "),
        "\ufeff" + FLOWERS,
        FLOWERS.removesuffix("\n"),
        '"petal","colour","class"\n"1.5","red","rose"\n2.5,"blue","iris"\n,"red",iris\n4,"",rose\n',
        gzip.compress(FLOWERS.encode()),
    ],
    ids=["semicolons", "tabs", "crlf", "cr", "blank", "late", "spaces", "mark", "no end", "quotes", "gzip"],
)
def test_forms_of_one_table_are_the_same(read: TableReader, text: str | bytes) -> None:
    content, wanted = read(text), read(FLOWERS)
    assert content.meta == wanted.meta
    for name, array in wanted.splits["train"].items():
        np.testing.assert_array_equal(content.splits["train"][name], array)


def test_quoted_fields_hold_delimiters_quotes_and_line_ends(read: TableReader) -> None:
    content = read('"a, b","say ""so""",class\n1,"x,\ny",p\n2,"""z""",q\n')
    assert list(columns_of(content)) == ["a, b", 'say "so"']
    assert columns_of(content)['say "so"']["categories"] == ['"z"', "x,\ny"]


def test_other_parts_may_order_their_columns_otherwise(read: TableReader) -> None:
    content = read(FLOWERS, test="class,petal,colour\nrose,9,red\n")
    assert content.splits["test"]["numbers"].tolist() == [[9]]
    assert content.splits["test"]["categories"].tolist() == [[2]]


@pytest.mark.parametrize(
    ("options", "types"),
    [
        ({}, {"code": "numeric", "size": "numeric"}),
        ({"categorical": ["code"]}, {"code": "categorical", "size": "numeric"}),
        ({"ignore": ["code"]}, {"size": "numeric"}),
        ({"missing": ["-1"]}, {"code": "numeric", "size": "numeric"}),
    ],
)
def test_options_override_types(read: TableReader, options: dict[str, Any], types: dict[str, str]) -> None:
    content = read("code,size,class\n10,1,p\n9,-1,q\n10,3,p\n", options)
    assert {name: column["type"] for name, column in columns_of(content).items()} == types
    if "categorical" in options:
        assert columns_of(content)["code"]["categories"] == ["9", "10"]
    if "missing" in options:
        assert columns_of(content)["size"]["missing"] == {"train": 1}


def test_column_of_numbers_and_words_is_categorical_and_says_why(read: TableReader) -> None:
    """What may be a slip is told, with its line."""
    content = read("size,class\n1,p\n2,q\nthree,p\n2,q\n")
    assert columns_of(content)["size"]["categories"] == ["1", "2", "three"]
    (note,) = content.meta["notes"]  # type: ignore[misc]
    assert "'three' in train.csv line 4" in str(note)


@pytest.mark.parametrize("place", [0, 30])
def test_a_text_among_numbers_that_repeat_is_noted(read: TableReader, place: int) -> None:
    """Wherever it stands, the first row included; a column of words with a number among them is no slip."""
    content = read(numbered(60, lambda row: "n.a." if row == place else str(row % 7)))
    (note,) = content.meta["notes"]  # type: ignore[misc]
    assert f"holds numbers but for 'n.a.' in train.csv line {place + 2}" in str(note)
    assert "option 'missing'" in str(note)
    assert columns_of(content)["b"]["type"] == "categorical"
    mended = read(numbered(60, lambda row: "n.a." if row == place else str(row % 7)), {"missing": ["n.a."]})
    assert columns_of(mended)["b"]["type"] == "numeric"
    assert read(numbered(60, lambda row: "7" if row == place else "ab"[row % 2])).meta["notes"] == []


def test_column_that_is_the_same_but_where_it_is_missing_is_kept(read: TableReader) -> None:
    """Whether there is a value can be all that matters."""
    assert list(columns_of(read("flag,paid,class\nyes,5,p\n,,q\n"))) == ["flag", "paid"]


@pytest.mark.parametrize("name", ["Label", "TARGET", "class"])
def test_label_is_found_by_its_usual_names(read: TableReader, name: str) -> None:
    content = read(FLOWERS.replace("class", name))
    assert content.meta["label"] == name


def test_preview_shows_rows_that_can_be_sent_back(read: TableReader) -> None:
    content = read(FLOWERS.replace("1.5", "0.1"))
    assert KIND.preview(content, "train", 4) == [
        {"label": "rose", "row": {"petal": 0.1, "colour": "red"}},
        {"label": "iris", "row": {"petal": 2.5, "colour": "blue"}},
        {"label": "iris", "row": {"petal": None, "colour": "red"}},
        {"label": "rose", "row": {"petal": 4.0, "colour": None}},
    ]


def test_constant_columns_are_dropped_and_noted(read: TableReader) -> None:
    """They leave train and the other parts, and the summary says why."""
    text = "a,b,c,d,class\n1,7,x,1e9,p\n2,7,x,1000000001,q\n"
    content = read(text, test=text)
    assert list(columns_of(content)) == ["a"]
    assert content.meta["ignored"] == ["b", "c", "d"]
    notes = content.meta["notes"]
    assert isinstance(notes, list)
    assert notes[0] == "Column 'b' is left out: it has one value in every row (7 as a 32-bit float)."
    assert [str(note).split(":")[0] for note in notes[1:]] == ["Column 'c' is left out", "Column 'd' is left out"]


def test_constant_columns_are_refused_when_asked(read: TableReader) -> None:
    refused = _refused(read, "a,b,c,class\n1,7,x,p\n2,7,x,q\n", {"constant": "refuse"})
    assert [detail.partition(" (")[0] for _, detail in refused] == [
        "train.csv: column 'b' has one value in every row",
        "train.csv: column 'c' has one value in every row",
    ]


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    """Return an empty store's datasets."""
    return Datasets(ArtifactStore((tmp_path / "store").as_uri()), Catalog())


def _upload(folder: Path, text: str) -> dict[str, UploadedFile]:
    (folder / "t.csv").write_text(text, encoding="utf-8")
    return {"train": UploadedFile("t.csv", folder / "t.csv")}


def test_stored_table_is_read_back(datasets: Datasets, tmp_path: Path) -> None:
    """Nothing is lost on the way through the store, and every row is in one split."""
    text = numbered(200, lambda row: ("x", "", "y")[row % 3])
    record = datasets.add("a", "table", {}, _upload(tmp_path, text))
    content = datasets.content(record)
    assert record.counts == {"train": 140, "test": 40, "validation": 20}
    assert sorted(value for split in content.splits.values() for value in split["numbers"][:, 0]) == list(range(200))
    assert sum(columns_of(content)["b"]["counts"]) + columns_of(content)["b"]["missing"]["train"] == 140


def test_two_classes_of_one_example_are_all_for_training(datasets: Datasets, tmp_path: Path) -> None:
    """Nothing can be set aside, and the summary says so."""
    record = datasets.add("a", "table", {}, _upload(tmp_path, "a,class\n1,p\n2,q\n"))
    assert record.counts == {"train": 2}
    assert record.split_rule == "As uploaded. Too few examples to set any aside: no test and no validation split."


def test_category_whose_rows_are_all_set_aside_has_no_count(datasets: Datasets, tmp_path: Path) -> None:
    """The facts count the final training split, so the network gives such a category no input."""
    text = numbered(40, lambda row: "common" if row % 20 else f"rare {row}")
    for fraction in (0.0, 0.5):
        name = f"a{fraction}"
        options: dict[str, Any] = {"test_fraction": fraction, "validation_fraction": 0, "categorical": ["b"]}
        content = datasets.content(datasets.add(name, "table", options, _upload(tmp_path, text)))
        column = columns_of(content)["b"]
        assert len(column["categories"]) == 3
        codes = content.splits["train"]["categories"][:, 0]
        assert column["counts"] == [int((codes == index).sum()) for index in (1, 2, 3)]
