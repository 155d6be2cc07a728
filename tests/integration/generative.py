"""What the tests of generative models do with the real stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from models.contract.jobs import JobState
from waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from app.client import Json
    from integration.conftest import StackClient

TRAINED_SECONDS = 240.0


def trained(stack: StackClient, body: dict[str, Any]) -> Json:
    """Train a model; return its card, with the job's ``log``."""
    job_id = stack.submit(body).id
    wait_until(lambda: stack.job(job_id).state.final, TRAINED_SECONDS)
    job = stack.job(job_id)
    assert job.state is JobState.SUCCEEDED, job.error
    return {**stack.version(body["model"], 1).sent(), "log": stack.logs(job_id)}


def images(answer: Any, key: str = "image") -> np.ndarray:  # noqa: ANN401 - JSON
    """Return the images of the predictions of ``answer``."""
    return np.array([item[key] for item in answer["predictions"]])


def add_bars(stack: StackClient, name: str, folder: Path, count: int, side: int) -> None:
    """Upload ``count`` square images with a block of 3 × 3 pixels in each; its row and column are the factors."""
    places = side - 2
    factors = np.stack(np.unravel_index(np.arange(count) % places**2, (places, places)), axis=1)
    drawn = np.zeros((count, side, side), np.uint8)
    for image, (row, column) in zip(drawn, factors.tolist(), strict=True):
        image[row : row + 3, column : column + 3] = 255
    np.savez(folder / "bars.npz", images=drawn, factors=factors, names=["row", "column"])
    stack.add_dataset(name, "factors", {"train": folder / "bars.npz"}, {})
