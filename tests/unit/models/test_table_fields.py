"""Fields of tables one by one, and files of anything at all: a table, or an error of ours."""

from __future__ import annotations

import csv
import gzip
import io
import math
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from models.contract.errors import InvalidDataset
from models.data.cells import number, numbers, numbers_and_gaps, ordered
from models.data.kind import Content
from models.data.kinds.table import KIND
from unit.models.tables import FLOWERS, TableReader


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
    found = read.outcome(buffer.getvalue(), {"categorical": ["c"]})
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


MUTATED = 100_000
LARGEST_GROWTH_BYTES = 200 * 2**20


def _mutated(random: np.random.Generator, seeds: list[bytes]) -> bytes:
    """Return a seed with some bytes replaced, cut out, doubled or taken from another seed."""
    data = bytearray(seeds[random.integers(len(seeds))])
    for _ in range(random.integers(1, 6)):
        start, stop = sorted(random.integers(0, len(data) + 1, 2).tolist())
        match int(random.integers(5)):
            case 0:
                data[start : start + 1] = random.bytes(int(random.integers(3)))
            case 1:
                del data[start:stop]
            case 2:
                data[start:start] = data[start:stop] * int(random.integers(4))
            case 3:
                other = seeds[random.integers(len(seeds))]
                data[start:stop] = other[: random.integers(len(other) + 1)]
            case _:
                data[start:start] = b",;\t\n\r\"'\\0."[random.integers(10) :][:1]
    return bytes(data)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_mutated_files_are_read_or_refused_within_bounds(read: TableReader) -> None:
    """A hundred thousand damaged tables, plain and packed: no other exception, no hang, no memory that stays."""
    random = np.random.default_rng(1)
    long = "a,b,class\n" + "".join(f'{row / 7},"w{row % 300}",{"pq"[row % 2]}\n' for row in range(400))
    plain = [FLOWERS.encode(), FLOWERS.replace(",", ";").encode("utf-8-sig"), long.encode(), FLOWERS.encode("utf-16")]
    seeds = [*plain, *(gzip.compress(data) for data in plain)]
    kept, options = 0, [None, {"constant": "drop"}, {"categorical": ["petal"]}, {"missing": ["1.5"], "label": "class"}]
    began = 0
    for count in range(MUTATED):
        found = read.outcome(_mutated(random, seeds), options[count % len(options)])
        kept += isinstance(found, Content)
        if count == MUTATED // 100:
            began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - began) * unit < LARGEST_GROWTH_BYTES
    assert MUTATED // 50 < kept < MUTATED * 49 // 50, "some are tables still, and some are not"
