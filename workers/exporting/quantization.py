"""Products with large weights in an ONNX graph, computed in eight bits: smaller, faster, and not quite the same.

Each such product becomes one ``MatMulNBits`` of ONNX Runtime: weights as bytes with a scale per output and block,
inputs brought to eight bits while it runs, with a scale per row and block, so that no answer depends on what is asked
beside it. Everything else stays as it was, recurrent operators and convolutions among it. What a graph loses is not
judged here: :mod:`workers.scoring` compares what it scores. docs/adr/0022-quantization.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from models.contract.task import Array

LEAST_WEIGHTS = 4_096
"""Of a product that is worth it; smaller ones take no time, and often are the last, whose errors nothing evens out."""

SMALLEST_BLOCK = 16
LARGEST_BLOCK = 256
"""Weights of one output that share a scale; the runtime's kernels know powers of two between these."""

ZERO = 128
RANGE = 127
DOMAIN = "com.microsoft"
COMPUTE_IN_INT8 = 4
"""The runtime's ``accuracy_level``: inputs are brought to eight bits, too."""


def quantized(graph: bytes) -> bytes | None:
    """Return the graph with its large products in eight bits, None if it has none."""
    model = onnx.load_model_from_string(graph)
    weights = {item.name: item for item in model.graph.initializer}
    nodes: list[NodeProto] = []
    packed: dict[str, TensorProto] = {}
    for node in model.graph.node:
        weight = _weight(node, weights)
        nodes.append(node if weight is None else _product(node, weight, packed))
    if not packed:
        return None
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(packed.values())
    used = set(_names(model.graph))
    kept = [item for item in model.graph.initializer if item.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    if DOMAIN not in {item.domain for item in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return model.SerializeToString()


def _weight(node: NodeProto, weights: dict[str, TensorProto]) -> Array | None:
    """Return the weight (inputs, outputs) of a product that is worth it, None of any other node."""
    if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in weights:
        return None
    tensor = weights[node.input[1]]
    matrix = tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2  # noqa: PLR2004 - rows and columns
    if not matrix or np.prod(tensor.dims) < LEAST_WEIGHTS:
        return None
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    bias = weights.get(_bias(node))
    plain = attributes.get("alpha", 1.0) == attributes.get("beta", 1.0) == 1.0 and not attributes.get("transA", 0)
    weight = numpy_helper.to_array(tensor)
    weight = weight.T if _transposed(node) else weight
    if not plain or (_bias(node) and (bias is None or list(bias.dims) != [weight.shape[1]])):
        return None
    if len(weight) < SMALLEST_BLOCK:  # filled up to a block it would be larger than it is
        return None
    return weight


def _bias(node: NodeProto) -> str:
    return node.input[2] if node.op_type == "Gemm" and len(node.input) > 2 else ""  # noqa: PLR2004 - C of A × B + C


def _product(node: NodeProto, weight: Array, packed: dict[str, TensorProto]) -> NodeProto:
    """Return the node that takes the place of ``node``, and put what it needs into ``packed``."""
    inputs, outputs = weight.shape
    block = min(LARGEST_BLOCK, max(SMALLEST_BLOCK, 1 << (inputs - 1).bit_length()))
    name = f"{node.input[1]}{'.transposed' if _transposed(node) else ''}"
    values, scales = f"{name}.int8", f"{name}.scales"
    if values not in packed:
        found = pack(weight, block)
        packed |= {key: numpy_helper.from_array(item, key) for key, item in zip((values, scales), found, strict=True)}
    operands = [node.input[0], values, scales]
    if _bias(node):
        operands += ["", "", _bias(node)]
    return helper.make_node(
        "MatMulNBits",
        operands,
        list(node.output),
        name=node.name,
        domain=DOMAIN,
        K=inputs,
        N=outputs,
        bits=8,
        block_size=block,
        accuracy_level=COMPUTE_IN_INT8,
    )


def _transposed(node: NodeProto) -> bool:
    return any(item.name == "transB" and item.i for item in node.attribute)


def pack(weight: Array, block: int) -> tuple[Array, Array]:
    """Return bytes (outputs, blocks, block) uint8, 128 for zero, and scales (outputs × blocks).

    Args:
        weight: of a product, (inputs, outputs).
        block: weights of one output that share a scale.
    """
    inputs, outputs = weight.shape
    blocks = -(-inputs // block)
    padded = np.zeros((outputs, blocks * block), np.float32)
    padded[:, :inputs] = weight.T
    cut = padded.reshape(outputs, blocks, block)
    scales = np.abs(cut).max(axis=2, keepdims=True) / RANGE  # (outputs, blocks, 1)
    steps = np.rint(cut / np.where(scales > 0, scales, 1.0))
    return (steps + ZERO).astype(np.uint8), scales.astype(np.float32).reshape(-1)


def _names(graph: GraphProto) -> Iterator[str]:
    """Yield what nodes read, those of loops and branches included."""
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            inner: Sequence[GraphProto] = [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
            for item in inner:
                yield from _names(item)
    yield from (item.name for item in graph.output)
