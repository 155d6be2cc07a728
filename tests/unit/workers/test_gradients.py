"""Mixed precision and compiled steps: what they change, what they leave alone, and what they carry."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, cast

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision

from models.artifacts.datasets import Datasets
from models.artifacts.store import ArtifactStore
from models.catalog import Catalog
from models.contract.errors import ValidationFailed
from models.contract.jobs import Progress
from models.data.kind import Content
from models.family import State
from workers.devices import equipped
from workers.parallel import gradients
from workers.training import Run, prepare, train

CATALOG = Catalog(("models", "rehearsal"))


class Silent:
    """An observer that keeps the newest checkpoint."""

    def __init__(self) -> None:
        self.state: State = {}

    def progress(self, progress: Progress) -> None:
        """Is not kept."""

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Is not kept."""

    def checkpoint(self, state: State, step: int) -> None:
        del step
        self.state = copy.deepcopy(state)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small matrices are fastest on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Content:
    datasets = Datasets(ArtifactStore(tmp_path_factory.mktemp("store").as_uri()), CATALOG)
    return datasets.content(datasets.record("digits"))


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half precision with a scaled loss, which Fabric gives to GPUs alone, on the CPU; the scale grows soon."""

    def fabric(*_: object) -> Fabric:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=5)
        return Fabric(accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", "cpu", scaler))

    monkeypatch.setattr(gradients, "_fabric", fabric)


def prepared(content: Content, family: str = "mlp", config: Mapping[str, object] | None = None, **training: Any) -> Run:
    spec = CATALOG.spec(family)
    made = CATALOG.family(family)(spec.config.parse({} if config is None else config), content.meta)
    options = spec.training.parse({"epochs": 3, "batch_size": 100, **training})
    return equipped(prepare(made, options, content.splits, torch.device("cpu")))[0]


def distance(one: Run, other: Run) -> float:
    """Return the largest difference of a parameter."""
    pairs = zip(one.module.parameters(), other.module.parameters(), strict=True)
    return max(float((first - second).detach().abs().max()) for first, second in pairs)


SMALL: dict[str, object] = {"hidden_sizes": [16], "dropout": 0.2}
OPTIONS: dict[str, Any] = {"l1": 1e-4, "gradient_clip": 0.5, "learning_rate": 0.01}


def stopped_and_continued(content: Content, precision: str) -> tuple[Run, Run]:
    """Return a run and one that was stopped in mid-epoch and taken up again."""
    runs = [prepared(content, config=SMALL, precision=precision, **OPTIONS) for _ in range(3)]
    notes, asked = Silent(), iter(range(1_000))
    wanted = train(runs[0], Silent())
    assert train(runs[1], notes, should_stop=lambda: next(asked) == 20).ended is None
    assert train(runs[2], Silent(), resume=notes.state).curves == wanted.curves
    return runs[0], runs[2]


def test_bfloat16_rounds_the_steps_and_leaves_parameters_in_32_bits(content: Content) -> None:
    mixed, continued = stopped_and_continued(content, "bf16-mixed")
    plain = prepared(content, config=SMALL, **OPTIONS)
    train(plain, Silent())
    assert distance(mixed, continued) == 0
    assert 0 < distance(mixed, plain) < 0.1
    assert {parameter.dtype for parameter in mixed.module.parameters()} == {torch.float32}
    assert mixed.validation is not None
    assert mixed.family.evaluate(mixed.module, mixed.validation)["accuracy"] > 0.8


@pytest.mark.usefixtures("half")
def test_half_precision_carries_the_scale_of_the_loss(content: Content) -> None:
    mixed, continued = stopped_and_continued(content, "bf16-mixed")
    assert distance(mixed, continued) == 0
    scales = [cast("dict[str, dict[str, float]]", run.learner.state())["gradients"] for run in (mixed, continued)]
    assert scales[0] == scales[1]
    assert scales[0]["scale"] > 2.0**10, "it has grown on the way"
    assert mixed.validation is not None
    assert mixed.family.evaluate(mixed.module, mixed.validation)["accuracy"] > 0.8


@pytest.mark.usefixtures("half")
def test_penalties_and_clipping_see_gradients_of_the_true_scale(content: Content) -> None:
    """Clipped to next to nothing, momentum-free steps must not move the parameters further than the limit allows."""
    rule: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 1.0, "schedule": "constant", "epochs": 1}
    run = prepared(content, config=SMALL, precision="bf16-mixed", gradient_clip=1e-4, **rule)
    before = copy.deepcopy(run.module)
    train(run, Silent())
    moved = sum(
        float((one - other).detach().square().sum())
        for one, other in zip(run.module.parameters(), before.parameters(), strict=True)
    )
    assert 0 < moved**0.5 <= run.plan.steps * 1e-4 * 1.01


def test_inputs_reach_the_module_in_their_own_scale(content: Content) -> None:
    """A batch of numbers as large as those of a table is not rounded to eight bits on its way."""
    run = prepared(content, config=SMALL, precision="bf16-mixed")
    seen: list[torch.Tensor] = []

    def keep(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.append(inputs[0])

    run.module.register_forward_pre_hook(keep)
    images = torch.full((2, *content.splits["train"]["images"].shape[1:]), 10_001.0)
    run.learner.step({"images": images, "labels": torch.zeros(2, dtype=torch.int64)})
    assert torch.equal(seen[0], images)


def test_compiled_steps_learn_what_others_do(content: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the compiler's last part, which needs a toolchain; whether there is a GPU is asked elsewhere."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    compiled, plain = (
        prepared(content, config={"hidden_sizes": [16]}, compile=wanted, epochs=2) for wanted in (True, False)
    )
    assert train(compiled, Silent()).curves == [pytest.approx(point) for point in train(plain, Silent()).curves]
    assert compiled.module.state_dict().keys() == plain.module.state_dict().keys()


@pytest.mark.parametrize("option", [{"precision": "bf16-mixed"}, {"compile": True}])
def test_a_learner_that_computes_its_own_gradients_refuses(content: Content, option: dict[str, Any]) -> None:
    with pytest.raises(ValidationFailed) as refused:
        prepared(content, "bagged", **option)
    assert refused.value.errors[0].pointer == f"/training/{next(iter(option))}"


def test_a_plain_run_is_left_as_it_is(content: Content) -> None:
    run = prepared(content, config=SMALL)
    assert equipped(run) == (run, None)
