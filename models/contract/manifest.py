"""The manifest of a published version: the record that makes it exist, and the model card in one."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field, JsonValue

from models.contract.config import Name, Options
from models.contract.task import ServedModel
from models.contract.tensors import PartSignature
from models.contract.training import Ended


class PartFile(Options):
    """One exported graph in one format: where it lies in the store, and its hash.

    ``quantized`` says that its large products are computed in eight bits, so that it does not equal the trained model.
    """

    path: str
    format: str = "onnx"
    sha256: str
    payload_bytes: int
    quantized: bool = Field(default=False, exclude_if=lambda quantized: not quantized)


class FurtherFile(PartFile):
    """The same graph in a format that is not served; ``parity`` is the largest difference per output."""

    parity: dict[str, float]


class Part(PartFile):
    """One exported graph as it is served, its signature, and the further formats that the job asked for."""

    signature: PartSignature
    also: tuple[FurtherFile, ...] = ()


class Probe(Options):
    """Inputs and the outputs they gave at export (``probe.npz``), replayed by every server that loads the version."""

    path: str
    sha256: str


class HistoryFile(Options):
    """What the job told while it ran: ``events.jsonl`` or ``log.txt``."""

    path: str
    sha256: str
    payload_bytes: int


class DatasetReference(Options):
    """The dataset that a version was trained on."""

    name: str
    kind: str
    digest: str
    counts: dict[str, int]


class Manifest(Options):
    """One version of a model, whole. What has no manifest does not exist.

    ``metrics`` are computed from the exported parts through the task's codec; ``parity`` is the largest
    difference between exported and trained per part and output, of quantised parts without indices; ``curves`` has one
    point per epoch; ``ended`` says why the training ended; ``further_datasets`` are those that the configuration names,
    by option. ``ended`` is null and ``history`` empty in manifests older than they are.
    """

    model: Name
    version: int = Field(ge=1)
    job: str
    family: str
    task: str
    verbs: tuple[str, ...]
    headline: str
    config: dict[str, JsonValue]
    training: dict[str, JsonValue]
    dataset: DatasetReference
    further_datasets: dict[str, DatasetReference] = Field(default_factory=dict[str, DatasetReference])
    seed: int
    code_version: str
    created: datetime
    duration_seconds: dict[str, float]
    metrics: dict[str, dict[str, float]]
    curves: list[dict[str, float]]
    ended: Ended | None = None
    parity: dict[str, dict[str, float]]
    parts: dict[str, Part]
    probe: Probe
    meta: dict[str, JsonValue]
    assets: dict[str, JsonValue]
    value_range: tuple[float, float] | None
    insides: tuple[str, ...]
    history: tuple[HistoryFile, ...] = ()

    def files(self) -> dict[str, PartFile]:
        """Return every exported file of this version by its name, those that are not served included."""
        files = (file for part in self.parts.values() for file in (part, *part.also))
        return {file.path.rsplit("/", 1)[-1]: file for file in files}

    def paths(self) -> frozenset[str]:
        """Return where everything lies that belongs to this version."""
        files = [*self.files().values(), *self.history]
        return frozenset({self.probe.path, *(file.path for file in files)})

    def served(self) -> ServedModel:
        """Return what the codec may know of this version."""
        return ServedModel(
            name=self.model,
            family=self.family,
            config=self.config,
            meta=self.meta,
            assets=self.assets,
            signatures={name: part.signature for name, part in self.parts.items()},
        )
