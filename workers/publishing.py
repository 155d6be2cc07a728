"""The end of a job: export every part, hold it against the trained model, score it, make the version exist."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, cast

import numpy as np
import orjson
import torch
from pydantic import JsonValue

from models.artifacts.versions import Versions
from models.contract.datasets import DatasetRecord
from models.contract.errors import ParityFailed
from models.contract.formats import SUFFIXES, Format
from models.contract.jobs import JobRequest
from models.contract.manifest import DatasetReference, FurtherFile, HistoryFile, Manifest, Part, PartFile, Probe
from models.contract.spec import FamilySpec
from models.contract.task import Array, Arrays, ServedModel, Task, evaluate
from models.contract.tensors import PartSignature
from workers.assembly import Data
from workers.claims import Claim
from workers.exporting.formats import EXPORTERS, RunPart, write
from workers.exporting.gate import check_parity, traced_sizes
from workers.training import Outcome, Run

METRIC_GAP = 0.01
"""Largest difference of a score between trained model and exported parts, relative above 1."""


@dataclass(frozen=True)
class Finished:
    """A training that ran to its end, with everything its card tells."""

    spec: FamilySpec
    task: Task
    request: JobRequest
    data: Data
    run: Run
    outcome: Outcome
    seconds: dict[str, float]


@dataclass(frozen=True)
class Graph:
    """A part in one format, with its largest difference per output from the trained model."""

    format: Format
    data: bytes
    run: RunPart
    parity: dict[str, float]


@dataclass(frozen=True)
class ExportedPart:
    """A part in every format that the job asked for: the one that is scored and served, then the others."""

    signature: PartSignature
    served: Graph
    further: tuple[Graph, ...]


@dataclass(frozen=True)
class Exported:
    """All parts, and the probe: inputs and outputs of the formats that are served."""

    parts: dict[str, ExportedPart]
    probe: bytes


def export(finished: Finished) -> Exported:
    """Return the parts in every format that the job asks for, each equal to the trained model.

    Raises:
        ExportFailed: a format cannot hold one of them.
        ParityFailed: one of them is not equal.
    """
    family, module = finished.run.family, finished.run.module.cpu()
    generator = torch.Generator().manual_seed(finished.run.options.seed)
    parts: dict[str, ExportedPart] = {}
    probe: dict[str, Array] = {}
    for name, part in family.export(module).items():
        example = family.example(name, traced_sizes(part.signature), generator)
        graphs: list[Graph] = []
        for format_ in finished.request.export.formats:
            data = write(name, part, format_, example)
            run = EXPORTERS[format_].open(data, part.signature)
            parity, runs = check_parity(name, part, format_, run, family, generator)
            if not graphs:
                for index, (inputs, outputs) in enumerate(runs):
                    probe |= {f"{name}/{index}/in/{key}": value for key, value in inputs.items()}
                    probe |= {f"{name}/{index}/out/{key}": value for key, value in outputs.items()}
            graphs.append(Graph(format_, data, run, parity))
        parts[name] = ExportedPart(part.signature, graphs[0], tuple(graphs[1:]))
    buffer = io.BytesIO()
    cast("Any", np.savez_compressed)(buffer, **probe)
    return Exported(parts, buffer.getvalue())


def publish(finished: Finished, exported: Exported, claim: Claim, versions: Versions) -> Manifest:
    """Write the parts, score them through the codec, and publish the version.

    Raises:
        ParityFailed: the exported parts score otherwise than the trained model.
        StoreFull: no space; the version does not exist.
    """
    request, spec, record = finished.request, finished.spec, finished.data.record
    started = time.monotonic()
    parts = {name: _part(name, part, claim, versions) for name, part in exported.parts.items()}
    served = ServedModel(
        name=request.model,
        family=spec.name,
        config=request.config,
        meta=record.meta,
        assets=finished.run.family.assets(finished.run.module),
        signatures={name: part.signature for name, part in parts.items()},
    )
    metrics = _score(finished, served, {name: part.served.run for name, part in exported.parts.items()})
    probe_path = versions.part_path(claim.ref.job_id, claim.attempt, "probe.npz")
    versions.write(probe_path, exported.probe)
    manifest = Manifest(
        model=request.model,
        version=1,
        job=claim.ref.job_id,
        family=spec.name,
        task=spec.task,
        verbs=spec.verbs or tuple(finished.task.verbs),
        headline=spec.headline or finished.task.headline,
        config=request.config,
        training=request.training,
        dataset=_reference(record),
        further_datasets={option: _reference(item) for option, (item, _) in finished.data.further.items()},
        seed=finished.run.options.seed,
        code_version=version("lectern"),
        created=datetime.now(UTC),
        duration_seconds=finished.seconds | {"evaluate": time.monotonic() - started},
        metrics=metrics,
        curves=finished.outcome.curves,
        ended=finished.outcome.ended,
        parity={name: part.served.parity for name, part in exported.parts.items()},
        parts=parts,
        probe=Probe(path=probe_path, sha256=hashlib.sha256(exported.probe).hexdigest()),
        meta=record.meta,
        assets=cast("dict[str, JsonValue]", dict(served.assets)),
        value_range=cast("tuple[float, float] | None", record.meta.get("value_range")),
        insides=spec.insides,
        history=history(claim, versions),
    )
    return versions.publish(manifest)


def _reference(record: DatasetRecord) -> DatasetReference:
    return DatasetReference(name=record.name, kind=record.kind, digest=record.digest, counts=record.counts)


def _part(name: str, part: ExportedPart, claim: Claim, versions: Versions) -> Part:
    also = tuple(
        FurtherFile(**dict(_file(name, graph, claim, versions)), parity=graph.parity) for graph in part.further
    )
    return Part(**dict(_file(name, part.served, claim, versions)), signature=part.signature, also=also)


def _file(name: str, graph: Graph, claim: Claim, versions: Versions) -> PartFile:
    """Write one graph to the store."""
    path = versions.part_path(claim.ref.job_id, claim.attempt, f"{name}{SUFFIXES[graph.format]}")
    versions.write(path, graph.data)
    digest = hashlib.sha256(graph.data).hexdigest()
    return PartFile(path=path, format=graph.format, sha256=digest, payload_bytes=len(graph.data))


def history(claim: Claim, versions: Versions) -> tuple[HistoryFile, ...]:
    """Write the job's events and log so far beside the parts; Redis keeps them for some time only.

    Once per attempt: a marker may name the hash of what was written before the store failed, and more is told since.
    """
    lines = (
        orjson.dumps({"id": event_id, "event": fields["event"], "data": orjson.Fragment(fields["data"])})
        for event_id, fields in claim.events()
    )
    contents = {"events.jsonl": b"".join(line + b"\n" for line in lines), "log.txt": claim.log_text().encode()}
    files: list[HistoryFile] = []
    for name, data in contents.items():
        path = versions.part_path(claim.ref.job_id, claim.attempt, name)
        kept = versions.write_once(path, data)
        files.append(HistoryFile(path=path, sha256=hashlib.sha256(kept).hexdigest(), payload_bytes=len(kept)))
    return tuple(files)


def _score(finished: Finished, served: ServedModel, parts: Mapping[str, RunPart]) -> dict[str, dict[str, float]]:
    """Return the metrics of validation and test through the codec, checked against the trained model's own."""

    def run(part: str, arrays: Arrays) -> Arrays:
        return parts[part](arrays)

    metrics: dict[str, dict[str, float]] = {}
    for split in ("validation", "test"):
        if split not in finished.data.content.splits:
            continue
        metrics[split] = evaluate(finished.task, served, finished.data.content.splits[split], run)
        family, module = finished.run.family, finished.run.module
        own = family.evaluate(module, family.examples(finished.data.content.splits[split], torch.device("cpu")))
        for name in own.keys() & metrics[split].keys():
            gap = abs(own[name] - metrics[split][name]) / max(1.0, abs(own[name]))
            if not gap <= METRIC_GAP:
                message = (
                    f"'{name}' on {split} is {metrics[split][name]:.4f} from the exported parts and {own[name]:.4f} "
                    "from the trained model. The version was not published."
                )
                raise ParityFailed(message)
    splits = finished.data.content.splits
    for group, scores in finished.run.family.report(finished.run.module, splits, run).items():
        metrics[group] = {**metrics.get(group, {}), **scores}
    return metrics
