"""Manifests of versions that no trainer made, for the tests of what workers do with them."""

from __future__ import annotations

from datetime import UTC, datetime

from models.contract.manifest import DatasetReference, HistoryFile, Manifest, Part, Probe
from models.contract.tensors import PartSignature, TensorSignature

START = datetime(2026, 1, 1, tzinfo=UTC)
"""When everything happened, unless a test says how long after."""

SIGNATURE = PartSignature(
    inputs=(TensorSignature(name="x", shape=("batch", 2)),), outputs=(TensorSignature(name="y", shape=("batch", 2)),)
)


def manifest_of(job: str, attempt: int, project: str = "default") -> Manifest:
    """Return a manifest whose files lie under the attempt."""
    root = f"{project}/jobs/{job}/{attempt}"
    return Manifest(
        model="digits",
        version=1,
        job=job,
        family="mlp",
        task="classification",
        verbs=("classify",),
        headline="accuracy",
        config={},
        training={},
        dataset=DatasetReference(name="digits", kind="images", digest="sha256:0", counts={}),
        seed=0,
        code_version="1",
        created=START,
        duration_seconds={},
        metrics={},
        curves=[],
        parity={},
        parts={"net": Part(path=f"{root}/net.onnx", sha256="0", payload_bytes=1, signature=SIGNATURE)},
        probe=Probe(path=f"{root}/probe.npz", sha256="0"),
        meta={},
        assets={},
        value_range=None,
        insides=(),
        history=(HistoryFile(path=f"{root}/events.jsonl", sha256="0", payload_bytes=1),),
    )
