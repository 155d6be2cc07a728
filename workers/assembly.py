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
from workers.devices import device_of
from workers.settings import WorkerSettings
from workers.training import Run, prepare


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

    def data(self, store: ArtifactStore) -> tuple[DatasetRecord, Content]:
        """Return the dataset that the job was submitted with.

        Raises:
            DatasetNotFound: it is gone, or another one has its name now.
        """
        datasets = Datasets(store, self.catalog, self.request.project)
        record = datasets.record(self.request.dataset)
        if record.digest != self.request.dataset_digest:
            message = f"Dataset '{self.request.dataset}' was replaced by other content after the job was submitted."
            raise DatasetNotFound(message)
        return record, datasets.content(record)

    def run(self, meta: Mapping[str, Any], splits: Mapping[str, Any], rank: int = 0) -> Run:
        """Return a fresh run on ``splits`` for process ``rank``, which has its share of the machine's threads."""
        family = self.catalog.family(self.request.family)(self.spec.config.parse(self.request.config, "/config"), meta)
        torch.set_num_threads(max(1, self.settings.threads() // self.options.devices))
        torch.set_flush_denormal(True)
        return prepare(family, self.options, splits, device_of(self.options, rank))
