"""Scores of disentanglement in worlds whose answers are known: identity, constant, noise, rotation, doubling."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.contract.task import Array, Split
from models.metrics.disentanglement.beta_vae import beta_vae_score
from models.metrics.disentanglement.dci import dci
from models.metrics.disentanglement.factor_vae import factor_vae_score
from models.metrics.disentanglement.groups import Groups
from models.metrics.disentanglement.mutual_information import mutual_information_gap
from models.metrics.disentanglement.scores import (
    MOST_EXAMPLES,
    examples,
    independent_components,
    principal_components,
    report,
    scores,
)
from models.metrics.disentanglement.separated_attributes import separated_attribute_predictability

CLASSES = (3, 6, 4, 8, 8)
EXAMPLES = 4_608


def _factors() -> Array:
    """Return all combinations of the classes (4608, 5)."""
    return np.stack(np.unravel_index(np.arange(EXAMPLES), CLASSES), axis=1)


def _identity() -> Array:
    """Return each factor as a number of mean 0 and variance 1."""
    factors = _factors().astype(np.float64)
    return (factors - factors.mean(axis=0)) / factors.std(axis=0)


def _rotated() -> Array:
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))
    return _identity() @ rotation


@pytest.fixture(scope="module")
def identity() -> dict[str, float]:
    """Scores of a code that is the factors."""
    return scores(_identity(), _factors())


@pytest.fixture(scope="module")
def rotated() -> dict[str, float]:
    """Scores of a code in which every dimension has something of every factor."""
    return scores(_rotated(), _factors())


def test_factors_themselves_score_one(identity: dict[str, float]) -> None:
    """Of the information gap with bins that hold one class each; with fewer, what a bin joins is not known."""
    assert {name: value for name, value in identity.items() if value < 0.999} == {}
    assert mutual_information_gap(_identity(), _factors(), bins=8) == pytest.approx(1.0)


def test_rotation_falls_where_axes_matter(identity: dict[str, float], rotated: dict[str, float]) -> None:
    """The first two scores take it for disentangled still; the others fall below half."""
    for name in ("mig", "sap", "dci_disentanglement", "dci_completeness"):
        assert rotated[name] < identity[name] / 2, name
    assert rotated["beta_vae"] > 0.7
    assert rotated["beta_vae_of_10_pairs"] < rotated["beta_vae"]


def test_constant_code_scores_chance() -> None:
    found = scores(np.ones((EXAMPLES, 3)), _factors())
    assert found["beta_vae"] == pytest.approx(0.2, abs=0.03)
    assert found["factor_vae"] == pytest.approx(0.2)
    assert [found[name] for name in ("mig", "sap", "dci_disentanglement", "dci_completeness")] == [0, 0, 0, 0]
    assert found["dci_informativeness"] < np.mean(1 / np.array(CLASSES)) + 0.05


def test_noise_scores_chance() -> None:
    noise = np.random.default_rng(0).standard_normal((EXAMPLES, 4))
    assert beta_vae_score(noise, _factors(), np.random.default_rng(1)) == pytest.approx(0.2, abs=0.03)
    assert factor_vae_score(noise, _factors(), np.random.default_rng(1)) == pytest.approx(0.2, abs=0.03)
    assert mutual_information_gap(noise, _factors()) < 0.02
    assert separated_attribute_predictability(noise, _factors()) < 0.02
    assert dci(noise, _factors(), np.random.default_rng(1)).disentanglement < 0.1


def test_doubled_dimensions_leave_no_gap_and_are_not_complete() -> None:
    """Each dimension still stands for one factor; no factor stands in one dimension."""
    doubled, factors = np.concatenate([_identity(), _identity()], axis=1), _factors()
    assert mutual_information_gap(doubled, factors) == pytest.approx(0.0)
    assert separated_attribute_predictability(doubled, factors) == pytest.approx(0.0)
    found = dci(doubled, factors, np.random.default_rng(1))
    assert found.disentanglement > 0.99
    assert found.completeness < 0.85
    assert factor_vae_score(doubled, factors, np.random.default_rng(1)) > 0.99


def test_unused_dimension_neither_votes_nor_counts() -> None:
    """The tiny variance of a dimension that a code does not use would be the smallest in every vote."""
    unused = np.random.default_rng(0).standard_normal((EXAMPLES, 1)) * 1e-3
    code = np.concatenate([_identity(), unused], axis=1)
    assert factor_vae_score(code, _factors(), np.random.default_rng(1)) > 0.99
    assert dci(code, _factors(), np.random.default_rng(1)).disentanglement > 0.99


def test_scores_do_not_depend_on_the_scale_of_a_code(identity: dict[str, float]) -> None:
    found = scores(_identity() * 1e-3 + 5, _factors())
    assert found == pytest.approx(identity, abs=0.002)


def test_information_gap_of_two_known_variables() -> None:
    """The factor is a fair coin; one dimension knows it, the other with an error of a quarter."""
    coin = np.arange(8_000) % 2
    wrong = (np.arange(8_000) // 2) % 4 == 0
    codes = np.stack([coin, coin ^ wrong], axis=1).astype(np.float64)
    known = math.log(2) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    assert mutual_information_gap(codes, coin[:, None]) == pytest.approx(1 - known / math.log(2))


def test_predictability_gap_of_two_known_variables() -> None:
    """R² of the factor itself is 1; of the factor with noise of equal variance, a half."""
    random = np.random.default_rng(0)
    factor = random.integers(0, 10, 20_000)
    noise = random.standard_normal(20_000) * factor.std()
    codes = np.stack([factor.astype(np.float64), factor + noise], axis=1)
    assert separated_attribute_predictability(codes, factor[:, None]) == pytest.approx(0.5, abs=0.02)


def test_groups_draw_examples_of_the_class_asked_for() -> None:
    factors = np.array([[0, 2], [1, 0], [0, 1], [1, 2], [1, 1]])
    classes = np.repeat([[0], [1]], 500, axis=1)
    drawn = Groups(factors).alike(0, classes, np.random.default_rng(0))
    assert set(drawn[0].tolist()) == {0, 2}
    assert set(drawn[1].tolist()) == {1, 3, 4}
    assert set(Groups(factors).alike(1, np.array([2] * 200), np.random.default_rng(0)).tolist()) == {0, 3}


def test_factor_that_never_varies_is_left_out() -> None:
    factors = np.concatenate([_factors(), np.zeros((EXAMPLES, 1), np.int64)], axis=1)
    assert mutual_information_gap(_identity(), factors, bins=8) == pytest.approx(1.0)
    assert separated_attribute_predictability(_identity(), factors) == pytest.approx(1.0)
    assert dci(_identity(), factors, np.random.default_rng(1)).disentanglement > 0.99


def test_components_are_found() -> None:
    """Of independent sources mixed by a matrix: principal ones by variance, independent ones one by one."""
    random = np.random.default_rng(0)
    sources = random.uniform(-1, 1, (3_000, 3)) * [3, 2, 1]
    mixed = sources @ np.linalg.qr(random.standard_normal((6, 3)))[0].T
    principal = principal_components(mixed, 2)
    assert principal.var(axis=0) == pytest.approx(sources.var(axis=0)[:2], rel=0.02)
    correlations = np.abs(np.corrcoef(independent_components(mixed, 3).T, sources.T)[:3, 3:])
    assert np.sort(correlations.max(axis=1)).min() > 0.99
    assert sorted(correlations.argmax(axis=1).tolist()) == [0, 1, 2]


def test_report_scores_the_test_split_first_and_no_more_than_its_limit() -> None:
    count = MOST_EXAMPLES // 2 + 10
    splits: dict[str, Split] = {
        name: {"images": np.full((count, 2, 2), value), "factors": np.full((count, 1), value)}
        for value, name in enumerate(("train", "test", "validation"))
    }
    images, factors = examples(splits)
    assert len(images) == MOST_EXAMPLES
    assert np.bincount(factors[:, 0]).tolist() == [0, count, count - 20]


def test_report_of_a_code_that_is_the_factors_beats_its_baselines() -> None:
    """Images whose pixels mix two factors beyond recognition for anything linear."""
    factors = np.stack(np.unravel_index(np.arange(64), (8, 8)), axis=1)
    images = np.random.default_rng(0).integers(0, 255, (64, 4, 4)).astype(np.uint8)
    splits: dict[str, Split] = {"train": {"images": np.tile(images, (8, 1, 1)), "factors": np.tile(factors, (8, 1))}}

    def code(given: Array) -> Array:
        same = (given[:, None] == images[None]).all(axis=(2, 3))
        return factors[same.argmax(axis=1)].astype(np.float64)

    found = report(splits, code, lambda given: given.reshape(len(given), -1)[:, :2].astype(np.float64), 2)
    assert found["disentanglement"]["mig"] > 0.95
    others = [scores["mig"] for name, scores in found.items() if name != "disentanglement"]
    assert len(others) == 4
    assert max(others) < 0.3
