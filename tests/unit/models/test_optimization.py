"""Optimisers, schedules, penalties and norms against rules written out by hand."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.contract.config import Options
from models.contract.training import GradientTraining, Optimizer, Plan, Schedule
from models.family import SingleLoss
from models.learners import GradientLearner
from models.optimization import clip_gradient, learning_rate, limit_norms, make_optimizer, take_step

RATE = 0.05
STEPS = 100
TARGET = torch.tensor([[1.5, -0.7], [0.3, 2.0], [-1.0, 0.1]], dtype=torch.float64)
CURVATURE = torch.tensor([[1.0, 0.2], [3.0, 0.5], [0.1, 2.0]], dtype=torch.float64)

Gradient = Callable[[Tensor], Tensor]


def _gradient(weight: Tensor) -> Tensor:
    """Return the gradient of ½ Σ c (w − w*)² + Σ cos w: it changes its sign and its size on the way."""
    return CURVATURE * (weight - TARGET) - weight.sin()


def _sgd(weight: Tensor, gradient: Gradient) -> Iterator[Tensor]:
    while True:
        weight = weight - RATE * gradient(weight)
        yield weight


def _momentum(weight: Tensor, gradient: Gradient) -> Iterator[Tensor]:
    """Algorithm 8.2."""
    velocity = torch.zeros_like(weight)
    while True:
        velocity = 0.9 * velocity - RATE * gradient(weight)
        weight = weight + velocity
        yield weight


def _nesterov(weight: Tensor, gradient: Gradient) -> Iterator[Tensor]:
    """Algorithm 8.3, seen at its interim points θ + αv, which are what torch keeps as parameters."""
    velocity = torch.zeros_like(weight)
    while True:
        velocity = 0.9 * velocity - RATE * gradient(weight + 0.9 * velocity)
        weight = weight + velocity
        yield weight + 0.9 * velocity


def _adagrad(weight: Tensor, gradient: Gradient) -> Iterator[Tensor]:
    """Algorithm 8.4."""
    accumulated = torch.zeros_like(weight)
    while True:
        slope = gradient(weight)
        accumulated = accumulated + slope**2
        weight = weight - RATE / (1e-10 + accumulated.sqrt()) * slope
        yield weight


def _rmsprop(weight: Tensor, gradient: Gradient) -> Iterator[Tensor]:
    """Algorithm 8.5, with torch's place for δ: outside the root."""
    accumulated = torch.zeros_like(weight)
    while True:
        slope = gradient(weight)
        accumulated = 0.99 * accumulated + 0.01 * slope**2
        weight = weight - RATE / (1e-8 + accumulated.sqrt()) * slope
        yield weight


def _adam(weight: Tensor, gradient: Gradient) -> Iterator[Tensor]:
    """Algorithm 8.7."""
    first, second = torch.zeros_like(weight), torch.zeros_like(weight)
    step = 0
    while True:
        step += 1
        slope = gradient(weight)
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        corrected, root = first / (1 - 0.9**step), (second / (1 - 0.999**step)).sqrt()
        weight = weight - RATE * corrected / (root + 1e-8)
        yield weight


RULES: dict[Optimizer, Callable[[Tensor, Gradient], Iterator[Tensor]]] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "nesterov": _nesterov,
    "adagrad": _adagrad,
    "rmsprop": _rmsprop,
    "adam": _adam,
}


class _Layer(nn.Module):
    """A weight of two axes and a bias of one, both starting away from the optimum."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-2, 2, 6, dtype=torch.float64).reshape(3, 2))
        self.bias = nn.Parameter(torch.linspace(-1, 1, 6, dtype=torch.float64))


@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("name", RULES)
def test_optimizer_follows_its_rule(name: Optimizer, l2: float) -> None:
    """Step by step over 100 steps; with l2 the weights' gradient has l2·w added and the biases' has not."""
    layer = _Layer()
    optimizer = make_optimizer(layer, GradientTraining(optimizer=name, learning_rate=RATE, l2=l2))
    weights = RULES[name](layer.weight.detach().clone(), lambda weight: _gradient(weight) + l2 * weight)
    biases = RULES[name](layer.bias.detach().clone(), lambda bias: _gradient(bias.reshape(3, 2)).flatten())
    for _ in range(STEPS):
        layer.weight.grad = _gradient(layer.weight.detach())
        layer.bias.grad = _gradient(layer.bias.detach().reshape(3, 2)).flatten()
        take_step(optimizer)
        torch.testing.assert_close(layer.weight.detach(), next(weights), rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(layer.bias.detach(), next(biases), rtol=1e-6, atol=1e-12)


NO_COMPILER = """
import sys, torch
from models.contract.training import GradientTraining
from models.optimization import make_optimizer, take_step
for name in sys.argv[1:]:
    module = torch.nn.Linear(3, 2)
    optimizer = make_optimizer(module, GradientTraining(optimizer=name))
    for _ in range(2):
        optimizer.zero_grad(set_to_none=True)
        module(torch.ones(4, 3)).sum().backward()
        take_step(optimizer)
    optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules)
"""


def test_no_optimizer_loads_torchs_compiler() -> None:
    """It takes two seconds, for which every job with a new trainer would wait before its first step."""
    found = subprocess.run([sys.executable, "-c", NO_COMPILER, *RULES], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov"])
def test_momentum_option_reaches_the_optimizer(name: Optimizer) -> None:
    """Two steps under a constant gradient of one: the second is 1 + α long, and nesterov's first already is."""
    layer = _Layer()
    start = layer.weight.detach().clone()
    optimizer = make_optimizer(layer, GradientTraining(optimizer=name, learning_rate=RATE, momentum=0.5))
    moved: list[float] = []
    for _ in range(2):
        layer.weight.grad = torch.ones_like(layer.weight)
        take_step(optimizer)
        moved.append(float((start - layer.weight.detach()).mean()) / RATE)
    assert moved == pytest.approx([1.5, 3.25] if name == "nesterov" else [1.0, 2.5])


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_schedule_runs_from_first_to_last_rate(schedule: Schedule) -> None:
    """End points and middle are exact, and the rate never rises."""
    options = GradientTraining(schedule=schedule, learning_rate=0.8, final_learning_rate=0.2)
    rates = [learning_rate(options, step, 10) for step in range(11)]
    assert rates[0] == pytest.approx(0.8)
    assert rates[5] == pytest.approx(0.5)
    assert rates[10] == pytest.approx(0.2)
    assert rates == sorted(rates, reverse=True)


def test_cosine_is_flat_at_both_ends_and_linear_is_not() -> None:
    options = GradientTraining(schedule="cosine", learning_rate=1.0)
    quarter = learning_rate(options, 25, 100)
    assert quarter == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert learning_rate(options.model_copy(update={"schedule": "linear"}), 25, 100) == pytest.approx(0.75)


def test_one_cycle_rises_to_its_peak_at_three_tenths() -> None:
    """η₀/25 at the start, η₀ after 30 % of the steps, η₀/250,000 at the end, and no other peak."""
    options = GradientTraining(schedule="one_cycle", learning_rate=0.5)
    rates = [learning_rate(options, step, 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(0.5 / 25)
    assert rates[300] == pytest.approx(0.5)
    assert rates[1000] == pytest.approx(0.5 / 250_000)
    assert rates[:301] == sorted(rates[:301])
    assert rates[300:] == sorted(rates[300:], reverse=True)


def test_constant_schedule_stays() -> None:
    options = GradientTraining(schedule="constant", learning_rate=0.3)
    assert {learning_rate(options, step, 7) for step in range(8)} == {0.3}


class _Regression(SingleLoss[Options, dict[str, Tensor]]):
    """Least squares, the smallest family that a GradientLearner can train."""

    def build(self, generator: torch.Generator) -> nn.Module:
        layer = nn.Linear(20, 1).double()
        nn.init.normal_(layer.weight, generator=generator)
        nn.init.constant_(layer.bias, 0.5)
        return layer

    def losses(self, module: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"loss": (module(batch["inputs"]) - batch["wanted"]).square().mean()}

    def examples(self, split: Mapping[str, Any], device: torch.device) -> Any:  # noqa: ANN401 - never called
        raise NotImplementedError

    def export(self, module: nn.Module) -> dict[str, Any]:
        raise NotImplementedError

    def example(self, part: str, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        raise NotImplementedError


def _batch() -> dict[str, Tensor]:
    """Return a regression in which 3 of 20 inputs count."""
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(200, 20, generator=generator, dtype=torch.float64)
    return {"inputs": inputs, "wanted": 3 * inputs[:, :1] - 2 * inputs[:, 1:2] + inputs[:, 2:3] + 1}


def _learner(steps: int, **options: Any) -> tuple[nn.Linear, GradientLearner[dict[str, Tensor]]]:
    family = _Regression(Options(), {})
    generator = torch.Generator().manual_seed(1)
    module = family.build(generator)
    assert isinstance(module, nn.Linear)
    training = GradientTraining.parse({"optimizer": "sgd", **options})
    return module, GradientLearner(family, module, training, Plan.of(1, steps, 1), generator)


@pytest.mark.parametrize(("penalty", "slope"), [("l1", torch.sign), ("l2", torch.clone)])
def test_penalty_adds_its_gradient_to_weights_only(penalty: str, slope: Callable[[Tensor], Tensor]) -> None:
    """One step of SGD differs from the plain one by rate × factor × sign(w), or × w; the bias by nothing."""
    plain, plain_learner = _learner(1, learning_rate=0.1)
    penalised, learner = _learner(1, learning_rate=0.1, **{penalty: 0.4})
    start = plain.weight.detach().clone()
    plain_learner.step(_batch())
    learner.step(_batch())
    torch.testing.assert_close(plain.weight - penalised.weight, 0.1 * 0.4 * slope(start))
    assert torch.equal(plain.bias, penalised.bias)


def test_l1_makes_weights_sparse_and_l2_does_not() -> None:
    """17 of 20 inputs are of no use: l1 takes their weights to zero, l2 only makes them smaller."""
    small: dict[str, int] = {}
    batch = _batch()
    for penalty in ("l1", "l2"):
        module, learner = _learner(500, learning_rate=0.1, **{penalty: 0.5})
        for _ in range(500):
            learner.step(batch)
        small[penalty] = int((module.weight.detach().abs() < 1e-3).sum())
    assert small["l1"] == 17
    assert small["l2"] < 3


def test_learner_follows_the_schedule() -> None:
    """The last of five steps of the linear schedule is taken at a fifth of the rate."""
    module, learner = _learner(5, learning_rate=0.1)
    batch = _batch()
    for _ in range(4):
        learner.step(batch)
    before = module.weight.detach().clone()
    loss = (module(batch["inputs"]) - batch["wanted"]).square().mean()
    (gradient,) = torch.autograd.grad(loss, [module.weight])
    learner.step(batch)
    torch.testing.assert_close(module.weight.detach(), before - 0.02 * gradient)


def test_learner_clips_the_gradient() -> None:
    """Under SGD the whole step is then rate × norm long, weights and biases together."""
    module, learner = _learner(1, learning_rate=0.1, gradient_clip=0.01)
    before = [parameter.detach().clone() for parameter in module.parameters()]
    learner.step(_batch())
    moved = torch.cat([(one - two.detach()).flatten() for one, two in zip(before, module.parameters(), strict=True)])
    assert float(moved.norm()) == pytest.approx(0.1 * 0.01)


@pytest.mark.parametrize(("largest", "norm"), [(2.0, 2.0), (100.0, 13.0)])
def test_clipping_keeps_the_direction(largest: float, norm: float) -> None:
    """A gradient of norm 13 over two tensors: cut to v, or left alone below it."""
    parameters = [torch.zeros(2, requires_grad=True), torch.zeros(1, requires_grad=True)]
    parameters[0].grad, parameters[1].grad = torch.tensor([3.0, 4.0]), torch.tensor([12.0])
    clip_gradient(parameters, largest)
    clipped = torch.cat([parameter.grad for parameter in parameters if parameter.grad is not None])
    torch.testing.assert_close(clipped, torch.tensor([3.0, 4.0, 12.0]) * norm / 13)


def test_clipping_leaves_a_zero_gradient_zero() -> None:
    parameter = torch.zeros(3, requires_grad=True)
    parameter.grad = torch.zeros(3)
    clip_gradient([parameter], 1.0)
    assert parameter.grad.tolist() == [0.0, 0.0, 0.0]


def test_norms_are_limited_row_by_row() -> None:
    """Long rows are scaled to c and keep their direction; short ones stay as they are."""
    weight = nn.Parameter(torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [0.0, -10.0]]))
    limit_norms(weight, 2.0)
    torch.testing.assert_close(weight.detach(), torch.tensor([[1.2, 1.6], [0.3, 0.4], [0.0, 0.0], [0.0, -2.0]]))
    assert float(weight.detach().norm(dim=1).max()) <= 2.0 + 1e-6
    assert torch.equal(weight.detach()[1], torch.tensor([0.3, 0.4]))


def _stopped(curvature: Tensor, steps: int, rate: float) -> Tensor:
    """Return where ``steps`` of gradient descent on ½ Σ λ (w − 1)² get, from zero."""
    layer = nn.Linear(len(curvature), 1, bias=False).double()
    nn.init.zeros_(layer.weight)
    optimizer = make_optimizer(layer, GradientTraining(optimizer="sgd", learning_rate=rate))
    for _ in range(steps):
        layer.weight.grad = curvature * (layer.weight.detach() - 1)
        take_step(optimizer)
    return layer.weight.detach()[0]


def test_early_stopping_acts_like_l2() -> None:
    """Goodfellow §7.8: stopping at τ ≈ 1/(εα) is the ridge λ/(λ + α) for λ ≪ α; not later, and not for large λ."""
    alpha, rate = 1.0, 0.01
    curvature = torch.tensor([0.001, 0.01, 0.05, 4.0], dtype=torch.float64)
    ridge = curvature / (curvature + alpha)

    def apart(steps: int) -> list[float]:
        return ((_stopped(curvature, steps, rate) - ridge).abs() / ridge).tolist()

    assert max(apart(round(1 / (rate * alpha)))[:3]) <= 0.05
    assert apart(round(1 / (rate * alpha)))[3] > 0.05
    assert min(apart(2 * round(1 / (rate * alpha)))[:3]) > 0.5
