"""A training stopped at any step and taken up again ends bit for bit as one that never stopped, whatever the family."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from conformance.bench import Bench
from newest_checkpoint import NewestCheckpoint
from workers.training import Outcome, Run, prepare, train

EPOCHS = 2
LARGE_BATCH = 48
WANTED: Mapping[str, object] = {
    "epochs": EPOCHS,
    "batch_size": LARGE_BATCH,
    "early_stopping": {"patience": 1_000},  # so that the best parameters so far are carried over as well
}
PLACES: tuple[str, ...] = (
    "before the first step",
    "after it",
    "in mid-epoch",
    "between epochs",
    "before the last step",
    "after it all",
)


def started(bench: Bench) -> Run:
    """Return a fresh run of the family with those of the wanted options that it has."""
    wanted = {name: value for name, value in WANTED.items() if name in bench.spec.training.model_fields}
    options = bench.spec.training.parse(wanted)
    return prepare(bench.family, options, bench.content.splits, bench.device)


@pytest.fixture(scope="session")
def whole(bench: Bench) -> tuple[Run, Outcome]:
    """A run that nothing interrupts."""
    run = started(bench)
    return run, train(run, NewestCheckpoint())


@pytest.mark.parametrize("place", PLACES)
def test_a_run_stopped_and_continued_ends_bit_identical(bench: Bench, whole: tuple[Run, Outcome], place: str) -> None:
    """Parameters and curves, through a checkpoint that was written and read back."""
    steps, epoch = whole[0].plan.steps, whole[0].plan.steps_per_epoch
    stop_at = dict(zip(PLACES, (0, 1, epoch + epoch // 2, epoch, steps - 1, steps), strict=True))[place]
    notes, asked = NewestCheckpoint(), iter(range(1_000))
    first = train(started(bench), notes, should_stop=lambda: next(asked) == stop_at)
    assert first.finished == (stop_at >= steps)
    continued = started(bench)
    outcome = train(continued, NewestCheckpoint(), resume=notes.state(bench.device))
    assert (outcome.curves, outcome.ended) == (whole[1].curves, whole[1].ended)
    wanted = whole[0].module.state_dict()
    assert continued.module.state_dict().keys() == wanted.keys()
    assert [name for name, value in continued.module.state_dict().items() if not torch.equal(value, wanted[name])] == []


def test_the_uninterrupted_run_learns(whole: tuple[Run, Outcome], bench: Bench) -> None:
    """Else equal parameters would prove nothing."""
    fresh = started(bench).module.state_dict()
    assert any(not torch.equal(value, fresh[name]) for name, value in whole[0].module.state_dict().items())
