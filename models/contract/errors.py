"""Every error that Lectern raises on purpose. No HTTP here: ``app/problems.py`` owns the status codes.

::

    LecternError
    ├── MalformedBody            the bytes cannot be parsed
    ├── PayloadTooLarge          more bytes, elements or pixels than the stated limit
    ├── UnsupportedMedia         a media type that the endpoint does not read
    ├── NotAcceptable            an answer was asked for in a form that there is not
    ├── ValidationFailed         well-formed but wrong; names each field
    │   ├── InvalidDataset       an uploaded file does not hold what its kind promises
    │   └── WrongDatasetKind     the family learns from another kind of dataset
    ├── NotFound
    │   ├── FamilyNotFound · DatasetNotFound · JobNotFound · ModelNotFound
    │   └── VersionNotFound · AliasNotFound · VerbNotFound · RouteNotFound
    ├── MethodNotAllowed         the path exists, the method does not
    ├── Unauthorized · Forbidden no key that is valid · one that does not allow this, or another site's page
    ├── RateLimited              more requests with one key than are taken
    ├── BodyTooSlow              the body did not arrive in time
    ├── Conflict
    │   ├── DatasetExists · DatasetInUse · VersionInUse
    │   └── JobFinished · IdempotencyMismatch
    ├── Unavailable
    │   ├── QueueUnavailable     Redis does not answer
    │   ├── StoreUnavailable     the artifact store does not answer
    │   ├── StoreFull            no space left where artifacts are kept
    │   ├── ModelDamaged         a published part fails its checks on load
    │   ├── ModelUnloaded        somebody unloaded the model, and nobody has loaded it again
    │   ├── RuntimeUnavailable   what runs a part's format is not installed here, or ended
    │   └── Draining             the gateway is shutting down
    ├── DeadlineExceeded         a run took longer than its limit
    ├── Overloaded               more waits for an answer than the stated limit
    ├── JobFailure
    │   ├── TrainingDiverged     the loss is not finite
    │   ├── ExportFailed         a format cannot hold what the model does
    │   ├── ParityFailed         the exported graph disagrees with the trained model
    │   ├── OutOfMemory          the training needs more memory than there is
    │   ├── TrainerCrashed       the trainer process ended without a word
    │   └── WorkerLost           the worker vanished and no attempt is left
    └── LeaseLost                a newer attempt owns the job; this writer must stop
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from models.contract.suggestions import suggestion


@dataclass(frozen=True)
class FieldError:
    """One wrong field: a JSON pointer (RFC 6901) into the request and a sentence for the caller."""

    pointer: str
    detail: str


class LecternError(Exception):
    """An error with a stable ``code``, a one-line ``detail`` for the caller and the fields concerned."""

    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, errors: Sequence[FieldError] = ()) -> None:
        """Keep the sentence for the caller and the fields it speaks of."""
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)

    def problem(self) -> dict[str, object]:
        """Return the error as a JSON-able dict: ``code``, ``title``, ``detail`` and ``errors``."""
        errors = [{"pointer": item.pointer, "detail": item.detail} for item in self.errors]
        return {"code": self.code, "title": self.title, "detail": self.detail, "errors": errors}


class MalformedBody(LecternError):
    """The body cannot be parsed."""

    code = "malformed_body"
    title = "The body cannot be parsed"


class PayloadTooLarge(LecternError):
    """The request holds more bytes, elements or pixels than the stated limit."""

    code = "payload_too_large"
    title = "The request is too large"


class UnsupportedMedia(LecternError):
    """The endpoint does not read this media type."""

    code = "unsupported_media_type"
    title = "Media type not supported"


class NotAcceptable(LecternError):
    """The answer cannot be had in the form that ``Accept`` names."""

    code = "not_acceptable"
    title = "No answer in that form"


class ValidationFailed(LecternError):
    """The request is well-formed but wrong."""

    code = "validation_failed"
    title = "The request is not valid"

    @classmethod
    def at(cls, pointer: str, detail: str) -> Self:
        """Return the error for one field."""
        return cls(f"{pointer}: {detail}", [FieldError(pointer, detail)])


class InvalidDataset(ValidationFailed):
    """An uploaded file does not hold what its dataset kind promises."""

    code = "invalid_dataset"
    title = "The dataset is not valid"


class WrongDatasetKind(ValidationFailed):
    """The family learns from another kind of dataset."""

    code = "wrong_dataset_kind"
    title = "The dataset is of the wrong kind"


class NotFound(LecternError):
    """Something that was named does not exist."""

    code = "not_found"
    title = "Not found"

    @classmethod
    def named(cls, noun: str, name: str, known: Iterable[str] = ()) -> Self:
        """Return the error for ``name``, suggesting the nearest of the ``known`` names."""
        return cls(f"There is no {noun} '{name}'.{suggestion(name, known)}")


class FamilyNotFound(NotFound):
    """No model family has this name."""

    code = "family_not_found"
    title = "Family not found"


class DatasetNotFound(NotFound):
    """No dataset has this name."""

    code = "dataset_not_found"
    title = "Dataset not found"


class JobNotFound(NotFound):
    """No job has this id."""

    code = "job_not_found"
    title = "Job not found"


class ModelNotFound(NotFound):
    """No model has this name."""

    code = "model_not_found"
    title = "Model not found"


class VersionNotFound(NotFound):
    """The model has no such version."""

    code = "version_not_found"
    title = "Version not found"


class AliasNotFound(NotFound):
    """The model has no such alias."""

    code = "alias_not_found"
    title = "Alias not found"


class VerbNotFound(NotFound):
    """The model does not answer this verb."""

    code = "verb_not_found"
    title = "Verb not answered by this model"


class RouteNotFound(NotFound):
    """No endpoint has this path."""

    code = "route_not_found"
    title = "No such endpoint"


class MethodNotAllowed(LecternError):
    """The endpoint exists but not with this method."""

    code = "method_not_allowed"
    title = "Method not allowed"


class Unauthorized(LecternError):
    """The request comes without a key that is valid now."""

    code = "unauthorized"
    title = "A valid key is needed"


class Forbidden(LecternError):
    """The key does not allow this, or the request comes from where none may come from."""

    code = "forbidden"
    title = "Not allowed"


class RateLimited(LecternError):
    """More requests came with one key than are taken."""

    code = "rate_limited"
    title = "Too many requests"


class BodyTooSlow(LecternError):
    """The body did not arrive within the time it has."""

    code = "body_too_slow"
    title = "The body came too slowly"


class Conflict(LecternError):
    """The request contradicts the present state."""

    code = "conflict"
    title = "Conflict"


class DatasetExists(Conflict):
    """Another dataset already has this name."""

    code = "dataset_exists"
    title = "Dataset exists"


class DatasetInUse(Conflict):
    """A job that is not finished still needs the dataset."""

    code = "dataset_in_use"
    title = "Dataset in use"


class JobFinished(Conflict):
    """The job already ended or is past the point of no return."""

    code = "job_finished"
    title = "Job already finished"


class IdempotencyMismatch(Conflict):
    """The idempotency key was used with another body."""

    code = "idempotency_mismatch"
    title = "Idempotency key reused with another body"


class VersionInUse(Conflict):
    """An alias points at the version."""

    code = "version_in_use"
    title = "Version in use"


class Unavailable(LecternError):
    """Something that Lectern depends on does not answer now."""

    code = "unavailable"
    title = "Temporarily unavailable"


class QueueUnavailable(Unavailable):
    """Redis does not answer."""

    code = "queue_unavailable"
    title = "Job queue unavailable"


class StoreUnavailable(Unavailable):
    """The artifact store does not answer."""

    code = "store_unavailable"
    title = "Artifact store unavailable"


class StoreFull(Unavailable):
    """There is no space left where artifacts are kept."""

    code = "store_full"
    title = "Artifact store full"


class ModelDamaged(Unavailable):
    """A published part fails its checks on load."""

    code = "model_damaged"
    title = "Model damaged"


class ModelUnloaded(Unavailable):
    """The model was unloaded by request."""

    code = "model_unloaded"
    title = "Model unloaded"


class RuntimeUnavailable(Unavailable):
    """What runs the format of a part is not installed on this gateway, or ended while it was needed."""

    code = "runtime_unavailable"
    title = "Runtime unavailable"


class Draining(Unavailable):
    """The gateway is shutting down."""

    code = "draining"
    title = "Gateway shutting down"


class DeadlineExceeded(LecternError):
    """One run of a part took longer than its limit."""

    code = "deadline_exceeded"
    title = "Took too long"


class Overloaded(LecternError):
    """More waits for an answer than the stated limit."""

    code = "overloaded"
    title = "Too many requests at a time"


class JobFailure(LecternError):
    """A job failed for a reason that its owner can act on."""

    code = "job_failed"
    title = "Job failed"


class TrainingDiverged(JobFailure):
    """A metric is not finite, or the loss has exploded."""

    code = "training_diverged"
    title = "Training diverged"


class ExportFailed(JobFailure):
    """A format that the job asks for cannot hold what the model does."""

    code = "export_failed"
    title = "Export failed"


class ParityFailed(JobFailure):
    """The exported graph disagrees with the trained model."""

    code = "export_parity_failed"
    title = "Export disagrees with the trained model"


class OutOfMemory(JobFailure):
    """The training needs more memory than there is."""

    code = "out_of_memory"
    title = "Out of memory"


class TrainerCrashed(JobFailure):
    """The trainer process ended without reporting why."""

    code = "trainer_crashed"
    title = "Trainer crashed"


class WorkerLost(JobFailure):
    """The worker vanished and no attempt is left."""

    code = "worker_lost"
    title = "Worker lost"


class LeaseLost(LecternError):
    """A newer attempt owns the job; whoever sees this must stop writing."""

    code = "lease_lost"
    title = "Lease lost"
