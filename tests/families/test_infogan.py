"""InfoGAN's bound against closed forms, its codes against its inputs, and a control that does not care for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.catalog import Catalog
from models.contract.errors import ValidationFailed
from models.contract.task import Array, Arrays, ServedModel
from models.contract.training import Plan
from models.generation.adversarial.prior import Prior
from models.generation.codes import Codes
from models.generation.infogan.part import READER
from models.generation.infogan.posterior import Posterior
from models.metrics.disentanglement.mutual_information import mutual_information_gap
from workers.exporting import onnx
from workers.exporting.gate import check_parity, traced_sizes

CATALOG = Catalog()
META = {
    "height": 8,
    "width": 8,
    "channels": None,
    "classes": ["a", "b", "c", "d"],
    "value_range": [0, 255],
    "pixel_mean": 100.0,
    "pixel_standard_deviation": 50.0,
}
SMALL: dict[str, Any] = {
    "categorical_codes": [4],
    "continuous_codes": 1,
    "noise": 8,
    "generator_channels": [16, 8],
    "discriminator_channels": [8, 16],
    "generator_units": 64,
    "discriminator_units": 64,
}


FACTORS = {**{name: value for name, value in META.items() if name != "classes"}, "factors": []}
"""Facts of a dataset with factors, of which a family asks only whether they are there."""


def _family(meta: Mapping[str, Any] = META, **config: Any) -> Any:  # noqa: ANN401 - options of any type
    return CATALOG.family("infogan")(CATALOG.spec("infogan").config.parse({**SMALL, **config}), meta)


def test_latents_are_noise_one_hot_codes_and_numbers_in_range() -> None:
    prior = Prior(5, (3, 4), 2)
    latents = prior.draw(2_000, torch.Generator().manual_seed(0))
    assert latents.shape == (2_000, prior.size) == (2_000, 14)
    categories, continuous = prior.codes(latents)
    for place, (chosen, count) in enumerate(zip(categories, (3, 4), strict=True)):
        begin = 5 + 3 * place
        assert torch.equal(latents[:, begin : begin + count], functional.one_hot(chosen, count).float())
        shares = torch.bincount(chosen, minlength=count) / len(chosen)
        assert float((shares - 1 / count).abs().max()) < 0.05
    assert float(continuous.min()) >= -1
    assert float(continuous.max()) <= 1
    assert float(continuous.std()) == pytest.approx(1 / math.sqrt(3), rel=0.05)
    assert prior.categorical_entropy == pytest.approx(math.log(12))


def test_a_model_without_codes_is_refused_before_training() -> None:
    spec = CATALOG.spec("infogan")
    assert spec.check is not None
    config = spec.config.parse({"categorical_codes": [], "continuous_codes": 0})
    with pytest.raises(ValidationFailed, match="there is no code left to learn"):
        spec.check(config, spec.training(), META)


class _Oracle(Posterior):
    """Reads the codes off the features exactly, or says nothing."""

    def __init__(self, prior: Prior, certainty: float) -> None:
        super().__init__(prior.size, 4, prior, torch.Generator().manual_seed(0))
        self.certainty = certainty

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, self.prior.noise :] * self.certainty


def test_information_is_the_entropy_when_codes_are_read_exactly_and_none_when_not() -> None:
    """Eq. 5: L_I = H(c) + E log Q(c | x) is H(c) with a sure and right Q, and 0 with Q at the prior."""
    prior = Prior(6, (10,), 2)
    latents = prior.draw(500, torch.Generator().manual_seed(0))
    sure, _ = _Oracle(prior, 50.0).information(latents, latents)
    unsure, _ = _Oracle(prior, 0.0).information(latents, latents)
    assert float(sure) == pytest.approx(math.log(10), abs=1e-4)
    assert float(unsure) == pytest.approx(0, abs=1e-5)


def test_information_of_continuous_codes_is_the_gaussian_bound() -> None:
    """H(c) is log 2 of each code by the uniform prior; log Q is the log density of N(c; mean, 1)."""
    prior = Prior(6, (), 2)
    latents = prior.draw(500, torch.Generator().manual_seed(0))
    _, exact = _Oracle(prior, 1.0).information(latents, latents)
    assert float(exact) == pytest.approx(2 * (math.log(2) - math.log(2 * math.pi) / 2), abs=1e-5)
    _, blind = _Oracle(prior, 0.0).information(latents, latents)
    squares = latents[:, 6:].square().sum(dim=1).mean() / 2
    assert float(exact - blind) == pytest.approx(float(squares), rel=1e-4)


def test_what_is_exported_takes_the_codes_that_the_model_declares() -> None:
    """Names, order and shapes of the graph's inputs are those that the codec makes of its codes."""
    family = _family(categorical_codes=[4, 3], continuous_codes=2)
    module = family.build(torch.Generator().manual_seed(0)).eval()
    export = family.export(module)["generator"]
    model = ServedModel("m", "infogan", {}, META, family.assets(module), {"generator": export.signature})
    codes = Codes.of(model)
    assert [code.name for code in codes.codes] == ["noise", "c1", "c2", "c3", "c4"]
    latents = codes.draw(0, 3, {"c1": 2, "c3": -0.5}, "/codes")
    arrays = codes.arrays(latents)
    for item in export.signature.inputs:
        assert arrays[item.name].dtype == item.dtype
        assert arrays[item.name].shape[1:] == item.shape[1:] or item.shape[1:] == (8,)
    with torch.no_grad():
        tensors = [torch.from_numpy(arrays[item.name]) for item in export.signature.inputs]
        drawn = export.module(*tensors)
        row = torch.cat(
            [
                tensors[0],
                functional.one_hot(tensors[1], 4).float(),
                functional.one_hot(tensors[2], 3).float(),
                tensors[3],
                tensors[4],
            ],
            dim=1,
        )
        assert torch.equal(drawn, module.generator(row))


def _world() -> dict[str, torch.Tensor]:
    """Bars in one of four places, of unlike brightness."""
    random = np.random.default_rng(0)
    labels = np.arange(1_024) % 4
    images = random.integers(0, 30, (1_024, 8, 8))
    for image, label in zip(images, labels, strict=True):
        image[:, 2 * label : 2 * label + 2] += random.integers(120, 220)
    return {"images": torch.from_numpy(images.astype(np.uint8)), "labels": torch.from_numpy(labels)}


def _information(weight: float, seed: int) -> tuple[float, float]:
    """Return L_I over the last steps of a short training, and the accuracy of c1."""
    family = _family(information_weight=weight)
    random = torch.Generator().manual_seed(seed)
    module = family.build(random)
    options = CATALOG.spec("infogan").training.parse({"gradient_penalty": 0.1})
    learner = family.learner(module, options, Plan.of(1_024, 60, 64), random)
    data = _world()
    found: list[float] = []
    for step in range(500):
        chosen = torch.randint(1_024, (64,), generator=torch.Generator().manual_seed(step))
        found.append(float(learner.step({name: item[chosen] for name, item in data.items()})["information"]))
    split = {name: item.numpy() for name, item in data.items()}
    scores = family.evaluate(module, family.examples(split, torch.device("cpu")))
    return float(np.mean(found[-50:])), scores["code_accuracy"]


@pytest.mark.slow
def test_codes_stay_recoverable_only_where_the_generator_is_paid_for_it() -> None:
    """Without L_I in the generator's loss the same networks leave the codes unused, though Q is fitted all the same."""
    with_information, accuracies = zip(*(_information(1.0, seed) for seed in range(3)), strict=True)
    without, _ = _information(0.0, 0)
    assert min(with_information) > 0.9 * math.log(4)
    assert without < 0.5 * math.log(4)
    # Which places share a category, differs by seed and by the processor's last bits.
    assert np.mean(accuracies) > 0.4, "four places of a bar, told apart without a label; by chance a quarter"


def _bars() -> dict[str, Array]:
    """Return bars of one of four heights in one of eight columns, and which: all 32, three times over."""
    factors = np.tile(np.stack(np.unravel_index(np.arange(32), (4, 8)), axis=1), (3, 1))
    images = np.zeros((96, 8, 8), np.uint8)
    for image, (height, column) in zip(images, factors.tolist(), strict=True):
        image[: 2 + 2 * height, column] = 255
    return {"images": images, "factors": factors}


def _after_steps(family: Any, split: Mapping[str, Array]) -> dict[str, Tensor]:  # noqa: ANN401 - as above
    random = torch.Generator().manual_seed(3)
    module = family.build(random)
    learner = family.learner(module, CATALOG.spec("infogan").training(), Plan.of(96, 1, 32), random)
    examples = family.examples(split, torch.device("cpu"))
    for begin in (0, 32, 64):
        learner.step(examples.take(torch.arange(begin, begin + 32)))
    return module.state_dict()


def test_images_are_learnt_to_the_bit_alike_with_factors_with_labels_and_with_neither() -> None:
    """What is behind an image is told to nobody but the scores."""
    bars = _bars()
    one = _after_steps(_family(FACTORS), bars)
    labelled = {"images": bars["images"], "labels": bars["factors"][:, 0]}
    for other in (_after_steps(_family(), labelled), _after_steps(_family(), {"images": bars["images"]})):
        assert one.keys() == other.keys()
        assert [name for name, value in one.items() if not torch.equal(value, other[name])] == []


def test_model_of_labelled_images_is_exported_as_its_generator_alone() -> None:
    family = _family()
    assert list(family.export(family.build(torch.Generator().manual_seed(0)))) == ["generator"]


CODES = [([3], 4), ([], 1), ([4, 3], 0)]


@pytest.mark.parametrize(("categorical", "continuous"), CODES, ids=str)
def test_exported_posterior_reads_what_the_trained_one_reads(categorical: list[int], continuous: int) -> None:
    """Of any mixture of codes, named as the generator's inputs are; probabilities of a category sum to one."""
    family = _family(FACTORS, categorical_codes=categorical, continuous_codes=continuous)
    module = family.build(torch.Generator().manual_seed(0))
    module.load_state_dict(_after_steps(family, _bars()))
    module.eval()
    parts, random = family.export(module), torch.Generator().manual_seed(1)
    part = parts[READER]
    steered = [item.name for item in parts["generator"].signature.inputs if item.name != "noise"]
    assert [item.name for item in part.signature.outputs] == steered
    graph = onnx.write(part, family.example(READER, traced_sizes(part.signature), random))
    run = onnx.open_graph(graph, part.signature)
    check_parity(READER, part, "onnx", run, family, random)
    images = _bars()["images"].astype(np.float32)
    read = run({"images": images})
    with torch.no_grad():
        _, features = module.discriminator(module.normalization(torch.from_numpy(images)))
        logits, means = module.discriminator.posterior.split(module.discriminator.posterior(features))
    for place, count in enumerate(categorical):
        found = read[f"c{place + 1}"]
        assert found.shape == (96, count)
        assert found.sum(axis=1) == pytest.approx(1, abs=1e-5)
        assert np.array_equal(found.argmax(axis=1), logits[place].argmax(dim=1).numpy())
    for place in range(continuous):
        assert read[f"c{len(categorical) + place + 1}"][:, 0] == pytest.approx(means[:, place].numpy(), abs=1e-4)


def _report(family: Any, module: Any, answers: Arrays) -> dict[str, dict[str, float]]:  # noqa: ANN401 - as above
    """Return the report on the bars, with ``answers`` of the posterior to each of them."""
    known = {image.tobytes(): row for row, image in enumerate(_bars()["images"])}

    def run(part: str, arrays: Arrays) -> Arrays:
        if part == READER:
            rows = [known[image.astype(np.uint8).tobytes()] for image in arrays["images"]]
            return {name: array[rows] for name, array in answers.items()}
        with torch.no_grad():
            drawn = family.export(module)[part].module(*(torch.from_numpy(array) for array in arrays.values()))
        return {"images": drawn.numpy()}

    return family.report(module, {"train": _bars()}, run)


def test_report_scores_codes_by_the_exported_posterior_where_there_are_factors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A posterior that knows height and column gives a code of two dimensions, the category one of them.

    Its probabilities as columns would share what the code knows: then MIG falls, which shows what is avoided.
    """
    compared: list[tuple[Array, Array, int]] = []

    def keep(splits: Mapping[str, Mapping[str, Array]], encode: Any, untrained: Any, dimensions: int) -> dict[str, Any]:  # noqa: ANN401 - as above
        images = splits["train"]["images"]
        compared.append((encode(images), untrained(images), dimensions))
        return {"disentanglement": {"mig": mutual_information_gap(encode(images), splits["train"]["factors"])}}

    monkeypatch.setattr("models.metrics.disentanglement.scores.report", keep)
    family = _family(FACTORS)
    module = family.build(torch.Generator().manual_seed(0)).eval()
    factors = _bars()["factors"]
    sure = np.eye(4, dtype=np.float32)[factors[:, 0]] * 0.9 + 0.025
    column = (factors[:, 1:] / 3.5 - 1).astype(np.float32)
    found = _report(family, module, {"c1": sure, "c2": column})
    code, untrained, dimensions = compared[0]
    assert np.array_equal(code, np.stack([factors[:, 0], column[:, 0]], axis=1))
    assert untrained.shape == (96, 2)
    assert dimensions == 2
    assert not np.allclose(untrained, code)
    assert found["disentanglement"]["mig"] == pytest.approx(1.0)
    assert mutual_information_gap(np.concatenate([sure, column], axis=1), factors) < 0.75
    assert {"neighbour_distance", "parzen_log_likelihood"} <= found["quality"].keys()
    assert not {"fid", "code_accuracy"} & found["quality"].keys(), "there are no classes to judge by"
    assert list(_report(_family(FACTORS, disentanglement=False), module, {})) == ["quality"]
    assert len(compared) == 1


WRONG = [
    pytest.param(META, {"disentanglement": True}, "/config/disentanglement", "kind 'factors'", id="no factors"),
    pytest.param(
        {**FACTORS, "height": 64, "width": 64},
        {"discriminator_channels": [8] * 7},
        "/config/discriminator_channels",
        "halves images of 64 × 64 pixels 7 times; use at most 6 numbers",
        id="too deep",
    ),
    pytest.param(
        FACTORS,
        {"categorical_codes": [], "continuous_codes": 0},
        "/config/continuous_codes",
        "there is no code left to learn",
        id="no codes",
    ),
]


@pytest.mark.parametrize(("meta", "config", "pointer", "detail"), WRONG)
def test_options_that_do_not_go_with_the_dataset_are_refused(
    meta: dict[str, Any], config: dict[str, Any], pointer: str, detail: str
) -> None:
    spec = CATALOG.spec("infogan")
    assert spec.check is not None
    spec.check(spec.config.parse({"categorical_codes": [3], "continuous_codes": 4}), spec.training(), meta)
    with pytest.raises(ValidationFailed) as refused:
        spec.check(spec.config.parse(config), spec.training(), meta)
    assert refused.value.errors[0].pointer == pointer
    assert detail in refused.value.errors[0].detail
