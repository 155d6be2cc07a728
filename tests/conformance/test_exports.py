"""What every family's exported parts promise: they equal the module, at any size, row by row, and the codec answers."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
import torch

from conformance.bench import CATALOG, Bench, ExportedBench
from models.contract.task import Arrays, answer
from models.contract.tensors import TOLERANCES, TensorSignature
from models.contract.ties import without_ties
from workers.exporting.gate import PARITY_SIZES, TRACED_SIZES, check_parity, measure, traced_sizes
from workers.exporting.onnx import open_graph
from workers.exporting.quantization import LEAST_WEIGHTS, SMALLEST_BLOCK, quantized

ROWS = 5
EIGHT_BITS = 0.2
"""Largest difference of a part in eight bits on networks that hardly learnt."""


def _example(bench: Bench, part: str, sizes: dict[str, int], seed: int) -> Arrays:
    tensors = bench.family.example(part, sizes, torch.Generator().manual_seed(seed))
    inputs = bench.exports[part].signature.inputs
    return {item.name: tensor.numpy() for item, tensor in zip(inputs, tensors, strict=True)}


def _conforms(array: np.ndarray, signature: TensorSignature, sizes: dict[str, int]) -> bool:
    wanted = tuple(sizes.get(axis, axis) if isinstance(axis, str) else axis for axis in signature.shape)
    return array.dtype == signature.dtype and array.shape == wanted


def _large_products(graph: bytes) -> list[str]:
    """Return the products of ``graph`` whose weights are many, of a block of inputs at least, as its nodes tell."""
    model = onnx.load_model_from_string(graph)
    shapes = {item.name: tuple(item.dims) for item in model.graph.initializer if len(item.dims) == 2}
    found: list[str] = []
    for node in model.graph.node:
        if node.op_type not in ("MatMul", "Gemm"):
            continue
        transposed = any(item.name == "transB" and item.i for item in node.attribute)
        for name in node.input[:2]:
            shape = shapes.get(name, (0, 0))
            if math.prod(shape) >= LEAST_WEIGHTS and shape[transposed] >= SMALLEST_BLOCK:
                found.append(node.name)
    return found


def _evaluated(exported: ExportedBench, asked: set[str]) -> dict[str, float]:
    """Return the metrics of the test split, checking each prediction; the verbs asked go into ``asked``."""
    bench = exported.bench
    evaluation = bench.task.evaluation(bench.served, bench.content.splits["test"])
    query = next(evaluation)
    while True:
        asked.add(query.verb)
        verb = bench.task.verbs[query.verb]
        predictions = answer(verb.codec(bench.served, query.request), exported.run)
        for prediction in predictions:
            verb.prediction.model_validate(prediction)
        try:
            query = evaluation.send(predictions)
        except StopIteration as stop:
            return stop.value


def test_gate_tries_one_of_each_and_more_than_was_traced() -> None:
    """The sizes of the gate itself: three at least, all ones, and beyond the traced example on every axis."""
    assert len(PARITY_SIZES) >= 3
    assert (1, 1) in PARITY_SIZES
    assert max(first for first, _ in PARITY_SIZES) > TRACED_SIZES[0]
    assert max(others for _, others in PARITY_SIZES) > max(TRACED_SIZES)


def test_parts_are_those_of_the_spec(bench: Bench) -> None:
    """Names, types and quantities are promised by the spec; only axes that the dataset decides become numbers."""
    parts = bench.spec.parts_of(bench.kind)
    assert parts.keys() - bench.spec.optional_parts <= bench.exports.keys() <= parts.keys()
    for part, export in bench.exports.items():
        promised, found = parts[part], export.signature
        tensors = (*found.inputs, *found.outputs)
        names = {tensor.name for tensor in tensors}
        there = [item for item in (*promised.inputs, *promised.outputs) if item.name in names or not item.optional]
        for one, other in zip(there, tensors, strict=True):
            assert (one.name, one.dtype, one.quantity) == (other.name, other.dtype, other.quantity)
            assert other.shape[0] == "batch"


def test_every_part_equals_the_module(exported: ExportedBench) -> None:
    """The publishing gate itself, on a trained module."""
    bench = exported.bench
    for part, export in bench.exports.items():
        generator = torch.Generator().manual_seed(5)
        run = exported.runs[part]
        differences, probe = check_parity(part, export, exported.format, run, bench.family, generator)
        assert differences.keys() == {output.name for output in export.signature.outputs}
        assert len(probe) == len(PARITY_SIZES)


@pytest.mark.parametrize("exported", ["onnx"], indirect=True)
def test_every_part_runs_in_eight_bits_or_stays_as_it_is(exported: ExportedBench) -> None:
    """No large product is left out, and what has none is not touched; sizes are those of the gate."""
    bench = exported.bench
    for part, export in bench.exports.items():
        graph = exported.graphs[part]
        data = quantized(graph)
        assert (data is None) == (not _large_products(graph))
        if data is None:
            continue
        assert _large_products(data) == []
        generator = torch.Generator().manual_seed(5)
        _, probe = check_parity(part, export, "onnx", exported.runs[part], bench.family, generator)
        differences, own = measure(part, export, open_graph(data, export.signature), probe)
        numbers = {output.name for output in export.signature.outputs if output.quantity != "indices"}
        assert differences.keys() == numbers
        assert max(differences.values()) < EIGHT_BITS
        assert len(own) == len(PARITY_SIZES)


def test_every_part_conforms_to_its_signature(exported: ExportedBench) -> None:
    """Examples and outputs have the types and shapes that the signature says, at a size that was not traced."""
    for part, export in exported.bench.exports.items():
        sizes = {name: size + 2 for name, size in traced_sizes(export.signature).items()}
        arrays = _example(exported.bench, part, sizes, seed=6)
        outputs = exported.run(part, arrays)
        assert all(_conforms(arrays[item.name], item, sizes) for item in export.signature.inputs)
        assert all(_conforms(outputs[item.name], item, sizes) for item in export.signature.outputs)


def test_every_row_equals_the_row_alone(exported: ExportedBench) -> None:
    """An answer never depends on batch mates."""
    for part, export in exported.bench.exports.items():
        arrays = _example(exported.bench, part, traced_sizes(export.signature) | {"batch": ROWS}, seed=7)
        together = exported.run(part, arrays)
        for row in range(ROWS):
            alone = exported.run(part, {name: array[row : row + 1] for name, array in arrays.items()})
            own = {name: array[row : row + 1] for name, array in together.items()}
            alone = without_ties(export.signature, own, alone)
            for output in export.signature.outputs:
                tolerance = TOLERANCES[output.quantity]
                np.testing.assert_allclose(alone[output.name][0], together[output.name][row], tolerance, tolerance)


def test_codec_answers_and_evaluation_gives_the_headline(exported: ExportedBench) -> None:
    """The evaluator asks through the codec as a client would; every prediction has the documented form."""
    asked: set[str] = set()
    bench = exported.bench
    metrics = _evaluated(exported, asked)
    assert math.isfinite(metrics[bench.spec.headline or bench.task.headline])
    assert asked
    assert asked <= set(bench.spec.verbs or bench.task.verbs)


def test_rehearsal_reaches_what_the_canon_does_not_yet() -> None:
    """The rehearsal keeps its purpose: several parts, a scripted loop, another kind, no epochs, other tasks."""
    rehearsed = [CATALOG.spec(name) for name in CATALOG.names() if "rehearsal" in CATALOG.family(name).__module__]
    assert len(rehearsed) == 6
    assert any(len(spec.parts) > 1 for spec in rehearsed)
    assert any("epochs" not in spec.training.model_fields for spec in rehearsed)
    assert {kind for spec in rehearsed for kind in spec.dataset_kinds} == {"images", "expressions"}
    assert len({spec.task for spec in rehearsed}) == 5
