"""The short form of ``make chaos``: ten jobs through the faults that tell most, every promise kept."""

from __future__ import annotations

import sys

import pytest

from chaos.campaign import CampaignOptions, campaign, discard
from chaos.faults import (
    CrashBeforeManifestWithSupervisor,
    CrashBeforeMessage,
    FillDisk,
    KillGateway,
    KillRedis,
    KillTrainer,
    KillWorker,
    PauseWorkerAndTrainer,
)

KINDS = (
    KillTrainer,
    KillWorker,
    KillGateway,
    KillRedis,
    PauseWorkerAndTrainer,
    CrashBeforeManifestWithSupervisor,
    CrashBeforeMessage,
    FillDisk,
)
SHORT = CampaignOptions(
    jobs=10,
    faults=len(KINDS),
    seed=5,
    limit_seconds=240.0,
    kinds=KINDS,
    pause_seconds=(0.1, 1.0),
    epochs_factor=0.5,
)
FEWEST_FAULTS = 6
NEED_NOT_OCCUR = {
    "failures have a reason",
    "refusals have a reason",
    "what an event stream told stands",
    "a resumed job goes on from the checkpoint",
}


@pytest.mark.slow
@pytest.mark.timeout(540)
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, which shows processes and their environment in /proc")
def test_jobs_keep_their_promises_while_what_runs_them_is_broken() -> None:
    result = campaign(SHORT)
    print(result.report)  # noqa: T201 - pytest shows it when the test fails, or with -rP
    assert list(result.complaints()) == []
    assert len(result.case.evidence.jobs) >= SHORT.jobs
    assert result.case.history.happened >= FEWEST_FAULTS
    assert {verdict.invariant for verdict in result.verdicts if not verdict.checked} <= NEED_NOT_OCCUR
    discard(result)
