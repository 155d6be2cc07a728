"""Adversarial learning against theory: the best discriminator, the value of the game, and what the learner promises."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.catalog import Catalog
from models.contract.task import Arrays, ServedModel, answer
from models.contract.training import Plan
from models.generation.adversarial.learner import AdversarialLearner, Adversaries
from models.generation.adversarial.networks import Discriminator
from models.generation.adversarial.prior import Prior
from models.generation.adversarial.training import AdversarialTraining
from models.generation.gan.network import Generator, trunk
from models.generation.picture import draw
from models.generation.requests import TraverseRequest
from models.generation.walking import traverse
from models.nn.linear import linear

CATALOG = Catalog()
META = {
    "height": 8,
    "width": 6,
    "channels": None,
    "classes": ["a", "b"],
    "value_range": [0, 255],
    "pixel_mean": 100.0,
    "pixel_standard_deviation": 50.0,
}


class _Shifted(nn.Module):
    """A generator that is not learnt: scale · z + shift."""

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.scale, self.shift = scale, shift
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, latents: Tensor) -> Tensor:
        return self.scale * latents + self.shift


def _learner(generator: nn.Module, steps: int, **options: Any) -> AdversarialLearner:
    random = torch.Generator().manual_seed(0)
    layers = trunk(1, (64, 64), 0.0, random)
    module = Adversaries(Prior(1), generator, Discriminator(layers, linear(64, 1, random)), nn.Identity())
    training = AdversarialTraining(discriminator_steps=1000, **options)
    return AdversarialLearner(module, training, Plan(1, 1, 1, steps), random)


def _verdicts(learner: AdversarialLearner, points: Tensor) -> Tensor:
    with torch.no_grad():
        return learner._module.discriminator(points[:, None])[0].sigmoid()


@pytest.mark.slow
def test_the_best_discriminator_is_p_over_p_plus_q() -> None:
    """Proposition 1 of the paper, on N(0, 1) against N(1, 1.5²), wherever either has mass; and the value of the game.

    With the best D the loss is log 4 − 2 JSD(p ‖ q) (Theorem 1), here by numerical integration.
    """
    steps, random = 900, torch.Generator().manual_seed(1)
    learner = _learner(_Shifted(1.5, 1.0), steps, discriminator_learning_rate=5e-3, schedule="linear")
    losses = [
        float(learner.step({"images": torch.randn(2048, 1, generator=random)})["discriminator_loss"])
        for _ in range(steps)
    ]
    points = torch.linspace(-2.5, 4, 131)
    grid = torch.linspace(-12, 12, 20_001, dtype=torch.float64)
    normal = torch.distributions.Normal

    def densities(where: Tensor) -> tuple[Tensor, Tensor]:
        return normal(0.0, 1.0).log_prob(where).exp(), normal(1.0, 1.5).log_prob(where).exp()

    p, q = densities(points)
    assert float((_verdicts(learner, points) - p / (p + q)).abs().max()) <= 0.02
    p, q = densities(grid)
    terms = [torch.special.entr(2 * side / (p + q)).nan_to_num() * (p + q) / 2 for side in (p, q)]
    divergence = -float(torch.trapezoid(sum(terms), grid)) / 2  # type: ignore[arg-type] - a sum of tensors
    assert np.mean(losses[-100:]) == pytest.approx(math.log(4) - 2 * divergence, abs=0.01)


@pytest.mark.slow
def test_equal_distributions_cannot_be_told() -> None:
    """Where the generator is perfect D is one half and the value of the game −log 4 (Theorem 1)."""
    steps, random = 300, torch.Generator().manual_seed(1)
    learner = _learner(_Shifted(1.0, 0.0), steps, discriminator_learning_rate=2e-3, schedule="linear")
    losses = [
        float(learner.step({"images": torch.randn(2048, 1, generator=random)})["discriminator_loss"])
        for _ in range(steps)
    ]
    assert np.mean(losses[-100:]) == pytest.approx(math.log(4), abs=0.01)
    assert float((_verdicts(learner, torch.linspace(-2, 2, 41)) - 0.5).abs().max()) <= 0.03


def _small(**options: Any) -> tuple[Adversaries, AdversarialLearner]:
    random = torch.Generator().manual_seed(0)
    config = CATALOG.spec("gan").config.parse({"generator_sizes": [8], "discriminator_sizes": [8]})
    family: Any = CATALOG.family("gan")(config, META)
    module = family.build(random)
    training = CATALOG.spec("gan").training.parse(options)
    return module, family.learner(module, training, Plan.of(64, 2, 16), random)


def _batch() -> dict[str, Tensor]:
    images = torch.randint(256, (16, 8, 6), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    return {"images": images}


def _weights(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten().clone() for parameter in module.parameters()])


def test_the_generator_waits_for_k_steps_of_the_discriminator() -> None:
    """Algorithm 1: the inner loop of k steps, then one of the generator; each side moves in its own steps alone."""
    module, learner = _small(discriminator_steps=3)
    moved: list[tuple[bool, bool]] = []
    for _ in range(6):
        before = _weights(module.generator), _weights(module.discriminator)
        learner.step(_batch())
        after = _weights(module.generator), _weights(module.discriminator)
        moved.append((not torch.equal(before[0], after[0]), not torch.equal(before[1], after[1])))
    assert moved == [(False, True), (False, True), (True, True)] * 2
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_both_rates_are_their_own() -> None:
    """A step of Adam from rest moves each weight by its side's rate."""
    module, learner = _small(discriminator_learning_rate=1e-3, generator_learning_rate=1e-2)
    before = _weights(module.generator), _weights(module.discriminator)
    learner.step(_batch())
    steps = [
        float((_weights(side) - was).abs().max())
        for side, was in zip((module.generator, module.discriminator), before, strict=True)
    ]
    assert steps == pytest.approx([1e-2, 1e-3], rel=1e-2)


@pytest.mark.parametrize("objective", ["non_saturating", "minimax"])
def test_the_generators_gradient_vanishes_in_the_minimax_game_alone(objective: str) -> None:
    """§3: where D rejects samples with confidence, log(1 − D(G(z))) saturates and −log D(G(z)) does not."""
    logits = torch.full((4,), -12.0, requires_grad=True)
    _, learner = _small(objective=objective)
    (slope,) = torch.autograd.grad(learner._deception(logits), logits)
    assert (float(slope.abs().sum()) > 0.99) == (objective == "non_saturating")


def test_the_penalty_is_the_mean_squared_slope() -> None:
    """A discriminator w·x has the slope w at every image; half of γ ‖w‖² is added to the loss."""
    from models.generation.adversarial.learner import _squared_slope  # noqa: PLC0415 - private, known here alone

    weights, real = torch.tensor([1.0, -2.0, 3.0]), torch.rand(5, 3, requires_grad=True)
    assert float(_squared_slope(real @ weights, real)) == pytest.approx(14.0)


def test_remarks_tell_collapse_and_a_discriminator_that_always_wins() -> None:
    _, learner = _small()
    sound = {"variety": 0.9, "real_probability": 0.6, "fake_probability": 0.4}
    assert learner.remarks(sound) == []
    (collapsed,) = learner.remarks({**sound, "variety": 0.02})
    assert collapsed.startswith("collapse: what the generator draws varies 2% as much as the data")
    (beaten,) = learner.remarks({**sound, "real_probability": 0.999, "fake_probability": 0.001})
    assert "training.discriminator_learning_rate" in beaten


def test_variety_is_the_share_of_the_datas_variance() -> None:
    """One image for all noise has none; the metric is read off the first step."""
    module, learner = _small()
    generator = module.generator
    assert isinstance(generator, Generator)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.zero_()
    assert float(learner.step(_batch())["variety"]) == 0
    assert {"discriminator_loss", "generator_loss", "real_probability", "fake_probability"} < set(
        learner.step(_batch())
    )


def test_equal_images_and_a_batch_of_one_give_finite_metrics() -> None:
    """There is no variance to compare with; nothing becomes infinite, which would end the job."""
    for images in (torch.full((16, 8, 6), 7, dtype=torch.uint8), torch.full((1, 8, 6), 7, dtype=torch.uint8)):
        _, learner = _small()
        assert all(math.isfinite(float(value)) for value in learner.step({"images": images}).values())


def test_a_traversal_of_noise_alone_varies_its_first_dimensions() -> None:
    """Nothing of it is meant to be chosen, so that nothing is told of any; asked all the same, ten rows are drawn."""
    module, _ = _small()
    family: Any = CATALOG.family("gan")(CATALOG.spec("gan").config(), META)
    model = ServedModel(
        "m", "gan", {}, META, family.assets(module), {"generator": family.export(module)["generator"].signature}
    )

    def run(part: str, arrays: Arrays) -> Arrays:
        del part
        with torch.no_grad():
            return {"images": module.generator(torch.from_numpy(arrays["noise"])).numpy()}

    rows = answer(traverse(model, TraverseRequest(seed=1, steps=3)), run)
    assert [row["dimension"] for row in rows] == list(range(10))
    assert draw(model, TraverseRequest(seed=1, steps=3), rows).startswith(b"\x89PNG")
