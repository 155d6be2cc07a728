"""What the protocol says of a version: its metadata, and its configuration in Triton's terms."""

from __future__ import annotations

from collections.abc import Sequence

from app.schemas import OipModel, OipTensor
from app.serving.batching import is_joint
from app.serving.oip.arrays import DATATYPES
from app.serving.runs import Limits
from app.serving.sessions import LoadedModel
from models.contract.tensors import TensorSignature

PLATFORMS = {"onnx": "onnxruntime_onnx", "torchscript": "pytorch_torchscript"}
BACKENDS = {"onnx": "onnxruntime", "torchscript": "pytorch"}


def metadata(loaded: LoadedModel, versions: Sequence[int]) -> OipModel:
    """Return how the protocol describes a version."""
    signatures = loaded.served.signatures
    part, first = next(iter(signatures.items()))
    return OipModel(
        name=loaded.manifest.model,
        versions=[str(number) for number in versions],
        platform=PLATFORMS[loaded.manifest.parts[part].format],
        inputs=[_describe(tensor) for tensor in first.inputs],
        outputs=[_describe(tensor) for tensor in first.outputs],
        parameters={"parts": list(signatures)},
    )


def configuration(loaded: LoadedModel, limits: Limits, timeout_microseconds: int) -> dict[str, object]:
    """Return the configuration of the version's first part; where runs are joined, ``dims`` are without batch axis."""
    part, signature = next(iter(loaded.served.signatures.items()))
    stored, joint = loaded.manifest.parts[part].format, is_joint(signature)
    skipped = 1 if joint else 0
    return {
        "name": loaded.manifest.model,
        "platform": PLATFORMS[stored],
        "backend": BACKENDS[stored],
        "version_policy": {"specific": {"versions": [loaded.manifest.version]}},
        "max_batch_size": limits.batch_size if joint else 0,
        "input": [_configured(tensor, skipped) for tensor in signature.inputs],
        "output": [_configured(tensor, skipped) for tensor in signature.outputs],
        "instance_group": [{"name": part, "kind": "KIND_CPU", "count": limits.concurrency}],
        "dynamic_batching": {
            "max_queue_delay_microseconds": round(limits.queue_delay_seconds * 1e6),
            "priority_levels": 3,
            "default_priority_level": 2,
            "default_queue_policy": {
                "max_queue_size": limits.queue_size,
                "default_timeout_microseconds": timeout_microseconds,
                "timeout_action": "REJECT",
            },
        },
    }


def _configured(tensor: TensorSignature, skipped: int) -> dict[str, object]:
    return {
        "name": tensor.name,
        "data_type": f"TYPE_{DATATYPES[tensor.dtype]}",
        "dims": [axis if isinstance(axis, int) else -1 for axis in tensor.shape[skipped:]],
    }


def _describe(tensor: TensorSignature) -> OipTensor:
    shape = [axis if isinstance(axis, int) else -1 for axis in tensor.shape]
    return OipTensor(name=tensor.name, datatype=DATATYPES[tensor.dtype], shape=shape)
