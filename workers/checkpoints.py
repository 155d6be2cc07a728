"""Checkpoints in the artifact store: written under the attempt, found through the job's record in Redis.

The record is fenced by the claim's token, so a checkpoint of a lost attempt can be written but never found.
"""

from __future__ import annotations

import io
from typing import cast

import torch

from models.artifacts.store import ArtifactStore, ObjectMissing
from models.contract.errors import ValidationFailed
from models.family import State
from workers.claims import Claim, JobRef
from workers.training import handed_over


class Checkpoints:
    """The checkpoints of one claim."""

    def __init__(self, store: ArtifactStore, claim: Claim) -> None:
        """Keep where to write and under whose token."""
        self._store = store
        self._claim = claim
        self._newest: str | None = claim.field("checkpoint")

    def save(self, state: State, step: int) -> None:
        """Write a checkpoint, record it, and remove the one before.

        Raises:
            LeaseLost: a newer attempt owns the job.
            StoreFull: no space; the checkpoint before stays in force.
        """
        buffer = io.BytesIO()
        torch.save(state, buffer)
        ref = self._claim.ref
        path = f"{ref.project}/jobs/{ref.job_id}/checkpoints/{self._claim.attempt}-{step}.pt"
        self._store.put(path, buffer.getvalue())
        self._claim.checkpoint(path)
        if self._newest is not None and self._newest != path:
            self._store.delete(self._newest)
        self._newest = path

    def load(self, device: torch.device) -> State | None:
        """Return the newest checkpoint of the job, or what the one it resumes hands over; None when there is neither.

        Raises:
            ValidationFailed: the job resumes one whose checkpoint is gone.
        """
        if self._newest is not None:
            return _read(self._store, self._newest, device)
        older = self._claim.field("resumed_from")
        if older is None:
            return None
        path = self._claim.field_of(JobRef(self._claim.ref.project, older), "checkpoint")
        state = _read(self._store, path, device) if path else None
        if state is None:
            raise ValidationFailed.at("/resumed_from", f"job {older} has no checkpoint any more; submit a new job")
        return handed_over(state)


def _read(store: ArtifactStore, path: str, device: torch.device) -> State | None:
    try:
        data = store.get(path)
    except ObjectMissing:
        return None
    return state_of(data, device)


def state_of(data: bytes, device: torch.device) -> State:
    """Return the state that a checkpoint holds, written on whichever device, on ``device``.

    Those of generators (uint8) stay on the CPU, where torch wants them.
    """
    state = cast("State", torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
    if device.type == "cpu":
        return state

    def move(value: object) -> object:
        if isinstance(value, torch.Tensor):
            return value if value.dtype == torch.uint8 else value.to(device)
        if isinstance(value, dict):
            return {key: move(item) for key, item in cast("dict[object, object]", value).items()}
        if isinstance(value, list):
            return [move(item) for item in cast("list[object]", value)]
        return value

    return cast("State", move(state))
