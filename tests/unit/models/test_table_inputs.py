"""The codec of classification for rows of tables: forms of one row, missing and unknown values, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.classification.inputs import inputs_of
from models.classification.task import ClassifyRequest, classify
from models.contract.errors import LecternError, ValidationFailed
from models.contract.task import Arrays, ServedModel, answer
from models.contract.tensors import PartSignature, TensorSignature
from models.data.tables.facts import TableFacts

NUMERIC = {"type": "numeric", "mean": 2.0, "deviation": 1.0, "minimum": 0.0, "maximum": 4.0}
META: dict[str, Any] = {
    "label": "species",
    "classes": ["iris", "rose"],
    "columns": [
        {"name": "petal", "missing": {"train": 1}, **NUMERIC},
        {"name": "co/lour", "type": "categorical", "categories": ["1", "red"], "counts": [1, 2], "missing": {}},
        {"name": "sepal", "missing": {"train": 0}, **NUMERIC},
        {"name": "wet", "type": "categorical", "categories": ["False", "True"], "counts": [1, 2], "missing": {}},
    ],
    "missing_tokens": ["", "NA"],
    "ignored": ["id"],
}


def _model(meta: dict[str, Any] = META) -> ServedModel:
    outputs = (TensorSignature(name="probabilities", shape=("batch", 2), quantity="probabilities"),)
    signature = PartSignature(inputs=(TensorSignature(name="numbers", shape=("batch", 2)),), outputs=outputs)
    return ServedModel("m", "f", {}, meta, {}, {"classifier": signature})


def _arrays(*inputs: object, meta: dict[str, Any] = META) -> Arrays:
    """Return what the classifier is given."""
    return next(classify(_model(meta), ClassifyRequest(inputs=inputs))).arrays


@pytest.mark.parametrize(
    "row",
    [
        [1.5, "red", 3, "True"],
        (1.5, "red", 3, "True"),
        ["1.5", " red ", "3e0", True],
        {"petal": 1.5, "co/lour": "red", "sepal": 3, "wet": "True"},
        {"wet": True, "sepal": "3", "co/lour": "red", "petal": "1.5"},
    ],
    ids=["list", "tuple", "texts", "object", "other order"],
)
def test_forms_of_one_row_are_the_same(row: object) -> None:
    arrays = _arrays(row)
    assert {name: array.dtype.name for name, array in arrays.items()} == {"numbers": "float32", "categories": "int64"}
    assert arrays["numbers"].tolist() == [[1.5, 3]]
    assert arrays["categories"].tolist() == [[2, 2]]


@pytest.mark.parametrize(
    "row",
    [[None, None, 3, None], ["NA", "", 3, "NA"], {"sepal": 3}, [" ", "blue", 3, "maybe"], [None, 7, 3, 0.5]],
    ids=["null", "tokens", "left out", "unknown words", "unknown numbers"],
)
def test_missing_and_unknown_values(row: object) -> None:
    """Missing numbers are NaN; categories that are missing or that training did not see are 0."""
    arrays = _arrays(row)
    np.testing.assert_array_equal(arrays["numbers"], np.array([[np.nan, 3]], np.float32))
    assert arrays["categories"].tolist() == [[0, 0]]


@pytest.mark.parametrize("value", [1, 1.0, "1", True])
def test_category_that_looks_like_a_number_may_be_sent_as_one(value: object) -> None:
    assert _arrays([0, value, 0, False])["categories"].tolist() == [[1, 1]]


def test_only_the_arrays_that_have_columns_are_there() -> None:
    only = {**META, "columns": META["columns"][:1]}
    assert set(_arrays([1], meta=only)) == {"numbers"}
    only = {**META, "columns": META["columns"][1:2]}
    assert set(_arrays(["red"], meta=only)) == {"categories"}


@pytest.mark.parametrize(
    ("row", "pointer", "reason"),
    [
        ([1, "red", 2], "/inputs/1", "has 3 values; the model takes 4: petal, co/lour, sepal, wet"),
        ([1, "red", 2, "x", 5], "/inputs/1", "has 5 values"),
        ([], "/inputs/1", "has 0 values"),
        (1, "/inputs/1", "must be a list of 4 values or an object by column"),
        ("1,red,2,x", "/inputs/1", "must be a list"),
        (b"png", "/inputs/1", "must be a list"),
        (None, "/inputs/1", "must be a list"),
        (["tall", "red", 2, "x"], "/inputs/1/0", "must be a number or null, not 'tall'"),
        ([True, "red", 2, "x"], "/inputs/1/0", "not true or false"),
        ([[1], "red", 2, "x"], "/inputs/1/0", "not a list"),
        ([1e39, "red", 2, "x"], "/inputs/1/0", "beyond 32-bit floats"),
        ([10**400, "red", 2, "x"], "/inputs/1/0", "beyond 32-bit floats"),
        (["-inf", "red", 2, "x"], "/inputs/1/0", "infinite"),
        ([1, ["red"], 2, "x"], "/inputs/1/1", "must be a text, a number or null, not a list"),
        ({"sepal": "tall"}, "/inputs/1/sepal", "must be a number"),
        ({"co/lour": {}}, "/inputs/1/co~1lour", "not an object"),
        ({"petals": 1}, "/inputs/1", "there is no column 'petals'; did you mean 'petal'?"),
        ({"xyz": 1}, "/inputs/1", "the columns are: petal, co/lour, sepal, wet"),
        ({"species": "iris"}, "/inputs/1", "'species' is the label"),
        ({"id": 1}, "/inputs/1", "'id' was ignored"),
        ({"image": ""}, "/inputs/1", "there is no column 'image'"),
    ],
)
def test_wrong_row_is_refused_by_its_position(row: object, pointer: str, reason: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        _arrays([1, "red", 2, "True"], row)
    (error,) = refused.value.errors
    assert error.pointer == pointer
    assert reason in error.detail


_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(st.sampled_from(["petal", "co/lour", "sepal"]), st.text(max_size=3)), inner, max_size=4
        ),
    ),
    max_leaves=12,
)


@given(st.one_of(_json, st.lists(_json, min_size=4, max_size=4)))
def test_any_row_is_taken_or_refused(row: object) -> None:
    """Whatever JSON a client sends: finite or missing numbers and indices in range, or an error of ours."""
    try:
        arrays = _arrays(row)
    except LecternError:
        return
    assert not np.isinf(arrays["numbers"]).any()
    assert ((arrays["categories"] >= 0) & (arrays["categories"] <= 2)).all()


def test_rows_of_a_split_come_back_through_the_codec() -> None:
    """The evaluator sends what the split holds, and the classifier is given the same arrays."""
    random = np.random.default_rng(1)
    split = {
        "numbers": np.where(random.random((50, 2)) < 0.2, np.nan, random.normal(size=(50, 2))).astype(np.float32),
        "categories": random.integers(0, 3, (50, 2)).astype(np.int32),
        "labels": np.zeros(50, np.int64),
    }
    arrays = _arrays(*inputs_of(_model(), split, 10, 30))
    np.testing.assert_array_equal(arrays["numbers"], split["numbers"][10:30])
    np.testing.assert_array_equal(arrays["categories"], split["categories"][10:30])


def test_answers_have_the_classes_of_the_table() -> None:
    probabilities = {"probabilities": np.array([[0.25, 0.75]], np.float32)}
    (prediction,) = answer(classify(_model(), ClassifyRequest(inputs=({},))), lambda _part, _arrays: probabilities)
    assert (prediction["label"], prediction["probability"]) == ("rose", 0.75)


def test_facts_name_the_columns_of_each_array() -> None:
    facts = TableFacts.of(META)
    assert [column.name for column in facts.numeric] == ["petal", "sepal"]
    assert [column.name for column in facts.categorical] == ["co/lour", "wet"]
    assert math.isclose(facts.numeric[0].mean, 2)
    assert (facts.numeric[0].missing, facts.numeric[1].missing, facts.categorical[0].missing) == (1, 0, 0)
