"""Products in eight bits: near the exact ones, row by row; what is no large product stays as it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from models.contract.task import Array
from models.contract.tensors import PartSignature, TensorSignature
from workers.exporting.onnx import open_graph
from workers.exporting.quantization import LEAST_WEIGHTS, quantized

INPUTS, OUTPUTS = 300, 70
SIGNATURE = PartSignature(
    inputs=(TensorSignature(name="x", shape=("batch", INPUTS)),),
    outputs=(TensorSignature(name="y", shape=("batch", OUTPUTS)),),
)
RANDOM = np.random.default_rng(1)
WEIGHT = RANDOM.normal(size=(INPUTS, OUTPUTS)).astype(np.float32)
BIAS = RANDOM.normal(size=OUTPUTS).astype(np.float32)
ROWS = RANDOM.normal(size=(7, INPUTS)).astype(np.float32)


def graph(nodes: Sequence[NodeProto], weights: dict[str, Array], inputs: int = INPUTS, outputs: int = OUTPUTS) -> bytes:
    """Return a graph from ``x`` (batch, inputs) to ``y`` (batch, outputs)."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", inputs])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", outputs])
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    model = helper.make_model(
        helper.make_graph(list(nodes), "part", [x], [y], initializers), opset_imports=[helper.make_opsetid("", 20)]
    )
    model.ir_version = 10
    onnx.checker.check_model(model)
    return model.SerializeToString()


def operators(data: bytes) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load_model_from_string(data).graph.node)


def run(data: bytes, rows: Array) -> Array:
    return open_graph(data, SIGNATURE)({"x": rows})["y"]


MATMUL = graph([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": WEIGHT})
GEMM = graph([helper.make_node("Gemm", ["x", "w", "b"], ["y"])], {"w": WEIGHT, "b": BIAS})
TIED = graph(
    [helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)],
    {"w": np.ascontiguousarray(WEIGHT.T), "b": BIAS},
)


@pytest.mark.parametrize(
    ("exact", "wanted"),
    [
        pytest.param(MATMUL, ROWS @ WEIGHT, id="MatMul"),
        pytest.param(GEMM, ROWS @ WEIGHT + BIAS, id="Gemm with a bias"),
        pytest.param(TIED, ROWS @ WEIGHT + BIAS, id="Gemm of a transposed weight"),
    ],
)
def test_product_is_near_the_exact_one_and_a_quarter_as_large(exact: bytes, wanted: Array) -> None:
    """Errors of 300 terms, each a 254th of its block's largest at most, stay far below the spread of the outputs."""
    data = quantized(exact)
    assert data is not None
    assert operators(data) == {"MatMulNBits": 1}
    assert len(data) < 0.5 * len(exact)  # two blocks of 256 for 300 inputs
    found = run(data, ROWS)
    np.testing.assert_allclose(found, wanted, atol=0.05 * wanted.std())
    assert np.abs(found - wanted).max() > 1e-4  # it is in eight bits indeed


@pytest.mark.parametrize("loud", [1e3, 1e-3])
def test_row_does_not_depend_on_what_is_asked_beside_it(loud: float) -> None:
    """A scale for the whole batch would leave a quiet row nothing beside a loud one: that is the control."""
    data = quantized(GEMM)
    assert data is not None
    mates = np.concatenate([ROWS[:1], loud * ROWS[1:]])
    np.testing.assert_allclose(run(data, mates)[0], run(data, ROWS[:1])[0], rtol=1e-5, atol=1e-5)
    scale = np.abs(mates).max() / 127
    shared = np.rint(mates / scale) * scale @ WEIGHT + BIAS
    assert loud < 1 or np.abs(shared[0] - run(data, ROWS[:1])[0]).max() > 1


def test_rows_of_nothing_give_the_bias() -> None:
    """No scale can be had of zeros."""
    data = quantized(GEMM)
    assert data is not None
    np.testing.assert_array_equal(run(data, np.zeros((2, INPUTS), np.float32)), np.stack([BIAS, BIAS]))


def test_column_of_zeros_gives_zeros() -> None:
    """Nor of a unit without weights."""
    weight = WEIGHT.copy()
    weight[:, 3] = 0
    data = quantized(graph([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weight}))
    assert data is not None
    np.testing.assert_array_equal(run(data, ROWS)[:, 3], np.zeros(len(ROWS), np.float32))


def test_weight_that_others_read_stays_beside_its_bytes() -> None:
    """An embedding that is the output layer, too: the rows that are looked up stay exact."""
    table = np.ascontiguousarray(WEIGHT.T)
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["product"], transB=1),
        helper.make_node("Gather", ["w", "first"], ["row"], axis=0),
        helper.make_node("ReduceSum", ["row"], ["sum"], keepdims=0),
        helper.make_node("Add", ["product", "sum"], ["y"]),
    ]
    exact = graph(nodes, {"w": table, "first": np.array([2], np.int64)})
    data = quantized(exact)
    assert data is not None
    assert operators(data) == {"MatMulNBits": 1, "Gather": 1, "ReduceSum": 1, "Add": 1}
    wanted = ROWS @ WEIGHT + table[2].sum()
    np.testing.assert_allclose(run(data, ROWS), wanted, atol=0.05 * (ROWS @ WEIGHT).std())


@pytest.mark.parametrize(
    "exact",
    [
        pytest.param(
            graph([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": WEIGHT[:, :13]}, outputs=13),
            id="fewer weights than are worth it",
        ),
        pytest.param(
            graph([helper.make_node("Gemm", ["x", "w"], ["y"], alpha=0.5)], {"w": WEIGHT}), id="a factor before it"
        ),
        pytest.param(
            graph([helper.make_node("Gemm", ["w", "x"], ["y"], transA=1, transB=1)], {"w": WEIGHT}),
            id="the weight on the left",
        ),
        pytest.param(graph([helper.make_node("Sigmoid", ["x"], ["y"])], {}, outputs=INPUTS), id="no product"),
    ],
)
def test_other_graphs_stay_as_they_are(exact: bytes) -> None:
    assert WEIGHT[:, :13].size < LEAST_WEIGHTS <= WEIGHT.size
    assert quantized(exact) is None
