"""An observer of a training that keeps its newest checkpoint, as the bytes that a store would hold."""

from __future__ import annotations

import io
from collections.abc import Mapping

import torch

from models.contract.jobs import Progress
from models.family import State
from workers.checkpoints import state_of


class NewestCheckpoint:
    """Hears everything and keeps the state alone."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self.saved = b""

    def progress(self, progress: Progress) -> None:
        """Is not kept."""

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Is not kept."""

    def checkpoint(self, state: State, step: int) -> None:
        """Keep what would be written."""
        del step
        buffer = io.BytesIO()
        torch.save(state, buffer)
        self.saved = buffer.getvalue()

    def state(self, device: torch.device | None = None) -> State:
        """Return what would be read on ``device``, the CPU by default."""
        return state_of(self.saved, device or torch.device("cpu"))
