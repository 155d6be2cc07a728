"""From what a user sends to a job that a worker can run: everything checked, every default filled in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

import orjson
from pydantic import BaseModel, JsonValue

from app.dependencies import Services
from app.schemas import Job
from models.contract.config import Options
from models.contract.datasets import DatasetRecord
from models.contract.errors import (
    Conflict,
    DatasetNotFound,
    FamilyNotFound,
    ValidationFailed,
    WrongDatasetKind,
)
from models.contract.jobs import JobRequest, JobSubmission, NamedContent
from models.contract.spec import FamilySpec
from models.contract.training import TrainingOptions

IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def checked_key(key: str | None) -> str | None:
    """Return the idempotency key if it can be one.

    Raises:
        ValidationFailed: it is empty, too long, or holds spaces or control characters.
    """
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        raise ValidationFailed.at("/Idempotency-Key", "must be 1 to 255 printable characters without spaces")
    return key


def digest(body: BaseModel, *context: str) -> str:
    """Return what tells one request body from another, whatever the order of its fields.

    Raises:
        ValidationFailed: it is nested deeper than any option.
    """
    try:
        canonical = orjson.dumps([*context, body.model_dump(mode="json")], option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise ValidationFailed(f"The body cannot be compared with another: {error}.") from error
    return hashlib.sha256(canonical).hexdigest()


def validated(services: Services, submission: JobSubmission) -> JobRequest:
    """Return the request as a worker takes it.

    Raises:
        ValidationFailed: family, dataset or an option is wrong; names each by JSON pointer.
        WrongDatasetKind: the family learns from another kind of dataset.
        Conflict: the model has a version that answers another task than the family's.
    """
    try:
        spec = services.catalog.spec(submission.family)
    except FamilyNotFound as error:
        raise ValidationFailed.at("/family", error.detail) from error
    try:
        record = services.datasets.record(submission.dataset)
    except DatasetNotFound as error:
        raise ValidationFailed.at("/dataset", error.detail) from error
    return _request(services, spec, record, submission)


def resumed(services: Services, job: Job, training: Mapping[str, JsonValue]) -> JobRequest:
    """Return the request of a job that goes on where ``job`` ended, with some training options replaced.

    Raises:
        Conflict: the job has not ended, left no checkpoint, or its dataset is gone or another one; or the model
            answers another task by now.
        ValidationFailed: an option is wrong, or nothing is left to do.
    """
    if not job.state.final:
        raise Conflict(f"Job {job.id} is {job.state}; only a job that has ended can be taken up again.")
    if not job.checkpoint:
        raise Conflict(f"Job {job.id} left no checkpoint to go on from; submit it anew with POST /v1/jobs.")
    try:
        record = services.datasets.record(job.dataset)
    except DatasetNotFound as error:
        raise Conflict(f"The dataset '{job.dataset}' of job {job.id} is gone; upload it again.") from error
    spec = services.catalog.spec(job.family)
    for name in sorted(spec.training.kept_on_resume & training.keys()):
        if training[name] != job.training.get(name):
            detail = f"is {job.training.get(name)} in the checkpoint and cannot change; leave it out"
            raise ValidationFailed.at(f"/training/{name}", detail)
    options = spec.training.parse({**job.training, **training}, "/training")
    submission = JobSubmission(
        family=job.family,
        dataset=job.dataset,
        model=job.model,
        config=job.config,
        training=options.model_dump(mode="json"),
        export=job.export,
        priority=job.priority,
    )
    request = _request(services, spec, record, submission)
    _check_left(job, options, record)
    if (request.dataset_digest, request.further_datasets) != (job.dataset_digest, job.further_datasets):
        names = "' or '".join(sorted(job.datasets))
        raise Conflict(f"The dataset '{names}' is another one than when job {job.id} ran; submit a new job.")
    return request


def _check_left(job: Job, options: TrainingOptions, record: DatasetRecord) -> None:
    """Return if these options leave something to do.

    A job that did all its epochs and has no version is exported; half an epoch too many cannot be taken back.
    """
    epochs, progress = options.plan(record.counts["train"]).epochs, job.progress
    done = progress.epoch
    between = progress.step * progress.epochs > done * progress.steps
    if epochs > done or (epochs == done and job.version is None and not between):
        return
    said = f"{done} {'epoch was' if done == 1 else 'epochs were'} done already"
    if "epochs" in type(options).model_fields:
        raise ValidationFailed.at("/training/epochs", f"is {epochs}, and {said}; set more than {done}")
    raise ValidationFailed.at("/training", f"{said}, which is all there is to do; submit a new job")


def _request(services: Services, spec: FamilySpec, record: DatasetRecord, submission: JobSubmission) -> JobRequest:
    if record.kind not in spec.dataset_kinds:
        kinds = "' or '".join(spec.dataset_kinds)
        detail = f"'{record.name}' is of the kind '{record.kind}'; '{spec.name}' learns from '{kinds}'"
        raise WrongDatasetKind.at("/dataset", detail)
    parts = {"": JobSubmission, "/config": spec.config, "/training": spec.training}
    config = spec.config.parse(submission.config, "/config", parts)
    training = spec.training.parse(submission.training, "/training", parts)
    training.check_splits(record.counts)
    if submission.export.quantize and not (record.counts.get("validation") or record.counts.get("test")):
        detail = "needs a validation or test split to tell what it loses, and this dataset has neither; set it to false"
        raise ValidationFailed.at("/export/quantize", detail)
    if spec.check is not None:
        spec.check(config, training, record.meta)
    services.versions.check_task(submission.model, spec)
    return JobRequest(
        family=spec.name,
        dataset=record.name,
        model=submission.model,
        config=config.model_dump(mode="json"),
        training=training.model_dump(mode="json"),
        export=submission.export,
        priority=submission.priority,
        project=services.project,
        dataset_digest=record.digest,
        further_datasets=_further(services, spec, config),
    )


def _further(services: Services, spec: FamilySpec, config: Options) -> dict[str, NamedContent]:
    """Return the datasets that options of the configuration name."""
    found: dict[str, NamedContent] = {}
    for option, kind in spec.further_datasets.items():
        name = getattr(config, option)
        if name is None:
            continue
        try:
            record = services.datasets.record(name)
        except DatasetNotFound as error:
            raise ValidationFailed.at(f"/config/{option}", error.detail) from error
        if record.kind != kind:
            detail = f"'{name}' is of the kind '{record.kind}'; '{option}' takes a dataset of the kind '{kind}'"
            raise WrongDatasetKind.at(f"/config/{option}", detail)
        found[option] = NamedContent(name=record.name, digest=record.digest)
    return found
