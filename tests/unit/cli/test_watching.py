"""What is shown of a job that is watched: lines where there is no terminal, a bar and warnings where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from typer.testing import Result

if TYPE_CHECKING:
    from tests.unit.cli.conftest import CannedGateway

Run = Callable[..., Result]

DONE = {"id": "job_1", "state": "succeeded", "model": "first", "version": 3}


def state(name: str) -> tuple[str, dict[str, object]]:
    return ("state", {"state": name, "attempt": 1})


def epoch(number: int) -> tuple[str, dict[str, object]]:
    return ("epoch", {"epoch": number, "metrics": {"loss": 1 / number}})


def log(line: str) -> tuple[str, dict[str, object]]:
    return ("log", {"line": line})


def metrics(canned: CannedGateway, cpu: int, gpu: int) -> None:
    """Tell how many workers there are."""
    told = f'lectern_workers{{queue="train.cpu"}} {cpu}.0\nlectern_workers{{queue="train.gpu"}} {gpu}.0\n'
    canned.answers["GET /metrics"] = (200, "text/plain", told.encode())


def watched(lectern: Run, canned: CannedGateway, *events: tuple[str, dict[str, object]]) -> str:
    """Return what stderr shows of a job with these events."""
    canned.stream("GET /v1/jobs/job_1/events", *events)
    canned.answer("GET /v1/jobs/job_1", DONE)
    canned.answer("GET /v1/models/first/versions/3", {"version": 3})
    result = lectern("jobs", "watch", "job_1")
    assert result.exit_code == 0
    return result.stderr


def test_the_last_epoch_is_told_before_what_follows_it(lectern: Run, canned: CannedGateway) -> None:
    """Epochs of less than a second are left out, but not the last."""
    epochs = [epoch(number) for number in range(1, 21)]
    shown = watched(lectern, canned, state("running"), *epochs, state("exporting"), state("succeeded"))
    assert shown.splitlines() == [
        "running",
        "epoch 1: loss 1.0000",
        "epoch 20: loss 0.0500",
        "exporting",
        "succeeded",
    ]


def test_the_last_epoch_is_told_when_watching_ends(
    lectern: Run, canned: CannedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends it."""
    monkeypatch.setattr("app.client.RECONNECT_SECONDS", 0.0)
    monkeypatch.setattr("app.client.RECONNECT_PAUSE_SECONDS", 0.0)
    canned.stream("GET /v1/jobs/job_1/events", epoch(1), epoch(2))
    canned.refuse("GET /v1/jobs/job_1", 404, "job_not_found", "There is no job.")
    assert lectern("jobs", "watch", "job_1").stderr.splitlines()[:2] == ["epoch 1: loss 1.0000", "epoch 2: loss 0.5000"]


WARNED = (
    state("running"),
    epoch(1),
    log("epoch 1: loss 1.0000"),
    log("warning: collapse: it varies 3% as much as the data"),
    epoch(2),
    log("warning: collapse: it varies 2.5% as much as the data"),
    log("warning: another"),
    state("succeeded"),
)


def test_warnings_of_the_log_are_told_once(lectern: Run, canned: CannedGateway) -> None:
    """What else the log holds is for 'lectern jobs logs'; a warning with other figures is the same."""
    shown = watched(lectern, canned, *WARNED)
    assert shown.splitlines() == [
        "running",
        "epoch 1: loss 1.0000",
        "warning: collapse: it varies 3% as much as the data",
        "epoch 2: loss 0.5000",
        "warning: another",
        "succeeded",
    ]


def test_warnings_stand_above_the_bar_on_a_terminal(
    lectern: Run, canned: CannedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole, however wide it is."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    shown = watched(lectern, canned, *WARNED)
    assert shown.count("warning: collapse: it varies 3% as much as the data") == 1
    assert shown.count("warning: collapse") == 1
    assert shown.count("warning: another") == 1
    assert "epoch 1: loss" not in shown


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at once whether there is a worker, and wait for the end of it."""

    class Looking:
        """A timer that is up when it begins."""

        daemon = False

        def __init__(self, seconds: float, look: Callable[[], None]) -> None:
            assert seconds > 2
            self.start = look

        def cancel(self) -> None:
            """Be too late."""

    monkeypatch.setattr("app.cli.waiting.threading", Threads(Looking))


class Threads:
    """The part of ``threading`` that is used: all is done by the newest timer."""

    def __init__(self, timer: Callable[..., object]) -> None:
        self._make = timer
        self._newest: object = None

    def Timer(self, *arguments: object) -> object:  # noqa: N802 - the name is threading's
        self._newest = self._make(*arguments)
        return self._newest

    def current_thread(self) -> object:
        return self._newest


@pytest.mark.usefixtures("looks")
@pytest.mark.parametrize(
    ("queue", "cpu", "gpu", "told"),
    [
        ("train.gpu", 1, 0, "warning: no worker takes jobs for a GPU here; use --set training.device=auto or cpu, or"),
        ("train.cpu", 0, 1, "warning: no worker takes jobs here; start one with 'lectern up', or"),
        ("train.gpu", 0, 1, ""),
        ("train.cpu", 1, 0, ""),
    ],
)
def test_a_job_that_waits_for_nobody_says_so_once(
    lectern: Run, canned: CannedGateway, queue: str, cpu: int, gpu: int, told: str
) -> None:
    """It stays queued all the same: a worker may come."""
    metrics(canned, cpu, gpu)
    canned.stream("GET /v1/jobs/job_1/events", state("queued"), state("queued"), state("succeeded"))
    canned.answer("GET /v1/jobs/job_1", DONE | {"state": "queued", "queue": queue})
    canned.answer("GET /v1/models/first/versions/3", {"version": 3})
    shown = lectern("jobs", "watch", "job_1").stderr.splitlines()
    assert [line for line in shown if line.startswith("warning")] == [line for line in shown if told and told in line]
    assert len(shown) == 3 + bool(told)


@pytest.mark.usefixtures("looks")
def test_a_key_that_may_not_ask_for_workers_watches_all_the_same(lectern: Run, canned: CannedGateway) -> None:
    canned.refuse("GET /metrics", 403, "forbidden", "This needs a key with the scope admin.")
    assert watched(lectern, canned, state("queued"), state("succeeded")).splitlines() == ["queued", "succeeded"]


def test_a_job_that_begins_in_time_is_not_asked_about(lectern: Run, canned: CannedGateway) -> None:
    watched(lectern, canned, state("queued"), state("running"), state("succeeded"))
    assert "/metrics" not in [asked.path for asked in canned.asked]
