"""Versions as workers deliver them, and a store in memory, for the tests of what becomes of versions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from models.artifacts.store import ArtifactStore, ObjectMissing, Stored
from models.artifacts.versions import Versions
from models.contract.manifest import DatasetReference, Manifest, Part, Probe
from models.contract.tensors import PartSignature, TensorSignature

SIGNATURE = PartSignature(
    inputs=(TensorSignature(name="x", shape=("batch", 2)),), outputs=(TensorSignature(name="y", shape=("batch", 2)),)
)


class MemoryStore(ArtifactStore):
    """A store in memory that holds state like a real one, and can fail or be overtaken at a chosen write."""

    def __init__(self) -> None:
        """Start empty; every write is announced to ``before`` and ``after``."""
        self.objects: dict[str, bytes] = {}
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None

    def put(self, path: str, data: bytes | Path) -> None:
        assert isinstance(data, bytes)
        self.before()
        self.objects[path] = data
        self.after()

    def put_if_absent(self, path: str, data: bytes) -> bool:
        self.before()
        absent = self.objects.setdefault(path, data) is data
        self.after()
        return absent

    def get(self, path: str) -> bytes:
        if path not in self.objects:
            raise ObjectMissing(path)
        return self.objects[path]

    def exists(self, path: str) -> bool:
        return path in self.objects

    def stream(self, path: str, chunk_bytes: int = 2**20) -> Iterator[bytes]:
        del chunk_bytes
        yield self.get(path)

    def below(self, prefix: str) -> Iterator[Stored]:
        for path, data in [*self.objects.items()]:
            if path.startswith(f"{prefix}/"):
                yield Stored(path, len(data), datetime.now(UTC))

    def names(self, prefix: str) -> list[str]:
        below = [path.removeprefix(f"{prefix}/") for path in self.objects if path.startswith(f"{prefix}/")]
        return sorted(path for path in below if "/" not in path)

    def folders(self, prefix: str) -> list[str]:
        below = [path.removeprefix(f"{prefix}/") for path in self.objects if path.startswith(f"{prefix}/")]
        return sorted({path.split("/", 1)[0] for path in below if "/" in path})

    def delete(self, path: str) -> None:
        self.objects.pop(path, None)


def deliver(versions: Versions, job: str, *, attempt: int = 1, model: str = "digits") -> Manifest:
    """Write the part and the probe of a job and publish it, as a worker does."""
    graph, probe = f"graph of {job}".encode(), b"probe"
    part_path = versions.part_path(job, attempt, "reader.onnx")
    probe_path = versions.part_path(job, attempt, "probe.npz")
    versions.write(part_path, graph)
    versions.write(probe_path, probe)
    digest = hashlib.sha256(graph).hexdigest()
    part = Part(path=part_path, sha256=digest, payload_bytes=len(graph), signature=SIGNATURE)
    return versions.publish(
        Manifest(
            model=model,
            version=1,
            job=job,
            family="reader",
            task="reading",
            verbs=("read",),
            headline="accuracy",
            config={},
            training={},
            dataset=DatasetReference(name="digits", kind="images", digest="sha256:0", counts={"train": 1}),
            seed=0,
            code_version="0",
            created=datetime(2026, 1, 1, tzinfo=UTC),
            duration_seconds={},
            metrics={},
            curves=[],
            parity={},
            parts={"reader": part},
            probe=Probe(path=probe_path, sha256=hashlib.sha256(probe).hexdigest()),
            meta={},
            assets={},
            value_range=None,
            insides=(),
        )
    )
