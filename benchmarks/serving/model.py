"""What every server serves: a perceptron 784-512-256-10 with softmax as ONNX, weights from a seed; and one picture.

``publish`` makes it a version in a store, as the exporter of a worker writes one. The peers read the same file.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from pydantic import JsonValue

from models.artifacts.store import ArtifactStore
from models.artifacts.versions import Versions
from models.contract.manifest import DatasetReference, Manifest, Part, Probe
from models.contract.task import Array
from models.contract.tensors import PartSignature, TensorSignature

NAME = "bench"
SIDE = 28
WIDTHS = (784, 512, 256, 10)
SEED = 7
JOB = "job_bench"

META: Mapping[str, JsonValue] = {
    "classes": [str(digit) for digit in range(WIDTHS[-1])],
    "value_range": [0, 1],
    "height": SIDE,
    "width": SIDE,
    "channels": None,
    "pixel_mean": 0.5,
    "pixel_standard_deviation": 0.3,
}
SIGNATURE = PartSignature(
    inputs=(TensorSignature(name="images", shape=("batch", SIDE, SIDE)),),
    outputs=(
        TensorSignature(name="logits", shape=("batch", WIDTHS[-1]), quantity="logits"),
        TensorSignature(name="probabilities", shape=("batch", WIDTHS[-1]), quantity="probabilities"),
    ),
)


@dataclass(frozen=True)
class BenchModel:
    """The graph, a picture, and what the graph makes of it."""

    graph: bytes
    pixels: Array
    """uint8 (28, 28)."""

    @classmethod
    def make(cls) -> BenchModel:
        """Return always the same."""
        generator = np.random.default_rng(SEED)
        layers = list(pairwise(WIDTHS))
        weights = [generator.normal(0, (2 / rows) ** 0.5, (rows, columns)) for rows, columns in layers]
        pixels = generator.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
        return cls(_graph([weight.astype(np.float32) for weight in weights]), pixels)

    @property
    def images(self) -> Array:
        """The picture as the graph takes it: float32 (1, 28, 28) in [0, 1]."""
        return (self.pixels / np.float32(255)).astype(np.float32)[np.newaxis]

    @cached_property
    def outputs(self) -> dict[str, Array]:
        """What ONNX Runtime gives for ``images``."""
        import onnxruntime  # noqa: PLC0415 - slow to load, and help needs none

        session = onnxruntime.InferenceSession(self.graph, providers=["CPUExecutionProvider"])
        names = [tensor.name for tensor in SIGNATURE.outputs]
        return dict(zip(names, session.run(names, {"images": self.images}), strict=True))

    def png(self) -> bytes:
        """Return the picture as a file."""
        file = io.BytesIO()
        Image.fromarray(self.pixels).save(file, "png")
        return file.getvalue()


def publish(model: BenchModel, store_url: str) -> None:
    """Publish ``model`` as version 1 of the model ``bench``."""
    store = ArtifactStore(store_url)
    versions = Versions(store)
    probe = io.BytesIO()
    outputs = {f"classifier/0/out/{name}": array for name, array in model.outputs.items()}
    np.savez(probe, allow_pickle=False, **{"classifier/0/in/images": model.images, **outputs})
    files = {"classifier.onnx": model.graph, "probe.npz": probe.getvalue()}
    for name, data in files.items():
        store.put(versions.part_path(JOB, 1, name), data)
    part = Part(
        path=versions.part_path(JOB, 1, "classifier.onnx"),
        sha256=hashlib.sha256(model.graph).hexdigest(),
        payload_bytes=len(model.graph),
        signature=SIGNATURE,
    )
    replayed = Probe(
        path=versions.part_path(JOB, 1, "probe.npz"), sha256=hashlib.sha256(files["probe.npz"]).hexdigest()
    )
    versions.publish(_manifest(part, replayed))


def _manifest(part: Part, probe: Probe) -> Manifest:
    return Manifest(
        model=NAME,
        version=1,
        job=JOB,
        family="mlp",
        task="classification",
        verbs=("classify",),
        headline="accuracy",
        config={},
        training={},
        dataset=DatasetReference(name="noise", kind="images", digest=f"sha256:{'0' * 64}", counts={"train": 1}),
        seed=SEED,
        code_version="0",
        created=datetime(2026, 1, 1, tzinfo=UTC),
        duration_seconds={},
        metrics={},
        curves=[],
        parity={},
        parts={"classifier": part},
        probe=probe,
        meta=dict(META),
        assets={},
        value_range=(0, 1),
        insides=(),
    )


def _graph(weights: list[Array]) -> bytes:
    nodes = [helper.make_node("Flatten", ["images"], ["layer_0"], axis=1)]
    initializers: list[onnx.TensorProto] = []
    for number, weight in enumerate(weights, start=1):
        last = number == len(weights)
        initializers.append(numpy_helper.from_array(weight, f"weight_{number}"))
        initializers.append(numpy_helper.from_array(np.zeros(WIDTHS[number], dtype=np.float32), f"bias_{number}"))
        into = "logits" if last else f"sum_{number}"
        nodes.append(helper.make_node("Gemm", [f"layer_{number - 1}", f"weight_{number}", f"bias_{number}"], [into]))
        if not last:
            nodes.append(helper.make_node("Relu", [into], [f"layer_{number}"]))
    nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1))
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", SIDE, SIDE])]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", WIDTHS[-1]])
        for name in ("logits", "probabilities")
    ]
    graph = helper.make_graph(nodes, "classifier", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()
