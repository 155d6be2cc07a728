"""From a job's request to a run: what the trainer and each process that trains beside it read in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch

from models.artifacts.datasets import Datasets
from models.artifacts.store import ArtifactStore
from models.catalog import Catalog
from models.contract.datasets import DatasetRecord
from models.contract.errors import DatasetNotFound
from models.contract.jobs import JobRequest
from models.contract.spec import FamilySpec
from models.contract.training import TrainingOptions
from models.data.kind import Content
from workers.devices import device_of, make_repeatable
from workers.settings import WorkerSettings
from workers.training import Run, prepare


@dataclass(frozen=True)
class Data:
    """What a job learns from: its dataset, and those that options of its configuration name, by option."""

    record: DatasetRecord
    content: Content
    further: Mapping[str, tuple[DatasetRecord, Content]]


@dataclass(frozen=True)
class Assembly:
    """A request with the family that it names and the options that it gives."""

    request: JobRequest
    settings: WorkerSettings
    catalog: Catalog
    spec: FamilySpec
    options: TrainingOptions

    @classmethod
    def of(cls, request: JobRequest, settings: WorkerSettings) -> Self:
        """Return what ``request`` names, before anything large is loaded.

        Raises:
            ValidationFailed: an option is wrong, or asks for a device that this worker does not see.
        """
        catalog = Catalog(settings.families)
        spec = catalog.spec(request.family)
        options = spec.training.parse(request.training, "/training")
        device_of(options)
        return cls(request, settings, catalog, spec, options)

    def data(self, store: ArtifactStore) -> Data:
        """Return the datasets that the job was submitted with.

        Raises:
            DatasetNotFound: one is gone, or another one has its name now.
        """
        datasets = Datasets(store, self.catalog, self.request.project)

        def found(name: str, digest: str) -> tuple[DatasetRecord, Content]:
            record = datasets.record(name)
            if record.digest != digest:
                message = f"Dataset '{name}' was replaced by other content after the job was submitted."
                raise DatasetNotFound(message)
            return record, datasets.content(record)

        record, content = found(self.request.dataset, self.request.dataset_digest)
        further = {option: found(item.name, item.digest) for option, item in self.request.further_datasets.items()}
        return Data(record, content, further)

    def run(self, data: Data, splits: Mapping[str, Any], rank: int = 0) -> Run:
        """Return a fresh run on ``splits`` for process ``rank``, which has its share of the machine's threads."""
        meta, further = data.record.meta, {option: content for option, (_, content) in data.further.items()}
        family = self.catalog.family(self.request.family)(self.spec.config.parse(self.request.config, "/config"), meta)
        torch.set_num_threads(max(1, self.settings.threads() // self.options.devices))
        torch.set_flush_denormal(True)
        device = device_of(self.options, rank)
        make_repeatable(device)
        return prepare(family, self.options, splits, device, further)
