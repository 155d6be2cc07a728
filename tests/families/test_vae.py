"""The variational autoencoder against closed forms, its definition step by step, and the other gradient estimator."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.contract.errors import ValidationFailed
from models.contract.task import Array, Arrays, ServedModel, evaluate
from models.contract.training import Plan
from models.generation.task import TASK
from models.generation.vae.family import VaeFamily
from models.generation.vae.network import LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE, Encoder, Vae
from models.generation.vae.spec import SPEC, VaeConfig, VaeTraining
from workers.exporting import onnx
from workers.exporting.gate import check_parity, traced_sizes

CPU = torch.device("cpu")
SHAPE = (6, 7)
PLAN = Plan.of(64, 4, 16)


def _meta(shape: tuple[int, ...] = SHAPE) -> dict[str, Any]:
    channels = shape[2] if len(shape) == 3 else None
    sides = {"height": shape[0], "width": shape[1], "channels": channels}
    return {**sides, "value_range": [0, 255], "pixel_mean": 100.0, "pixel_standard_deviation": 80.0}


def _images(count: int = 64, shape: tuple[int, ...] = SHAPE) -> Array:
    """Bright stripes at one of a few places, with noise."""
    random = np.random.default_rng(1)
    images = random.integers(0, 60, (count, *shape))
    images[np.arange(count), np.arange(count) % shape[0]] += 180
    return images.astype(np.uint8)


def _family(shape: tuple[int, ...] = SHAPE, **config: object) -> VaeFamily:
    family = VaeFamily(VaeConfig.parse({"hidden_sizes": [16], "latent": 3, **config}), _meta(shape))
    family.study({"images": _images(shape=shape)}, {})
    return family


def _built(family: VaeFamily, seed: int = 1) -> Vae:
    module = family.build(torch.Generator().manual_seed(seed))
    assert isinstance(module, Vae)
    return module


def _trained(family: VaeFamily, steps: int, **training: object) -> tuple[Vae, list[dict[str, float]]]:
    generator = torch.Generator().manual_seed(1)
    module = family.build(generator)
    learner = family.learner(module, VaeTraining.parse({"schedule": "constant", **training}), PLAN, generator)
    examples = family.examples({"images": _images()}, CPU)
    batches = (torch.arange(16) + 16 * (step % 4) for step in range(steps))
    points = [{name: float(value) for name, value in learner.step(examples.take(batch)).items()} for batch in batches]
    assert isinstance(module, Vae)
    return module, points


def test_closed_form_divergence_equals_monte_carlo() -> None:
    """SGVB A draws what SGVB B has in closed form: equal within three standard errors over many draws."""
    batch = {"images": torch.from_numpy(_images())}
    sampling = _family(estimator="sgvb_a")
    module, drawn = _built(sampling), list[float]()
    for seed in range(400):
        module.generator.manual_seed(seed)
        with torch.no_grad():
            losses = sampling.losses(module, batch)
        drawn.append(float(losses["loss"] + losses["reconstruction"]))
    family = _family(estimator="sgvb_b")
    closed = float(family.losses(_built(family), batch)["divergence"].detach())
    error = float(np.std(drawn) / math.sqrt(len(drawn)))
    assert error < 0.01 * closed + 0.01
    assert abs(float(np.mean(drawn)) - closed) < 3 * error


def test_beta_of_one_is_the_variational_autoencoder_to_the_bit() -> None:
    """Three steps of the family and three of its definition, written out, end with the same parameters."""
    family, steps = _family(beta=1.0), 3
    module, _ = _trained(family, steps)
    generator = torch.Generator().manual_seed(1)
    plain = family.build(generator)
    assert isinstance(plain, Vae)
    optimizer = torch.optim.Adam(
        [
            {"params": [item for item in plain.parameters() if item.ndim > 1], "weight_decay": 0.0},
            {"params": [item for item in plain.parameters() if item.ndim == 1], "weight_decay": 0.0},
        ],
        lr=1e-3,
        fused=True,
    )
    images = torch.from_numpy(_images())
    for step in range(steps):
        pixels = (images[16 * step : 16 * step + 16] / 255 > 0.5).float().flatten(1)
        mean, log_variance = plain.encoder(pixels).chunk(2, dim=1)
        divergence = ((log_variance.exp() + mean.square() - 1 - log_variance) / 2).sum(dim=1)
        latent = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=generator)
        logits = plain.decoder(latent)
        likelihood = (logits * pixels - logits.clamp(min=0) - (-logits.abs()).exp().log1p()).sum(dim=1)
        optimizer.zero_grad()
        (divergence.mean() - likelihood.mean()).backward()  # pyright: ignore[reportUnknownMemberType]
        optimizer.step()  # pyright: ignore[reportUnknownMemberType]
    found, wanted = module.state_dict(), plain.state_dict()
    assert [name for name in wanted if name != "steps" and not torch.equal(found[name], wanted[name])] == []
    other, _ = _trained(_family(beta=1.5), steps)
    assert any(not torch.equal(value, wanted[name]) for name, value in other.state_dict().items())


def test_reparameterised_gradient_varies_far_less_than_reinforce() -> None:
    """Variance of ∂ELBO/∂mean over draws, of a network that has learnt for a while: at most a fiftieth.

    REINFORCE is f(z) ∇ log q(z) with the same latents and no baseline (Kingma and Welling 2014, §2.2).
    """
    family = _family()
    module, _ = _trained(family, 200)
    pixels = module.pixels(torch.from_numpy(_images(16))).detach()
    mean, log_variance = (item.detach() for item in module.encode(pixels))
    generator, deviation = torch.Generator().manual_seed(5), (log_variance / 2).exp()
    pathwise, reinforced = list[Tensor](), list[Tensor]()
    for _ in range(500):
        noise = torch.randn(mean.shape, generator=generator)
        moved = mean.clone().requires_grad_()
        latent = moved + deviation * noise
        bound = module.log_likelihood(pixels, latent) - (latent.square() - noise.square() - log_variance).sum(dim=1) / 2
        (slope,) = torch.autograd.grad(bound.sum(), moved)
        pathwise.append(slope)
        reinforced.append(bound.detach().unsqueeze(1) * noise / deviation)
    means = [torch.stack(draws).mean(dim=0) for draws in (pathwise, reinforced)]
    variances = [float(torch.stack(draws).var(dim=0).sum()) for draws in (pathwise, reinforced)]
    noise_of_mean = math.sqrt(variances[1] / 500)
    assert float((means[0] - means[1]).norm()) < 2 * noise_of_mean, "both estimate the same gradient"
    assert variances[0] * 50 <= variances[1]


def test_capacity_leads_the_divergence_to_itself() -> None:
    """A large factor holds the divergence at the capacity: near nothing at first, then at so many nats."""
    capacity = {"nats": 2.0, "steps": 300, "factor": 100.0}
    _, points = _trained(_family(capacity=capacity), 600, learning_rate=3e-3)
    at = [float(np.mean([point["divergence"] for point in points[begin : begin + 40]])) for begin in (130, 560)]
    assert at[0] == pytest.approx(1.0, abs=0.3)
    assert at[1] == pytest.approx(2.0, abs=0.2)


def test_larger_beta_gives_a_smaller_divergence() -> None:
    one, four = (_trained(_family(beta=beta), 300, learning_rate=3e-3)[1][-1]["divergence"] for beta in (1.0, 4.0))
    assert four < one - 0.3


def test_several_samples_and_both_estimators_learn() -> None:
    options: list[dict[str, Any]] = [
        {"samples": 3},
        {"estimator": "sgvb_a"},
        {"binarization": "sample"},
        {"binarization": "none"},
    ]
    for config in options:
        _, points = _trained(_family(**config), 200, learning_rate=3e-3)
        assert points[-1]["loss"] < 0.9 * points[0]["loss"]


def test_gaussian_likelihood_is_that_of_normal_distributions() -> None:
    """Against torch.distributions, with the bounds of the log-variance kept."""
    family = _family(likelihood="gaussian")
    module = _built(family)
    images = torch.from_numpy(_images(5))
    pixels, latent = module.pixels(images), 30 * torch.randn(5, 3, generator=torch.Generator().manual_seed(2))
    assert torch.equal(pixels, images * torch.tensor(1 / 255)), "shades are kept"
    mean, spread = module.decoder(latent).chunk(2, dim=1)
    log_variance = LEAST_LOG_VARIANCE + (MOST_LOG_VARIANCE - LEAST_LOG_VARIANCE) * spread.sigmoid()
    wanted = torch.distributions.Normal(mean.sigmoid(), (log_variance / 2).exp()).log_prob(pixels.flatten(1)).sum(1)
    assert torch.allclose(module.log_likelihood(pixels, latent), wanted, rtol=1e-5)
    assert torch.equal(module.images(latent), mean.sigmoid().unflatten(1, SHAPE))
    assert math.log(1e-3) < LEAST_LOG_VARIANCE <= float(log_variance.detach().min())


SCORED = [{}, {"binarization": "sample"}, {"likelihood": "gaussian", "samples": 3, "estimator": "sgvb_a"}]


@pytest.mark.parametrize("options", SCORED, ids=str)
def test_trained_model_and_its_parts_are_scored_alike(options: dict[str, Any]) -> None:
    """What a job compares before it publishes: both draw one latent per image, from the same noise.

    With noise of their own the two differ by some per cent after a training as short as this.
    """
    family = _family(**options)
    module, _ = _trained(family, 100, learning_rate=3e-3)
    parts = family.export(module)

    def run(part: str, arrays: Arrays) -> Arrays:
        export = parts[part]
        with torch.no_grad():
            found: Any = export.module(*(torch.from_numpy(arrays[item.name]) for item in export.signature.inputs))
        values = found if isinstance(found, tuple) else (found,)
        return {item.name: value.numpy() for item, value in zip(export.signature.outputs, values, strict=True)}

    split = {"images": _images(30)}
    own = family.evaluate(module, family.examples(split, CPU))
    signatures = {name: part.signature for name, part in parts.items()}
    served = ServedModel("stripes", "vae", {}, _meta(), family.assets(module), signatures)
    told = evaluate(TASK, served, split, run)
    assert set(own) == {"loss", "reconstruction", "divergence"}
    assert {name: own[name] for name in ("reconstruction", "divergence")} == {
        name: pytest.approx(told[name], rel=1e-5) for name in ("reconstruction", "divergence")
    }


def test_bernoulli_likelihood_is_that_of_coins_however_sure_they_are() -> None:
    """Against torch's own function; and logits beyond exp's range are as finite in the exported graph."""
    family = _family()
    module = _built(family).eval()
    images = torch.from_numpy(_images(5)).float()
    pixels = module.pixels(images)
    for scale in (1.0, 3e4):
        latent = scale * torch.randn(5, 3, generator=torch.Generator().manual_seed(2))
        logits = module.decoder(latent)
        wanted = -functional.binary_cross_entropy_with_logits(logits, pixels.flatten(1), reduction="none").sum(dim=1)
        assert torch.allclose(module.log_likelihood(pixels, latent), wanted, rtol=1e-5)
        assert bool((logits.abs() > 1_000).any()) == (scale > 1)
        part = family.export(module)["likelihood"]
        example = family.example("likelihood", {"batch": 2}, torch.Generator().manual_seed(1))
        run = onnx.open_graph(onnx.write(part, example), part.signature)
        found = run({"images": images.numpy(), "latent": latent.numpy()})["log_likelihood"]
        assert found == pytest.approx(wanted.detach().numpy(), rel=1e-4)


def test_binarization_is_by_threshold_by_draw_or_not_at_all() -> None:
    images = torch.full((400, *SHAPE), 51.0)
    threshold, drawn, shades = (_built(_family(binarization=rule)) for rule in ("threshold", "sample", "none"))
    assert float(threshold.pixels(images).max()) == 0
    assert float(threshold.pixels(images * 3).min()) == 1
    white = drawn.pixels(images)
    assert set(white.unique().tolist()) == {0.0, 1.0}
    assert float(white.mean()) == pytest.approx(0.2, abs=0.01)
    assert torch.allclose(drawn.eval().pixels(images), torch.tensor(0.2)), "scores take what is given"
    assert torch.allclose(shades.pixels(images), torch.tensor(0.2))


SIZES = [((7, 11), (4, 4, 4), "bernoulli"), ((8, 8, 3), (4, 4), "gaussian")]


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "channels", "likelihood"), SIZES, ids=["odd sides", "colour"])
def test_convolutional_networks_take_and_give_images_of_any_size(
    shape: tuple[int, ...], channels: tuple[int, ...], likelihood: str
) -> None:
    """And every part equals its export at several batch sizes."""
    family = _family(shape, architecture="convolutional", channels=channels, likelihood=likelihood)
    module = _built(family).eval()
    batch = {"images": torch.from_numpy(_images(4, shape))}
    assert math.isfinite(float(family.losses(module, batch)["loss"].detach()))
    generator = torch.Generator().manual_seed(3)
    assert module.images(torch.randn(4, 3, generator=generator)).shape == (4, *shape)
    for name, part in family.export(module).items():
        graph = onnx.write(part, family.example(name, traced_sizes(part.signature), generator))
        check_parity(name, part, "onnx", onnx.open_graph(graph, part.signature), family, generator)


def test_pixel_at_the_last_corner_is_seen_and_drawn() -> None:
    """Padding and cropping lose none: the encoder's answer changes with it, and the decoder can change it."""
    family = _family((7, 11), architecture="convolutional", channels=(4, 4, 4), binarization="none")
    module = _built(family).eval()
    images = torch.zeros(2, 7, 11)
    images[1, 6, 10] = 255
    means, _ = module.encode(module.pixels(images))
    assert not torch.allclose(means[0], means[1])
    latent = torch.zeros(1, 3, requires_grad=True)
    (slope,) = torch.autograd.grad(module.images(latent)[0, 6, 10], latent)
    assert float(slope.abs().sum()) > 0


def test_card_tells_what_each_dimension_does() -> None:
    """A dimension that the encoder never moves has no activity and no divergence."""
    family = _family()
    module, _ = _trained(family, 100)
    with torch.no_grad():
        layer = module.encoder[-1]
        for place in (1, 4):  # mean and log-variance of dimension 1
            layer.weight[place] = 0.0  # type: ignore[index]
            layer.bias[place] = 0.0  # type: ignore[index]
    assets: Any = family.assets(module)
    assert assets["codes"][0] | {"name": "latent", "size": 3} == assets["codes"][0]
    divergences, activities = assets["divergence_per_dimension"], assets["activity_per_dimension"]
    order = assets["dimensions_by_divergence"]
    assert [divergences[place] for place in order] == sorted(divergences, reverse=True)
    assert (divergences[1], activities[1]) == (0.0, 0.0)
    assert min(divergences[0], divergences[2]) > 0.01
    pixels = module.eval().pixels(torch.from_numpy(_images()))
    mean, log_variance = (item.double().detach().numpy() for item in module.encode(pixels))
    assert activities == pytest.approx(mean.var(axis=0), abs=1e-5)
    assert sum(divergences) == pytest.approx(
        ((np.exp(log_variance) + mean**2 - 1 - log_variance) / 2).sum(axis=1).mean(), abs=1e-4
    )


@pytest.mark.slow
def test_report_scores_the_code_beside_its_baselines_where_there_are_factors() -> None:
    """Of a bar at one of six rows and one of seven columns; a dataset without factors has no such scores."""
    factors = np.stack(np.unravel_index(np.arange(42), SHAPE), axis=1)
    images = np.zeros((42, *SHAPE), np.uint8)
    images[np.arange(42), factors[:, 0]] = 255
    images[np.arange(42), :, factors[:, 1]] = 255
    splits = {"train": {"images": images, "factors": factors}}
    family = VaeFamily(VaeConfig(hidden_sizes=(16,), latent=3), {**_meta(), "factors": []})
    module = _built(family).eval()

    def run(part: str, arrays: Arrays) -> Arrays:
        assert part == "encoder"
        mean, log_variance = Encoder(module)(torch.from_numpy(arrays["images"]))
        return {"mean": mean.detach().numpy(), "log_variance": log_variance.detach().numpy()}

    found = family.report(module, splits, run)
    baselines = ["untrained", "pca", "fastica", "raw_pixels"]
    assert list(found) == ["disentanglement", *(f"disentanglement_{name}" for name in baselines)]
    assert all(0 <= value <= 1 for scores in found.values() for value in scores.values())
    assert _family().report(module, splits, run) == {}
    without = VaeFamily(VaeConfig(disentanglement=False), {**_meta(), "factors": []})
    assert without.report(module, splits, run) == {}


WRONG = [
    pytest.param({"disentanglement": True}, "/config/disentanglement", "kind 'factors'", id="no factors"),
    pytest.param({"channels": [8]}, "/config/channels", "for convolutional", id="channels of an mlp"),
    pytest.param({"likelihood": "gaussian", "binarization": "sample"}, "/config/binarization", "shades", id="gaussian"),
    pytest.param({"beta": 2.0, "capacity": {}}, "/config/beta", "capacity", id="beta and capacity"),
    pytest.param(
        {"architecture": "convolutional", "channels": [2, 2, 2, 2]}, "/config/channels", "too small", id="too deep"
    ),
    pytest.param({"hidden_sizes": [16_384, 16_384]}, "/config/hidden_sizes", "at most", id="too many parameters"),
]


@pytest.mark.parametrize(("config", "pointer", "detail"), WRONG)
def test_options_that_do_not_go_together_are_refused(config: dict[str, Any], pointer: str, detail: str) -> None:
    assert SPEC.check is not None
    SPEC.check(VaeConfig(), VaeTraining(), _meta())
    with pytest.raises(ValidationFailed) as refused:
        SPEC.check(VaeConfig.parse(config), VaeTraining(), _meta())
    assert refused.value.errors[0].pointer == pointer
    assert detail in refused.value.errors[0].detail
