"""A tiny published version, written as the exporter of a worker writes one."""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from pydantic import JsonValue

from models.artifacts.store import ArtifactStore
from models.artifacts.versions import Versions
from models.contract.manifest import DatasetReference, HistoryFile, Manifest, Part, Probe
from models.contract.tensors import PartSignature, TensorSignature

WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
"""Of the published test model: images of 2 × 2 pixels to the logits of the classes a, b and c."""

BUSY_WIDTH = 1024

META: dict[str, JsonValue] = {
    "classes": ["a", "b", "c"],
    "value_range": [0, 255],
    "height": 2,
    "width": 2,
    "channels": None,
    "pixel_mean": 127.5,
    "pixel_standard_deviation": 70.0,
}

SIGNATURE = PartSignature(
    inputs=(TensorSignature(name="images", shape=("batch", 2, 2)),),
    outputs=(
        TensorSignature(name="logits", shape=("batch", 3), quantity="logits"),
        TensorSignature(name="probabilities", shape=("batch", 3), quantity="probabilities"),
    ),
)

PAIR = PartSignature(
    inputs=(
        TensorSignature(name="tokens", dtype="int64", shape=("batch", "time")),
        TensorSignature(name="mask", dtype="bool", shape=("batch", "time")),
    ),
    outputs=(TensorSignature(name="kept", dtype="int64", shape=("batch", "time"), quantity="indices"),),
)

TABLE = PartSignature(
    inputs=(TensorSignature(name="ids", dtype="int64", shape=("batch", 2)),),
    outputs=(TensorSignature(name="rows", shape=("batch", 2, 3)),),
)


class Publisher:
    """Publishes tiny versions, as the exporter of a worker does."""

    def __init__(self, store: ArtifactStore, versions: Versions) -> None:
        """Keep where to publish."""
        self.store = store
        self.versions = versions

    def publish(
        self, model: str = "tiny", job: str = "job_1", scale: float = 1.0, busy_layers: int = 0, *, table: bool = False
    ) -> Manifest:
        """Publish a version whose logits are ``scale`` times the images times ``WEIGHTS``, and a part ``pair``.

        Each of ``busy_layers`` adds nothing to the logits, and some tenths of a millisecond to a run. With ``table``
        there is a part of that name, which looks the rows of ``WEIGHTS`` up and refuses other numbers.
        """
        files = {"classifier.onnx": _classifier(scale, busy_layers), "pair.onnx": _pair(), "probe.npz": _probe(scale)}
        parts = {"classifier": SIGNATURE, "pair": PAIR}
        if table:
            files["table.onnx"], parts["table"] = _table(), TABLE
        files["events.jsonl"] = b'{"id":"1-0","event":"epoch","data":{"epoch":1}}\n'
        for name, data in files.items():
            self.store.put(self.versions.part_path(job, 1, name), data)
        manifest = Manifest(
            model=model,
            version=1,
            job=job,
            family="mlp",
            task="classification",
            verbs=("classify",),
            headline="accuracy",
            config={},
            training={},
            dataset=DatasetReference(name="dots", kind="images", digest=f"sha256:{'0' * 64}", counts={"train": 2}),
            seed=0,
            code_version="0",
            created=datetime(2026, 1, 1, tzinfo=UTC),
            duration_seconds={},
            metrics={"test": {"accuracy": 1.0}},
            curves=[],
            parity={},
            parts={
                name: Part(
                    path=self.versions.part_path(job, 1, f"{name}.onnx"),
                    sha256=hashlib.sha256(files[f"{name}.onnx"]).hexdigest(),
                    payload_bytes=len(files[f"{name}.onnx"]),
                    signature=signature,
                )
                for name, signature in parts.items()
            },
            probe=Probe(
                path=self.versions.part_path(job, 1, "probe.npz"),
                sha256=hashlib.sha256(files["probe.npz"]).hexdigest(),
            ),
            meta=META,
            assets={},
            value_range=(0, 255),
            insides=(),
            history=(
                HistoryFile(
                    path=self.versions.part_path(job, 1, "events.jsonl"),
                    sha256=hashlib.sha256(files["events.jsonl"]).hexdigest(),
                    payload_bytes=len(files["events.jsonl"]),
                ),
            ),
        )
        return self.versions.publish(manifest)


def _probe(scale: float) -> bytes:
    images = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    logits = images.reshape(2, 4) @ WEIGHTS * np.float32(scale)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    cases = {
        "classifier/0/in/images": images,
        "classifier/0/out/logits": logits,
        "classifier/0/out/probabilities": exponentials / exponentials.sum(axis=1, keepdims=True),
    }
    probe = io.BytesIO()
    np.savez(probe, **cases)  # type: ignore[arg-type]
    return probe.getvalue()


def _classifier(scale: float, busy_layers: int = 0) -> bytes:
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], ["product"]),
        helper.make_node("MatMul", ["flat", "first"], ["layer_0"]),
        *(helper.make_node("MatMul", [f"layer_{n}", "between"], [f"layer_{n + 1}"]) for n in range(busy_layers)),
        helper.make_node("MatMul", [f"layer_{busy_layers}", "last"], ["nothing"]),
        helper.make_node("Add", ["product", "nothing"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    width = BUSY_WIDTH if busy_layers else 1
    shapes = {"first": (4, width), "between": (width, width), "last": (width, 3)}
    weights = [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in shapes.items()]
    weights.append(numpy_helper.from_array(WEIGHTS * np.float32(scale), "weights"))
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 2, 2])]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in ("logits", "probabilities")
    ]
    return _serialized(helper.make_graph(nodes, "classifier", inputs, outputs, weights))


def _pair() -> bytes:
    nodes = [
        helper.make_node("Cast", ["mask"], ["ones"], to=TensorProto.INT64),
        helper.make_node("Mul", ["tokens", "ones"], ["kept"]),
    ]
    shape = ["batch", "time"]
    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, shape),
        helper.make_tensor_value_info("mask", TensorProto.BOOL, shape),
    ]
    return _serialized(
        helper.make_graph(nodes, "pair", inputs, [helper.make_tensor_value_info("kept", TensorProto.INT64, shape)])
    )


def _table() -> bytes:
    nodes = [helper.make_node("Gather", ["weights", "ids"], ["rows"])]
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", 2])]
    outputs = [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", 2, 3])]
    weights = [numpy_helper.from_array(WEIGHTS, "weights")]
    return _serialized(helper.make_graph(nodes, "table", inputs, outputs, weights))


def _serialized(graph: onnx.GraphProto) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()
