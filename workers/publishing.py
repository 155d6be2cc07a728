"""The end of a job: export every part, hold it against the trained model, score it, make the version exist."""

from __future__ import annotations

import hashlib
import io
import time
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
from models.contract.formats import SUFFIXES, Format
from models.contract.jobs import JobRequest
from models.contract.manifest import DatasetReference, FurtherFile, HistoryFile, Manifest, Part, PartFile, Probe
from models.contract.spec import FamilySpec
from models.contract.task import Array, Arrays, ServedModel, Task
from models.contract.tensors import PartSignature
from models.family import Export
from workers.assembly import Data
from workers.claims import Claim
from workers.exporting.formats import EXPORTERS, RunPart, write
from workers.exporting.gate import check_parity, measure, traced_sizes
from workers.exporting.quantization import quantized
from workers.logs import say
from workers.scoring import check_quantized, check_trained, score
from workers.training import Outcome, Run


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
    quantized: bool = False


@dataclass(frozen=True)
class ExportedPart:
    """A part in every format that the job asked for: the one that is scored and served, then the others.

    ``exact`` equals the trained model; it is what is served unless that was quantised.
    """

    signature: PartSignature
    exact: Graph
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
        cases: list[tuple[Arrays, Arrays]] = []
        for format_ in finished.request.export.formats:
            data = write(name, part, format_, example)
            run = EXPORTERS[format_].open(data, part.signature)
            parity, runs = check_parity(name, part, format_, run, family, generator)
            cases = cases or runs
            graphs.append(Graph(format_, data, run, parity))
        served = graphs[0]
        if finished.request.export.quantize:
            served, cases = _quantized(name, part, served, cases)
        for index, (inputs, outputs) in enumerate(cases):
            probe |= {f"{name}/{index}/in/{key}": value for key, value in inputs.items()}
            probe |= {f"{name}/{index}/out/{key}": value for key, value in outputs.items()}
        parts[name] = ExportedPart(part.signature, graphs[0], served, tuple(graphs[1:]))
    buffer = io.BytesIO()
    cast("Any", np.savez_compressed)(buffer, **probe)
    return Exported(parts, buffer.getvalue())


def _quantized(
    name: str, part: Export, graph: Graph, cases: list[tuple[Arrays, Arrays]]
) -> tuple[Graph, list[tuple[Arrays, Arrays]]]:
    """Return the graph with its large products in eight bits and its own probe, or both as they were."""
    data = quantized(graph.data)
    if data is None:
        say(f"part '{name}' has no large matrix product and stays as it is")
        return graph, cases
    run = EXPORTERS[graph.format].open(data, part.signature)
    parity, own = measure(name, part, run, cases)
    say(f"part '{name}' in eight bits: {len(graph.data) / 1e3:,.0f} kB became {len(data) / 1e3:,.0f} kB")
    return Graph(graph.format, data, run, parity, quantized=True), own


def publish(finished: Finished, exported: Exported, claim: Claim, versions: Versions) -> Manifest:
    """Write the parts, score them through the codec, and publish the version.

    Raises:
        ParityFailed: the exported parts score otherwise than the trained model, or quantised ones too low.
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
    metrics = _score(finished, served, exported)
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
    versions.check_task(manifest.model, spec)
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
    return PartFile(
        path=path, format=graph.format, sha256=digest, payload_bytes=len(graph.data), quantized=graph.quantized
    )


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


def _score(finished: Finished, served: ServedModel, exported: Exported) -> dict[str, dict[str, float]]:
    """Return the metrics of what is served, checked against the trained model's own."""
    task, splits, run = finished.task, finished.data.content.splits, finished.run
    exact = {name: part.exact.run for name, part in exported.parts.items()}
    own = {name: part.served.run for name, part in exported.parts.items()}
    metrics = score(task, served, splits, exact)
    check_trained(run.family, run.module, splits, metrics)
    if any(part.served.quantized for part in exported.parts.values()):
        equal, metrics = metrics, score(task, served, splits, own)
        say(check_quantized(task, finished.spec.headline or task.headline, equal, metrics))
    report = run.family.report(run.module, splits, lambda part, arrays: own[part](arrays))
    for group, scores in report.items():
        metrics[group] = {**metrics.get(group, {}), **scores}
    return metrics
