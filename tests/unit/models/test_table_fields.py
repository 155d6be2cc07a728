"""Fields of tables one by one, and files of anything at all: a table, or an error of ours."""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from models.contract.errors import InvalidDataset
from models.data.kind import Content
from models.data.kinds.table import KIND
from models.data.tables.cells import number, numbers, numbers_and_gaps, ordered
from unit.models.tables import TableReader


@pytest.fixture
def read(tmp_path: Path) -> TableReader:
    """Return a reader of tables."""
    return TableReader(tmp_path)


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
def test_any_file_is_read_or_refused(read: TableReader, text: str | bytes) -> None:
    """Whatever the bytes: a table whose rows can be shown, or an error of ours that names the part."""
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    for packed in (data, gzip.compress(data)):
        found = read.outcome(packed)
        if isinstance(found, Content):
            assert len(KIND.preview(found, "train", 100)) == found.counts()["train"]
        else:
            assert {item.pointer for item in found.errors} <= {"/train", "/options/label", "/options/ignore"}


def _values() -> Iterator[st.SearchStrategy[object]]:
    yield st.floats(width=32, allow_nan=False, allow_infinity=False)
    yield st.one_of(st.none(), st.floats(-1e6, 1e6, width=32))
    yield st.sampled_from(["red", "green", "a,b", 'say "so"', "two\nlines", None])


@FUZZ
@given(st.lists(st.tuples(*_values(), st.sampled_from(["p", "q"])), min_size=4, max_size=30))
def test_what_was_written_is_read(read: TableReader, rows: list[tuple[Any, ...]]) -> None:
    """Any table, written by Python's csv, comes back value by value."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["a", "b", "c", "class"])
    writer.writerows([["" if value is None else value for value in row] for row in rows])
    found = read.outcome(buffer.getvalue(), {"categorical": ["c"], "constant": "refuse"})
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
