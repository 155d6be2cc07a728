"""Ranked indices: the order of equals is free, any other is not."""

from __future__ import annotations

import numpy as np
import pytest

from models.contract.tensors import PartSignature, TensorSignature
from models.contract.ties import without_ties

SIGNATURE = PartSignature(
    inputs=(),
    outputs=(
        TensorSignature(name="values", shape=("batch", "top"), quantity="log_probabilities"),
        TensorSignature(name="indices", dtype="int64", shape=("batch", "top"), quantity="indices", ranked_by="values"),
    ),
)


def _settled(values: list[float], expected: list[int], found: list[int]) -> list[int]:
    outputs = {"values": np.array([values], np.float32), "indices": np.array([expected])}
    other = {"values": outputs["values"], "indices": np.array([found])}
    return without_ties(SIGNATURE, outputs, other)["indices"][0].tolist()


@pytest.mark.parametrize(
    ("values", "found", "wanted"),
    [
        pytest.param([-1.0, -2.0, -3.0], [2, 1, 3], [2, 1, 3], id="far apart: as found"),
        pytest.param([-1.0, -1.00001, -3.0], [2, 1, 3], [1, 2, 3], id="equal: as expected"),
        pytest.param([-1.0, -2.0, -3.0], [1, 2, 9], [1, 2, 3], id="last: its rival is not seen"),
        pytest.param([-1.0, -2.0, -2.0], [9, 3, 2], [9, 2, 3], id="others than the equals: as found"),
    ],
)
def test_only_equals_may_change_places(values: list[float], found: list[int], wanted: list[int]) -> None:
    """What is no matter of rounding stays, and the gate refuses it."""
    assert _settled(values, [1, 2, 3], found) == wanted


def test_another_shape_is_left_to_the_comparison() -> None:
    """It is an error of its own."""
    outputs = {"values": np.zeros((1, 2), np.float32), "indices": np.array([[1, 2]])}
    assert without_ties(SIGNATURE, outputs, {**outputs, "indices": np.array([[1]])})["indices"].shape == (1, 1)
