"""What a learner remarks stands in the job's log so that whoever watches the job is shown it."""

from __future__ import annotations

from typing import cast
from unittest.mock import Mock

import pytest

from models.contract.errors import StoreUnavailable
from models.contract.jobs import WARNING
from workers.checkpoints import Checkpoints
from workers.claims import Claim
from workers.job import _Reporter
from workers.training import Run


class Learner:
    """Finds fault with every epoch."""

    def remarks(self, means: dict[str, float]) -> list[str]:
        return [f"collapse: varies {means['variety']:.0%}"]


class FullStore:
    """Keeps no checkpoint."""

    def save(self, _state: object, _step: int) -> None:
        raise StoreUnavailable("The store is full.")


class Training:
    """A run as far as reports need it."""

    learner = Learner()


def test_remarks_and_lost_checkpoints_are_warnings(capfd: pytest.CaptureFixture[str]) -> None:
    reporter = _Reporter(Mock(spec=Claim), cast("Checkpoints", FullStore()), cast("Run", Training()))
    reporter.epoch(1, {"variety": 0.02})
    reporter.checkpoint({}, 7)
    assert capfd.readouterr().out.splitlines() == [
        "epoch 1: variety 0.0200",
        f"{WARNING}collapse: varies 2%",
        f"{WARNING}no checkpoint at step 7: The store is full.",
    ]
