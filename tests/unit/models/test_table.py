"""The dataset kind ``table``: what a csv file says, what is refused with file and line, and what is told of it."""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from models.artifacts.datasets import Datasets
from models.artifacts.store import ArtifactStore
from models.catalog import Catalog
from models.contract.errors import InvalidDataset, PayloadTooLarge, ValidationFailed
from models.data import csv_table, text_lines
from models.data.cells import number, numbers, numbers_and_gaps, ordered
from models.data.kind import Content, UploadedFile
from models.data.kinds.table import KIND
from models.data.problems import MOST_KEPT

Read = Callable[..., Content]

FLOWERS = "petal,colour,class\n1.5,red,rose\n2.5,blue,iris\n,red,iris\n4,,rose\n"


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a function that reads csv parts, text or bytes, with their facts."""

    def read(train: str | bytes, options: dict[str, Any] | None = None, **others: str | bytes) -> Content:
        files = {"train": train, **others}
        for part, text in files.items():
            (tmp_path / part).write_bytes(text.encode() if isinstance(text, str) else text)
        uploaded = {part: UploadedFile(f"{part}.csv", tmp_path / part) for part in files}
        content = KIND.read(uploaded, KIND.options.parse(options or {}, "/options"))
        return Content(content.splits, {**content.meta, **KIND.facts(content)})

    return read


def _columns(content: Content) -> dict[str, Any]:
    columns: Any = content.meta["columns"]
    return {column["name"]: column for column in columns}


def _refused(read: Read, *args: Any, **others: str | bytes) -> list[tuple[str, str]]:
    with pytest.raises(ValidationFailed) as refused:
        read(*args, **others)
    return [(error.pointer, error.detail) for error in refused.value.errors]


# --- what is read ----------------------------------------------------------------------------------------------------


def test_columns_become_numbers_and_indices(read: Read) -> None:
    """Missing numbers are NaN, missing words 0; categories and classes are sorted and counted from 1 and from 0."""
    content = read(FLOWERS)
    train = content.splits["train"]
    assert train["numbers"].dtype == np.float32
    np.testing.assert_array_equal(train["numbers"], np.array([[1.5], [2.5], [np.nan], [4]], np.float32))
    assert train["categories"].tolist() == [[2], [1], [2], [0]]
    assert train["labels"].tolist() == [1, 0, 0, 1]
    assert content.meta["classes"] == ["iris", "rose"]


def test_facts_are_those_of_the_training_split(read: Read) -> None:
    content = read(FLOWERS, test="petal,colour,class\n100,blue,rose\n,green,iris\n")
    petal, colour = _columns(content).values()
    present = np.array([1.5, 2.5, 4])
    assert (petal["mean"], petal["deviation"]) == (pytest.approx(present.mean()), pytest.approx(present.std()))
    assert (petal["minimum"], petal["maximum"]) == (1.5, 4)
    assert petal["missing"] == {"train": 1, "test": 1}
    assert (colour["categories"], colour["counts"]) == (["blue", "red"], [1, 2])
    assert colour["missing"] == {"train": 1, "test": 1}
    assert content.meta["class_balance"] == {"train": {"iris": 2, "rose": 2}, "test": {"iris": 1, "rose": 1}}
    assert content.meta["notes"] == ["Part 'test': 1 values of 'colour' do not occur in 'train' and count as unknown."]


def test_rules_are_told(read: Read) -> None:
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
def test_forms_of_one_table_are_the_same(read: Read, text: str | bytes) -> None:
    content, wanted = read(text), read(FLOWERS)
    assert content.meta == wanted.meta
    for name, array in wanted.splits["train"].items():
        np.testing.assert_array_equal(content.splits["train"][name], array)


def test_quoted_fields_hold_delimiters_quotes_and_line_ends(read: Read) -> None:
    content = read('"a, b","say ""so""",class\n1,"x,\ny",p\n2,"""z""",q\n')
    assert list(_columns(content)) == ["a, b", 'say "so"']
    assert _columns(content)['say "so"']["categories"] == ['"z"', "x,\ny"]


def test_other_parts_may_order_their_columns_otherwise(read: Read) -> None:
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
def test_options_override_types(read: Read, options: dict[str, Any], types: dict[str, str]) -> None:
    content = read("code,size,class\n10,1,p\n9,-1,q\n10,3,p\n", options)
    assert {name: column["type"] for name, column in _columns(content).items()} == types
    if "categorical" in options:
        assert _columns(content)["code"]["categories"] == ["9", "10"]
    if "missing" in options:
        assert _columns(content)["size"]["missing"] == {"train": 1}


def test_column_of_numbers_and_words_is_categorical_and_says_why(read: Read) -> None:
    """What may be a slip is told, with its line."""
    content = read("size,class\n1,p\n2,q\nthree,p\n2,q\n")
    assert _columns(content)["size"]["categories"] == ["1", "2", "three"]
    (note,) = content.meta["notes"]  # type: ignore[misc]
    assert "'three' in train.csv line 4" in str(note)


def test_column_that_is_the_same_but_where_it_is_missing_is_kept(read: Read) -> None:
    """Whether there is a value can be all that matters."""
    assert list(_columns(read("flag,paid,class\nyes,5,p\n,,q\n"))) == ["flag", "paid"]


@pytest.mark.parametrize("name", ["Label", "TARGET", "class"])
def test_label_is_found_by_its_usual_names(read: Read, name: str) -> None:
    content = read(FLOWERS.replace("class", name))
    assert content.meta["label"] == name


def test_preview_shows_rows_that_can_be_sent_back(read: Read) -> None:
    content = read(FLOWERS.replace("1.5", "0.1"))
    assert KIND.preview(content, "train", 4) == [
        {"label": "rose", "row": {"petal": 0.1, "colour": "red"}},
        {"label": "iris", "row": {"petal": 2.5, "colour": "blue"}},
        {"label": "iris", "row": {"petal": None, "colour": "red"}},
        {"label": "rose", "row": {"petal": 4.0, "colour": None}},
    ]


def test_columns_without_information_are_dropped_when_asked(read: Read) -> None:
    """They leave train and the other parts, and the summary says why."""
    text = "a,b,c,class\n1,7,,p\n2,7,NA,q\n"
    content = read(text, {"constant": "drop"}, test=text)
    assert list(_columns(content)) == ["a"]
    assert content.meta["ignored"] == ["b", "c"]
    assert content.meta["notes"] == [
        "Column 'b' is left out: it has one value in every row (7 as a 32-bit float).",
        "Column 'c' is left out: it has no value in any row.",
    ]
    assert "leaves no column" in _refused(read, "a,class\n1,p\n1,q\n", {"constant": "drop"})[0][1]


# --- what is refused -------------------------------------------------------------------------------------------------


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
        pytest.param("a,b,class\n1,7,p\n2,7,q\n", ["'b' has one value in every row"], id="constant number"),
        pytest.param("a,b,class\n1,x,p\n2,x,q\n", ["'b' has one value in every row"], id="constant text"),
        pytest.param("a,class\n1e9,p\n1000000001,q\n", ["one value in every row (1e+09 as a 32-bit"], id="float32"),
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
def test_wrong_file_is_refused_with_its_line(read: Read, text: str | bytes, reasons: list[str]) -> None:
    errors = _refused(read, text)
    for reason in reasons:
        assert any(reason in detail for _, detail in errors), errors
    assert {pointer for pointer, _ in errors} <= {"/train", "/options/label"}
    assert all(detail.startswith("train.csv") for pointer, detail in errors if pointer == "/train")


def _numbered(rows: int, column: Callable[[int], str], label: Callable[[int], str] = lambda row: "pq"[row % 2]) -> str:
    return "a,b,class\n" + "".join(f"{row},{column(row)},{label(row)}\n" for row in range(rows))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (_numbered(600, lambda row: f"w{row % 300}"), "more than 255 different texts; list it under"),
        (_numbered(600, lambda row: str(row) if row != 299 else "oops"), "mend 'oops' in line 301"),
        (_numbered(600, lambda row: f"{row},5".join('""')), "has decimal commas (0,5); write a point"),
        (_numbered(50, lambda row: f"name {row}"), "50 texts, each only once"),
        (_numbered(50, str, lambda row: f"{row}.5"), "50 different values in 50 rows; a class must"),
        (_numbered(1_400, str, str), "more than 1000 different values in 1400 rows"),
    ],
    ids=["too many", "slip", "decimal commas", "names", "regression", "too many classes"],
)
def test_columns_that_cannot_be_learnt_say_so(read: Read, text: str, reason: str) -> None:
    ((pointer, detail),) = _refused(read, text)
    assert pointer == "/train"
    assert reason in detail


def test_small_tables_may_have_texts_that_come_once(read: Read) -> None:
    """The control of the refusal above: a column that the options call categorical, and one of few rows."""
    text = _numbered(50, lambda row: f"name {row}")
    assert len(_columns(read(text, {"categorical": ["b"]}))["b"]["categories"]) == 50
    assert len(_columns(read(_numbered(20, lambda row: f"name {row}")))["b"]["categories"]) == 20


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
def test_wrong_options_are_refused(read: Read, options: dict[str, Any], pointer: str, reason: str) -> None:
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
def test_part_that_does_not_fit_train_is_refused(read: Read, test: str, reason: str) -> None:
    ((pointer, detail),) = _refused(read, FLOWERS, test=test)
    assert pointer == "/test"
    assert detail.startswith("test.csv")
    assert reason in detail


def test_parts_are_those_of_a_table(read: Read, tmp_path: Path) -> None:
    assert "is not a part of a table" in _refused(read, FLOWERS, extra=FLOWERS)[0][1]
    with pytest.raises(InvalidDataset, match="/train: is missing"):
        KIND.read({"test": UploadedFile("a", tmp_path / "a")}, KIND.options())


def test_problems_are_listed_and_the_rest_counted(read: Read) -> None:
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


def test_lines_are_counted_in_the_file_and_not_in_rows(read: Read) -> None:
    """Quoted line ends and blank lines count; a row is named by the line it begins at."""
    ((_, detail),) = _refused(read, 'a,class\n\n"x\ny\nz",p\nw,q\n"v\nu"\n')
    assert "line 7: 1 field" in detail


def test_sizes_are_bounded(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_table, "CHUNK_CELLS", 6)
    monkeypatch.setattr(csv_table, "MOST_CELLS", 6)
    with pytest.raises(PayloadTooLarge, match="more than 6 fields"):
        read(FLOWERS * 2)
    monkeypatch.setattr(text_lines, "LARGEST_BYTES", 40)
    with pytest.raises(PayloadTooLarge, match="more than 40 bytes"):
        read(FLOWERS)
    monkeypatch.setattr(text_lines, "LONGEST_LINE_BYTES", 10)
    assert "line 1: longer than 10 bytes" in _refused(read, FLOWERS)[0][1]


def test_chunks_do_not_change_what_is_read(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    text = _numbered(100, lambda row: ("x", "", "y")[row % 3])
    whole = read(text)
    monkeypatch.setattr(csv_table, "CHUNK_CELLS", 9)
    pieces = read(text)
    assert pieces.meta == whole.meta
    for name, array in whole.splits["train"].items():
        np.testing.assert_array_equal(pieces.splits["train"][name], array)


# --- splits ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    """Return an empty store's datasets."""
    return Datasets(ArtifactStore((tmp_path / "store").as_uri()), Catalog())


def _upload(folder: Path, text: str) -> dict[str, UploadedFile]:
    (folder / "t.csv").write_text(text, encoding="utf-8")
    return {"train": UploadedFile("t.csv", folder / "t.csv")}


def test_stored_table_is_read_back(datasets: Datasets, tmp_path: Path) -> None:
    """Nothing is lost on the way through the store, and every row is in one split."""
    text = _numbered(200, lambda row: ("x", "", "y")[row % 3])
    record = datasets.add("a", "table", {}, _upload(tmp_path, text))
    content = datasets.content(record)
    assert record.counts == {"train": 140, "test": 40, "validation": 20}
    assert sorted(value for split in content.splits.values() for value in split["numbers"][:, 0]) == list(range(200))
    assert sum(_columns(content)["b"]["counts"]) + _columns(content)["b"]["missing"]["train"] == 140


def test_two_classes_of_one_example_are_all_for_training(datasets: Datasets, tmp_path: Path) -> None:
    """Nothing can be set aside, and the summary says so."""
    record = datasets.add("a", "table", {}, _upload(tmp_path, "a,class\n1,p\n2,q\n"))
    assert record.counts == {"train": 2}
    assert record.split_rule == "As uploaded. Too few examples to set any aside: no test and no validation split."


def test_category_whose_rows_are_all_set_aside_has_no_count(datasets: Datasets, tmp_path: Path) -> None:
    """The facts count the final training split, so the network gives such a category no input."""
    text = _numbered(40, lambda row: "common" if row % 20 else f"rare {row}")
    for fraction in (0.0, 0.5):
        name = f"a{fraction}"
        options: dict[str, Any] = {"test_fraction": fraction, "validation_fraction": 0, "categorical": ["b"]}
        content = datasets.content(datasets.add(name, "table", options, _upload(tmp_path, text)))
        column = _columns(content)["b"]
        assert len(column["categories"]) == 3
        codes = content.splits["train"]["categories"][:, 0]
        assert column["counts"] == [int((codes == index).sum()) for index in (1, 2, 3)]


# --- fields ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("-1.5", -1.5), (".5", 0.5), ("3e-7", 3e-7), ("+2", 2), ("1e400", math.inf), ("inf", math.inf)],
)
def test_numbers_are_those_of_c(text: str, value: float) -> None:
    assert number(text) == value


@pytest.mark.parametrize("text", ["", "nan", "1_000", "1,5", "0x10", "\u0661", "1 2", "one", "--1", "1e"])
def test_other_texts_are_no_numbers(text: str) -> None:
    assert number(text) is None
    assert numbers(["1", text]) is None


@given(
    st.lists(st.one_of(st.text(max_size=8), st.floats(width=32).map(str), st.just("NA")), min_size=1, max_size=8),
    st.sampled_from([frozenset[str](), frozenset({"NA", "nan", ""})]),
)
def test_quick_ways_agree_with_the_slow_one(texts: list[str], missing: frozenset[str]) -> None:
    """Whole chunks are read as the single fields of them are."""
    slow = [math.nan if text in missing else number(text.strip()) for text in texts]
    for quick in (numbers(texts), numbers_and_gaps(texts, missing)):
        if quick is not None:
            np.testing.assert_array_equal(quick, np.array(slow, np.float32))
    if all(value is not None and not math.isinf(value) for value in slow):
        assert numbers_and_gaps(texts, missing) is not None


@given(st.lists(st.text(max_size=4), unique=True))
def test_order_is_total(names: list[str]) -> None:
    assert ordered(names) == ordered(reversed(names))


def test_numbers_come_before_words() -> None:
    assert ordered(["b", "10", "9", "a", "-1"]) == ["-1", "9", "10", "a", "b"]


# --- anything at all -------------------------------------------------------------------------------------------------

FUZZ = settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def _pieces() -> st.SearchStrategy[str]:
    words = st.sampled_from(
        [",", ";", "\t", "\n", "\r", '"', "1", "2.5", "inf", "NA", "x", "y", "class", "a", " ", "\0"]
    )
    return st.lists(st.one_of(words, st.text(max_size=3)), max_size=60).map("".join)


@FUZZ
@given(st.one_of(_pieces(), _pieces().map("a,class\n".__add__), st.binary(max_size=200)))
@example("a,class\n1,p\n2,q\n")
@example(b"\x1f\x8b")
@example(b"\x1f\x8b" + bytes(20))
def test_any_file_is_read_or_refused(read: Read, text: str | bytes) -> None:
    """Whatever the bytes: a table whose rows can be shown, or an error of ours that names the part."""
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    for packed in (data, gzip.compress(data)):
        found = _outcome(read, packed)
        if isinstance(found, Content):
            assert len(KIND.preview(found, "train", 100)) == found.counts()["train"]
        else:
            assert {item.pointer for item in found.errors} <= {"/train", "/options/label", "/options/ignore"}


def _outcome(read: Read, *arguments: Any) -> Content | InvalidDataset:
    """Return what was read, or why it was refused; any other exception is a fault."""
    try:
        return read(*arguments)
    except InvalidDataset as error:
        return error


def _values() -> Iterator[st.SearchStrategy[object]]:
    yield st.floats(width=32, allow_nan=False, allow_infinity=False)
    yield st.one_of(st.none(), st.floats(-1e6, 1e6, width=32))
    yield st.sampled_from(["red", "green", "a,b", 'say "so"', "two\nlines", None])


@FUZZ
@given(st.lists(st.tuples(*_values(), st.sampled_from(["p", "q"])), min_size=4, max_size=30))
def test_what_was_written_is_read(read: Read, rows: list[tuple[Any, ...]]) -> None:
    """Any table, written by Python's csv, comes back value by value."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["a", "b", "c", "class"])
    writer.writerows([["" if value is None else value for value in row] for row in rows])
    found = _outcome(read, buffer.getvalue(), {"categorical": ["c"]})
    if isinstance(found, InvalidDataset):
        reasons = ("one value in every row", "no value in any row", "one class only")
        assert all(any(reason in item.detail for reason in reasons) for item in found.errors)
        return
    shown: Any = KIND.preview(found, "train", 100)
    assert [item["label"] for item in shown] == [row[3] for row in rows]
    for name, position in (("a", 0), ("b", 1)):
        values = [np.nan if item["row"][name] is None else item["row"][name] for item in shown]
        wanted = [np.nan if row[position] is None else row[position] for row in rows]
        np.testing.assert_array_equal(np.array(values, np.float32), np.array(wanted, np.float32))
    assert [item["row"]["c"] for item in shown] == [row[2] for row in rows]
