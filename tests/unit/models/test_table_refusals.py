"""What the dataset kind ``table`` refuses: each problem with file and line, and what to do about it."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.contract.errors import InvalidDataset, PayloadTooLarge, ValidationFailed
from models.data import text_lines
from models.data.kind import UploadedFile
from models.data.kinds.table import KIND
from models.data.problems import MOST_KEPT
from models.data.tables import csv_table
from unit.models.tables import FLOWERS, TableReader, columns_of, numbered


@pytest.fixture
def read(tmp_path: Path) -> TableReader:
    """Return a reader of tables."""
    return TableReader(tmp_path)


def _refused(read: TableReader, *args: Any, **others: str | bytes) -> list[tuple[str, str]]:
    with pytest.raises(ValidationFailed) as refused:
        read(*args, **others)
    return [(error.pointer, error.detail) for error in refused.value.errors]


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        pytest.param(
            "a,class\n1,p\n2,q,r\n3\n", ["line 3: 3 fields, the header has 2", "line 4: 1 field"], id="ragged"
        ),
        pytest.param("a,b\n1,p\n2,q\n", ["The columns are: a, b"], id="no label"),
        pytest.param("label,class\n1,p\n2,q\n", ["2 columns are called label"], id="two labels"),
        pytest.param("a,a,class\n1,1,p\n", ["line 1: 2 columns are called 'a'"], id="duplicate"),
        pytest.param("a,,class\n1,1,p\n", ["line 1: column 2 has no name"], id="no name"),
        pytest.param("a,class\n7,p\n7,q\n", ["leaves no column to learn 'class' from"], id="nothing but constant"),
        pytest.param("a,b,class\n1,,p\n2,NA,q\n", ["'b' has no value in any row; list it under"], id="all missing"),
        pytest.param(
            "a,class\ninf,p\n2,q\n-Infinity,p\n1e400,q\n3e39,p\n",
            ["line 2: column 'a' has 'inf'", "line 4: column 'a' has '-Inf", "line 5", "line 6: column 'a' has '3e39'"],
            id="infinite",
        ),
        pytest.param(
            "a,class\n1,p\n2,\n3,NA\n", ["line 3: column 'class' is the label", "('NA')"], id="no label in row"
        ),
        pytest.param("a,class\n1,p\n2,p\n", ["one class only ('p')"], id="one class"),
        pytest.param(
            b"a,class\n1,p\n2,caf\xe9\n", ["line 3: the text is not UTF-8: byte 0xe9 at position 6"], id="latin"
        ),
        pytest.param("a,class\n1,p\n".encode("utf-16"), ["line 1: the text is UTF-16"], id="utf-16"),
        pytest.param("a,class\n1,p\n2,\0q\n", ["line 3: holds a NUL byte"], id="nul"),
        pytest.param(b"PK\x03\x04 workbook", ["is a zip archive or an Excel workbook"], id="excel"),
        pytest.param("a,class\n", ["holds no rows"], id="header only"),
        pytest.param("", ["holds no header"], id="empty"),
        pytest.param(" \n \n", ["holds no header"], id="blank"),
        pytest.param("class\np\nq\n", ["the header is one column, 'class'"], id="one column"),
        pytest.param("a|class\n1|p\n", ["option 'delimiter'"], id="other delimiter"),
        pytest.param(gzip.compress(FLOWERS.encode() * 99)[:-9], ["damaged or cut off after line"], id="cut-off gzip"),
        pytest.param(gzip.compress(FLOWERS.encode())[:10] + b"junk", ["damaged or cut off"], id="damaged gzip"),
        pytest.param('a,class\n"1,p\n2,q\n', ["line 2: a quote opens here and never closes"], id="open quote"),
        pytest.param('a,class\n"1"5,p\n2,q\n', ["line 2: is not csv"], id="text after quote"),
        pytest.param(f"a,class\n{'x' * 140_000},p\n2,q\n", ["line 2: a field is longer than 131072"], id="long field"),
        pytest.param(f"a,class\n{'x' * 201},p\ny,q\n", ["more than 200 characters (line 2)"], id="free text"),
        pytest.param(f"{'x' * 201},class\n1,p\n2,q\n", ["name of column 1 is longer than 200"], id="long name"),
        pytest.param(",".join(f"c{i}" for i in range(5_000)), ["5000 columns; at most 4096"], id="wide"),
        pytest.param("a;class\n1,5;p\n2,5;q\n", ["has decimal commas (1,5)"], id="decimal commas"),
    ],
)
def test_wrong_file_is_refused_with_its_line(read: TableReader, text: str | bytes, reasons: list[str]) -> None:
    errors = _refused(read, text)
    for reason in reasons:
        assert any(reason in detail for _, detail in errors), errors
    assert {pointer for pointer, _ in errors} <= {"/train", "/options/label", "/options/ignore"}
    assert all(detail.startswith("train.csv") for pointer, detail in errors if pointer == "/train")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (numbered(600, lambda row: f"w{row % 300}"), "more than 255 different texts; list it under"),
        (numbered(600, lambda row: str(row) if row != 299 else "oops"), "mend 'oops' in line 301"),
        (numbered(600, lambda row: f"{row},5".join('""')), "has decimal commas (0,5); write a point"),
        (numbered(50, lambda row: f'"{row + 1},{row:03}"'), "has numbers with commas (1,000); leave out commas that"),
        (
            numbered(50, lambda row: f'"{row},000,000"' if row % 2 else str(row)),
            "leave out commas that separate thousands",
        ),
        (numbered(600, lambda row: f'"{row + 1},{row:03}"'), "leave out commas that separate thousands"),
        (numbered(50, lambda row: f"name {row}"), "50 texts, each only once"),
        (numbered(50, str, lambda row: f"{row}.5"), "50 different values in 50 rows; a class must"),
        (numbered(1_400, str, str), "more than 1000 different values in 1400 rows"),
    ],
    ids=[
        "too many",
        "slip",
        "decimal commas",
        "thousands",
        "some thousands",
        "many",
        "names",
        "regression",
        "too many classes",
    ],
)
def test_columns_that_cannot_be_learnt_say_so(read: TableReader, text: str, reason: str) -> None:
    ((pointer, detail),) = _refused(read, text)
    assert pointer == "/train"
    assert reason in detail


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            numbered(50, lambda row: "n.a." if row == 7 else f"{row}.5"),
            "holds numbers but for 'n.a.' in line 9; mend that",
        ),
        (numbered(50, lambda row: "5%" if row == 0 else f"{row}.5"), "holds numbers but for '5%' in line 2; mend that"),
        (numbered(50, lambda row: f"{row}{'%' if row < 2 else ''}"), "for '0%' in line 2, '1%' in line 3; mend that"),
        (numbered(50, lambda row: f"{row}{'%' if row > 45 else ''}"), "'48%' in line 50 and further texts; mend that"),
        (
            numbered(600, lambda row: f"{row}{'%' if row < 2 else ''}"),
            "most of them numbers; mend '0%' in line 2, '1%' in",
        ),
    ],
    ids=["once", "first of all", "two", "more than are named", "too many"],
)
def test_texts_among_numbers_are_named(
    read: TableReader, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    """However the file is cut into chunks; the remedy is to mend them or to say that they mean a missing value."""
    for cells in (csv_table.CHUNK_CELLS, 9):
        monkeypatch.setattr(csv_table, "CHUNK_CELLS", cells)
        ((_, detail),) = _refused(read, text)
        assert reason in detail
        assert "list what means a missing value under the option 'missing'" in detail
        assert "only once" not in detail


def test_numbers_among_texts_are_not_called_strays(read: TableReader) -> None:
    """The control of the refusal above: as many names as numbers."""
    text = numbered(50, lambda row: f"name {row}" if row % 2 else str(row))
    assert "50 texts, each only once" in _refused(read, text)[0][1]


def test_small_tables_may_have_texts_that_come_once(read: TableReader) -> None:
    """The control of the refusal above: a column that the options call categorical, and one of few rows."""
    text = numbered(50, lambda row: f"name {row}")
    assert len(columns_of(read(text, {"categorical": ["b"]}))["b"]["categories"]) == 50
    assert len(columns_of(read(numbered(20, lambda row: f"name {row}")))["b"]["categories"]) == 20


def test_columns_that_fell_away_are_named_where_none_is_left(read: TableReader) -> None:
    """With why; the option 'ignore' is spoken of only where it was given."""
    text = "a,b,class\n1000000000,x,p\n1000000001,x,q\n"
    reasons = "'a' has one value in every row (1e+09 as a 32-bit float), 'b' has one value in every row (the same text)"
    ((pointer, detail),) = _refused(read, text)
    assert pointer == "/train"
    assert detail.startswith(f"train.csv: leaves no column to learn 'class' from: {reasons}; add one that varies")
    assert "take an offset away" in detail
    ((pointer, detail),) = _refused(read, text, {"ignore": ["b"]})
    assert pointer == "/options/ignore"
    assert "learn 'class' from: 'a' has one value in every row" in detail
    wide = ",".join(f"c{i}" for i in range(9))
    ((_, detail),) = _refused(read, f"{wide},class\n{'7,' * 9}p\n{'7,' * 9}q\n")
    assert "'c4' has one value in every row (7 as a 32-bit float), and 4 more; add" in detail


@pytest.mark.parametrize(
    ("options", "pointer", "reason"),
    [
        ({"label": "clas"}, "/options/label", "did you mean 'class'"),
        ({"numeric": ["petals"]}, "/options/numeric", "did you mean 'petal'"),
        ({"ignore": ["class"]}, "/options/ignore", "is the label"),
        ({"ignore": ["petal", "colour"]}, "/options/ignore", "leaves no column"),
        ({"ignore": ["petal"], "numeric": ["petal"]}, "/options", "more than once"),
        ({"numeric": ["colour"]}, "/train", "column 'colour' is numeric and has 'red'"),
        ({"delimiter": ",,"}, "/options/delimiter", "pattern"),
        ({"lable": "class"}, "/options/lable", "does not exist"),
    ],
)
def test_wrong_options_are_refused(read: TableReader, options: dict[str, Any], pointer: str, reason: str) -> None:
    errors = _refused(read, FLOWERS, options)
    assert errors[0][0] == pointer
    assert reason in errors[0][1]


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ("petal,colour,class\n1,red,tulip\n2,red,tulip\n", "the class 'tulip' in 2 rows"),
        ("petal,class\n1,rose\n", "line 1: the column 'colour' of the part 'train' is missing"),
        ("petal,colour,class,more\n1,red,rose,1\n", "line 1: the column 'more' is not in the part 'train'"),
        ("petal,colour,class\none,red,rose\n", "line 2: column 'petal' is numeric and has 'one'"),
        ("petal,colour,class\n1e40,red,rose\n", "line 2: column 'petal' has '1e40', infinite"),
        ("petal,colour,class\n1,red,\n", "line 2: column 'class' is the label and is missing"),
        ("petal,colour,class\n", "holds no rows"),
    ],
)
def test_part_that_does_not_fit_train_is_refused(read: TableReader, test: str, reason: str) -> None:
    ((pointer, detail),) = _refused(read, FLOWERS, test=test)
    assert pointer == "/test"
    assert detail.startswith("test.csv")
    assert reason in detail


def test_parts_are_those_of_a_table(read: TableReader, tmp_path: Path) -> None:
    assert "is not a part of a table" in _refused(read, FLOWERS, extra=FLOWERS)[0][1]
    with pytest.raises(InvalidDataset, match="/train: is missing"):
        KIND.read({"test": UploadedFile("a", tmp_path / "a")}, KIND.options())


def test_problems_are_listed_and_the_rest_counted(read: TableReader) -> None:
    """One wrong row a line, up to twenty; the last entry says how many more there are."""
    with pytest.raises(InvalidDataset) as refused:
        read("a,class\n" + "1,p\n2\n" * 100)
    errors = refused.value.errors
    assert len(errors) == MOST_KEPT + 1
    assert [error.detail for error in errors[:2]] == [
        f"train.csv line {line}: 1 field, the header has 2" for line in (3, 5)
    ]
    assert errors[-1].detail == "and 80 more problems like these"
    assert refused.value.detail.endswith("and 97 more")


def test_lines_are_counted_in_the_file_and_not_in_rows(read: TableReader) -> None:
    """Quoted line ends and blank lines count; a row is named by the line it begins at."""
    ((_, detail),) = _refused(read, 'a,class\n\n"x\ny\nz",p\nw,q\n"v\nu"\n')
    assert "line 7: 1 field" in detail


def test_sizes_are_bounded(read: TableReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_table, "CHUNK_CELLS", 6)
    monkeypatch.setattr(csv_table, "MOST_CELLS", 6)
    with pytest.raises(PayloadTooLarge, match="more than 6 fields"):
        read(FLOWERS * 2)
    monkeypatch.setattr(text_lines, "LARGEST_BYTES", 40)
    with pytest.raises(PayloadTooLarge, match="more than 40 bytes"):
        read(FLOWERS)
    monkeypatch.setattr(text_lines, "LONGEST_LINE_BYTES", 10)
    assert "line 1: longer than 10 bytes" in _refused(read, FLOWERS)[0][1]


def test_chunks_do_not_change_what_is_read(read: TableReader, monkeypatch: pytest.MonkeyPatch) -> None:
    text = numbered(100, lambda row: ("x", "", "y")[row % 3])
    whole = read(text)
    monkeypatch.setattr(csv_table, "CHUNK_CELLS", 9)
    pieces = read(text)
    assert pieces.meta == whole.meta
    for name, array in whole.splits["train"].items():
        np.testing.assert_array_equal(pieces.splits["train"][name], array)
