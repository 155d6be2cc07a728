"""The loop: what it reports, when it stops, and what it says when the loss is not a number."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import cast

import pytest
import torch

from models.artifacts.datasets import Datasets
from models.artifacts.store import ArtifactStore
from models.catalog import Catalog
from models.contract.errors import TrainingDiverged
from models.contract.jobs import Progress
from models.data.kind import Content
from models.family import Learner, Metrics, State
from workers.training import Run, handed_over, prepare, train


class Notes:
    """An observer that remembers everything it was told."""

    def __init__(self) -> None:
        self.seen: list[Progress] = []
        self.epochs: list[tuple[int, Mapping[str, float]]] = []
        self.saved: list[tuple[int, bytes]] = []

    def progress(self, progress: Progress) -> None:
        self.seen.append(progress)

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self.epochs.append((epoch, metrics))

    def checkpoint(self, state: State, step: int) -> None:
        buffer = io.BytesIO()
        torch.save(state, buffer)
        self.saved.append((step, buffer.getvalue()))

    def state(self, index: int) -> State:
        return torch.load(io.BytesIO(self.saved[index][1]), weights_only=True)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Content:
    datasets = Datasets(ArtifactStore(tmp_path_factory.mktemp("store").as_uri()), Catalog())
    return datasets.content(datasets.record("digits"))


def prepared(content: Content, config: dict[str, object] | None = None, **training: object) -> Run:
    catalog = Catalog()
    spec = catalog.spec("mlp")
    family = catalog.family("mlp")(spec.config.parse({"hidden_sizes": [16], **(config or {})}), content.meta)
    options = spec.training.parse({"epochs": 3, "batch_size": 100, **training})
    return prepare(family, options, content.splits, torch.device("cpu"))


def parameters(run: Run) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in run.module.parameters()]


def seconds() -> Callable[[], float]:
    """Return a clock that is a second further at each look."""
    ticks = iter(range(1_000_000))
    return lambda: float(next(ticks))


def test_it_reports_every_epoch_and_ends_with_a_checkpoint(content: Content) -> None:
    notes = Notes()
    outcome = train(prepared(content), notes)
    assert outcome.finished
    assert [epoch for epoch, _ in notes.epochs] == [1, 2, 3]
    assert outcome.curves[-1]["loss"] < outcome.curves[0]["loss"]
    assert {"loss", "accuracy", "validation_loss", "validation_accuracy"} < set(outcome.curves[0])
    assert (notes.seen[-1].step, notes.seen[-1].eta_seconds) == (39, 0.0)
    assert [step for step, _ in notes.saved] == [39]


@pytest.mark.parametrize("stop_at", [1, 13, 20])
def test_a_run_stopped_anywhere_and_continued_ends_the_same(content: Content, stop_at: int) -> None:
    options = {"config": {"dropout": 0.5, "dropout_input": 0.2}, "early_stopping": {"patience": 2}}
    whole = prepared(content, **options)  # type: ignore[arg-type]
    wanted = train(whole, Notes())
    notes, asked = Notes(), iter(range(1_000))
    first = train(prepared(content, **options), notes, should_stop=lambda: next(asked) == stop_at)  # type: ignore[arg-type]
    assert not first.finished
    second = prepared(content, **options)  # type: ignore[arg-type]
    outcome = train(second, Notes(), resume=notes.state(-1))
    assert outcome.curves == wanted.curves
    assert all(torch.equal(one, other) for one, other in zip(parameters(whole), parameters(second), strict=True))


@pytest.fixture
def threads() -> Iterator[None]:
    """Give torch its threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_a_run_goes_on_with_as_many_threads_as_it_began_with(content: Content) -> None:
    torch.set_num_threads(1)
    notes, asked, whole = Notes(), iter(range(100)), prepared(content)
    train(whole, Notes())
    train(prepared(content), notes, should_stop=lambda: next(asked) == 20)
    torch.set_num_threads(2)
    continued = prepared(content)
    train(continued, Notes(), resume=notes.state(-1))
    assert torch.get_num_threads() == 1
    assert all(torch.equal(one, other) for one, other in zip(parameters(whole), parameters(continued), strict=True))


def test_a_checkpoint_is_not_changed_by_the_steps_after_it(content: Content) -> None:
    notes, ticks = Notes(), iter(range(10_000))
    train(prepared(content), notes, checkpoint_seconds=1, clock=lambda: float(next(ticks)))
    assert notes.saved[0][0] < 39
    continued = prepared(content)
    train(continued, Notes(), resume=notes.state(0))
    straight = prepared(content)
    train(straight, Notes())
    assert all(torch.equal(one, other) for one, other in zip(parameters(straight), parameters(continued), strict=True))


def test_a_loss_that_is_not_finite_names_the_step_and_the_remedy(content: Content) -> None:
    config: dict[str, object] = {"hidden_sizes": [64, 64, 64], "normalization": "none"}
    run = prepared(content, config, epochs=50, optimizer="momentum", learning_rate=100.0, schedule="constant")
    with pytest.raises(TrainingDiverged, match=r"at step \d+; lower training.learning_rate \(now 100.0\)"):
        train(run, Notes())


def test_a_validation_loss_ruined_by_the_last_step_is_a_divergence(content: Content) -> None:
    config: dict[str, object] = {"hidden_sizes": [64] * 20, "activation": "leaky_relu", "normalization": "none"}
    options = {"epochs": 1, "batch_size": 400, "optimizer": "sgd", "learning_rate": 100.0, "schedule": "constant"}
    with pytest.raises(TrainingDiverged, match=r"^validation_loss became nan at step 4; lower training.learning_rate"):
        train(prepared(content, config, **options), Notes())


class Scripted(Learner[object]):
    """A learner whose metrics were written down beforehand, one step after another; none once they are used up."""

    def __init__(self, *metrics: Metrics) -> None:
        self._metrics, self._done = metrics, 0

    def step(self, batch: object) -> Metrics:
        del batch
        self._done += 1
        return self._metrics[self._done - 1] if self._done <= len(self._metrics) else {}

    def state(self) -> State:
        return {"done": self._done}

    def restore(self, state: State) -> None:
        self._done = cast("int", state["done"])


def losses(*values: float) -> Scripted:
    return Scripted(*({"loss": value} for value in values))


def test_a_learner_without_metrics_is_reported_as_well(content: Content) -> None:
    notes = Notes()
    train(replace(prepared(content), learner=Scripted()), notes, clock=seconds())
    assert notes.seen[0].metrics == {}


@pytest.mark.parametrize(("first", "largest"), [(0.5, 1_001.0), (-3.0, 3_001.0), (600.0, 600_001.0)])
def test_a_loss_that_explodes_stops_the_run_with_the_step_and_the_remedy(
    content: Content, first: float, largest: float
) -> None:
    run = replace(prepared(content), learner=losses(first, *[largest] * 38))
    with pytest.raises(TrainingDiverged, match=r"loss rose from .+ at step 11; lower training.learning_rate"):
        train(run, Notes())
    tame = replace(prepared(content), learner=losses(first, *[largest - 2] * 38))
    assert train(tame, Notes()).finished


def test_a_short_epoch_of_exploded_steps_is_enough(content: Content) -> None:
    run = replace(prepared(content, batch_size=1_000), learner=losses(1.0, 2.0, 5e3, 5e3))
    with pytest.raises(TrainingDiverged, match="loss rose from 1 to 5000 at step 4"):
        train(run, Notes())


def test_odd_batches_and_metrics_of_other_names_are_no_explosion(content: Content) -> None:
    odd = replace(prepared(content), learner=losses(1.0, *([1e7] * 9 + [2.0]) * 3))
    assert train(odd, Notes()).finished
    two = Scripted(*({"discriminator": value, "generator": -value} for value in (0.1, *[1e9] * 38)))
    assert train(replace(prepared(content), learner=two), Notes()).finished


def test_a_run_taken_up_again_remembers_the_loss_it_began_with(content: Content) -> None:
    values, notes, asked = (1.0, *[5e3] * 38), Notes(), iter(range(100))
    train(replace(prepared(content), learner=losses(*values)), notes, should_stop=lambda: next(asked) == 7)
    again = replace(prepared(content), learner=losses(*values))
    with pytest.raises(TrainingDiverged, match="loss rose from 1 to 5000 at step 11"):
        train(again, Notes(), resume=notes.state(-1))


def test_a_learning_rate_far_too_large_is_found_out_while_the_loss_is_finite(content: Content) -> None:
    options = {"epochs": 20, "optimizer": "sgd", "learning_rate": 30.0, "schedule": "constant"}
    with pytest.raises(TrainingDiverged, match=r"^loss rose from"):
        train(prepared(content, {"activation": "elu", "normalization": "none"}, **options), Notes())


def test_early_stopping_keeps_the_parameters_of_the_best_epoch(content: Content) -> None:
    run = prepared(content, epochs=60, learning_rate=0.3, schedule="constant", early_stopping={"patience": 2})
    outcome = train(run, Notes())
    losses = [point["validation_loss"] for point in outcome.curves]
    best = losses.index(min(losses))
    assert len(losses) == best + 3 < 60
    assert run.validation is not None
    assert math.isclose(run.family.evaluate(run.module, run.validation)["loss"], losses[best], rel_tol=1e-6)


def test_a_run_continued_without_early_stopping_keeps_what_it_learned_since(content: Content) -> None:
    notes = Notes()
    train(prepared(content, early_stopping={"patience": 5}), notes)
    continued = prepared(content, epochs=6)
    outcome = train(continued, Notes(), resume=notes.state(-1))
    assert continued.validation is not None
    loss = continued.family.evaluate(continued.module, continued.validation)["loss"]
    assert math.isclose(loss, outcome.curves[-1]["validation_loss"], rel_tol=1e-6)


def test_a_run_that_stopped_early_trains_when_a_new_job_takes_it_up(content: Content) -> None:
    options = {"learning_rate": 0.3, "schedule": "constant", "early_stopping": {"patience": 2}}
    notes = Notes()
    first = train(prepared(content, epochs=60, **options), notes)  # type: ignore[arg-type]
    same = train(prepared(content, epochs=90, **options), Notes(), resume=notes.state(-1))  # type: ignore[arg-type]
    assert len(same.curves) == len(first.curves) < 60
    again = train(prepared(content, epochs=90, **options), Notes(), resume=handed_over(notes.state(-1)))  # type: ignore[arg-type]
    assert len(again.curves) >= len(first.curves) + 2


def test_a_run_continued_with_another_penalty_takes_it(content: Content) -> None:
    notes = Notes()
    train(prepared(content, epochs=1), notes)
    plain, decayed = prepared(content, epochs=2), prepared(content, epochs=2, l2=10.0)
    for run in (plain, decayed):
        train(run, Notes(), resume=notes.state(-1))
    norms = [
        sum(float(weight.square().sum()) for weight in parameters(run) if weight.ndim > 1) for run in (plain, decayed)
    ]
    assert norms[1] < norms[0]


def test_a_run_ends_when_its_seconds_are_over_and_says_where_it_was(content: Content) -> None:
    notes = Notes()
    run = prepared(content, epochs=1_000, max_seconds=120.0)
    outcome = train(run, notes, clock=seconds())
    (step, _), last = notes.saved[-1], notes.seen[-1]
    assert (outcome.ended, outcome.finished) == ("max_seconds", True)
    assert step == last.step < 120
    assert step % 13 != 0, "this is about a run that ends in mid-epoch"
    assert [point["epoch"] for point in outcome.curves] == list(range(1, 1 + step // 13))
    assert last.eta_seconds == 0.0
    short = train(prepared(content, max_seconds=1e-9), Notes(), clock=seconds())
    assert [point["epoch"] for point in short.curves] == [1 / 13]
    assert {"loss", "validation_loss"} < set(short.curves[0])


def test_a_run_within_its_seconds_ends_as_planned(content: Content) -> None:
    assert train(prepared(content, max_seconds=1e6), Notes()).ended == "plan"


def test_the_seconds_of_all_attempts_count_and_those_of_another_job_do_not(content: Content) -> None:
    first, options = Notes(), {"epochs": 1_000, "max_seconds": 100.0}
    train(prepared(content, **options), first, clock=seconds())  # type: ignore[arg-type]
    over = prepared(content, **options)  # type: ignore[arg-type]
    again = Notes()
    assert train(over, again, resume=first.state(-1), clock=seconds()).ended == "max_seconds"
    assert again.saved[-1][0] == first.saved[-1][0], "lost while it was exported, it does not train on"
    further = Notes()
    taken_up = prepared(content, **options)  # type: ignore[arg-type]
    assert train(taken_up, further, resume=handed_over(first.state(-1)), clock=seconds()).ended == "max_seconds"
    assert further.saved[-1][0] >= 2 * first.saved[-1][0] - 3


def test_a_run_that_its_seconds_ended_goes_on_as_if_it_had_had_more(content: Content) -> None:
    notes, whole = Notes(), prepared(content)
    wanted = train(whole, Notes())
    assert train(prepared(content, max_seconds=60.0), notes, clock=seconds()).ended == "max_seconds"
    further = prepared(content)
    outcome = train(further, Notes(), resume=handed_over(notes.state(-1)))
    assert outcome.curves == wanted.curves
    assert all(torch.equal(one, other) for one, other in zip(parameters(whole), parameters(further), strict=True))


def test_with_early_stopping_the_seconds_leave_the_best_parameters(content: Content) -> None:
    options = {"learning_rate": 0.3, "schedule": "constant", "early_stopping": {"patience": 1_000}}
    later: list[bool] = []
    for most in (700.0, 750.0, 800.0):  # which epoch is the best depends on the processor's last bits
        run = prepared(content, epochs=1_000, max_seconds=most, **options)  # type: ignore[arg-type]
        losses = [point["validation_loss"] for point in train(run, Notes(), clock=seconds()).curves]
        later.append(losses[-1] > min(losses))
        assert run.validation is not None
        assert math.isclose(run.family.evaluate(run.module, run.validation)["loss"], min(losses), rel_tol=1e-6)
    assert any(later), "an epoch after the best one"
