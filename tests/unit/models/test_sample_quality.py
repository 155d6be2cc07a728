"""Scores of drawn images against worlds with a known answer."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy import linalg, stats

from models.data.images.facts import ImageFacts
from models.data.images.pixels import Wanted
from models.generation.quality import sample_quality
from models.metrics.clusters import matched_accuracy
from models.metrics.coverage import coverage
from models.metrics.distances import nearest_distances, squared_distances
from models.metrics.energy import energy_distance
from models.metrics.frechet import frechet_distance
from models.metrics.parzen import BANDWIDTHS, best_bandwidth, parzen_log_likelihood

RANDOM = np.random.default_rng(0)


def _gaussian(count: int, covariance: np.ndarray, mean: np.ndarray) -> np.ndarray:
    return RANDOM.multivariate_normal(mean, covariance, count)


def test_frechet_distance_is_that_of_the_gaussians_with_a_general_matrix_root() -> None:
    """The Schur decomposition of the unsymmetric product in scipy gives the same as our symmetric form."""
    one = _gaussian(4_000, np.array([[2.0, 0.6, 0], [0.6, 1, 0], [0, 0, 0.5]]), np.zeros(3))
    other = _gaussian(3_000, np.diag([1.0, 3, 1]), np.array([1.0, -1, 0.5]))
    covariances = [np.cov(rows, rowvar=False) for rows in (one, other)]
    root = np.real(np.asarray(linalg.sqrtm(covariances[0] @ covariances[1])))
    shift = np.square(one.mean(axis=0) - other.mean(axis=0)).sum()
    assert frechet_distance(one, other) == pytest.approx(shift + np.trace(sum(covariances) - 2 * root), rel=1e-9)


def test_frechet_distance_of_scaled_and_shifted_features_is_known() -> None:
    """In one dimension it is (μ₁ − μ₂)² + (σ₁ − σ₂)²; of a set from itself it is nothing."""
    rows = RANDOM.standard_normal((5_000, 1))
    moved = 3 * rows + 2
    wanted = (rows.mean() - moved.mean()) ** 2 + (rows.std(ddof=1) - moved.std(ddof=1)) ** 2
    assert frechet_distance(rows, moved) == pytest.approx(wanted)
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match="cannot compare"):
        frechet_distance(rows, rows[:1])


def test_energy_distance_is_twice_the_area_between_squared_distribution_functions() -> None:
    """In one dimension it is 2 ∫ (F − G)² (Székely and Rizzo 2013, Thm. 1), the square of what scipy has."""
    one, other = RANDOM.standard_normal(400), RANDOM.standard_normal(300) + 1
    wanted = stats.energy_distance(one, other) ** 2
    assert energy_distance(one[:, None], other[:, None]) == pytest.approx(wanted, rel=1e-3)
    assert energy_distance(one[:, None], one[:, None]) == pytest.approx(0, abs=1e-6)


def test_parzen_likelihood_is_the_mixture_by_hand() -> None:
    samples, held_out, width = RANDOM.random((30, 4)), RANDOM.random((20, 4)), 0.3
    densities = [
        np.mean([np.prod(stats.norm.pdf(row, loc=sample, scale=width)) for sample in samples]) for row in held_out
    ]
    assert parzen_log_likelihood(samples, held_out, width) == pytest.approx(np.log(densities).mean(), rel=1e-5)


def test_parzen_bandwidth_is_that_of_the_data() -> None:
    """Around samples on a line of noise 0.2 the likeliest of the widths is the nearest to it."""
    rows = 0.5 + 0.2 * RANDOM.standard_normal((4_000, 1))
    grid = np.full((1, 1), 0.5)
    assert best_bandwidth(grid, rows) == min(BANDWIDTHS, key=lambda width: abs(math.log(width / 0.2)))


def test_distances_are_those_of_each_pair() -> None:
    one, other = RANDOM.random((7, 3)), RANDOM.random((5, 3))
    wanted = np.linalg.norm(one[:, None] - other[None], axis=2)
    np.testing.assert_allclose(np.sqrt(squared_distances(one, other)), wanted, atol=1e-3)
    np.testing.assert_allclose(nearest_distances(one, other), wanted.min(axis=1), atol=1e-3)


def test_coverage_counts_classes_with_their_share() -> None:
    """Of ten equal classes a third of a tenth is needed; what falls on a few diverges by the log of how many fewer."""
    data = np.repeat(np.arange(10), 100)
    even = coverage(data, data, 10)
    assert (even.covered, even.least_share, even.divergence) == (10, 0.1, 0)
    few = coverage(np.repeat([3, 4], 50), data, 10)
    assert (few.covered, few.least_share) == (2, 0)
    assert few.divergence == pytest.approx(math.log(5))
    thin = np.concatenate([np.repeat(np.arange(9), 108), np.full(28, 9)])
    assert coverage(thin, data, 10).covered == 9
    assert coverage(np.concatenate([thin, np.full(3, 9)]), data, 10).covered == 10


def test_matched_accuracy_is_the_best_of_all_matchings() -> None:
    """Brute force over all permutations, and a merged group that no matching can mend."""
    groups, labels = RANDOM.integers(4, size=200), RANDOM.integers(4, size=200)
    wanted = max(np.mean(np.array(order)[groups] == labels) for order in permutations(range(4)))
    assert matched_accuracy(groups, labels) == pytest.approx(wanted)
    assert matched_accuracy((labels + 1) % 4, labels) == 1
    assert matched_accuracy(np.zeros(200, int), np.repeat([0, 1], 100)) == 0.5


@pytest.fixture(scope="module")
def world() -> tuple[dict[str, dict[str, np.ndarray]], ImageFacts]:
    """Images of a bar in one of four places, with noise: 600 to learn from and 300 held out."""
    random = np.random.default_rng(1)

    def drawn(count: int) -> dict[str, np.ndarray]:
        labels = np.arange(count) % 4
        images = random.integers(0, 60, (count, 8, 8)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[:, 2 * label : 2 * label + 2] += 150
        return {"images": images, "labels": labels}

    facts = ImageFacts(
        (8, 8), ("a", "b", "c", "d"), (0.0, 255.0), 60.0, 60.0, Wanted((8, 8), resize="refuse", background="white")
    )
    return {"train": drawn(600), "test": drawn(300)}, facts


def _noise(count: int) -> np.ndarray:
    return np.random.default_rng(3).random((count, 8, 8), np.float32)


def test_another_draw_of_the_data_scores_like_the_data(
    world: tuple[dict[str, dict[str, np.ndarray]], ImageFacts],
) -> None:
    """All classes, a Fréchet distance like that of training images, and as far from them as test images are."""
    splits, facts = world
    fresh = np.random.default_rng(2)

    def draw(count: int) -> np.ndarray:
        images = fresh.integers(0, 60, (count, 8, 8))
        for image, label in zip(images, fresh.integers(4, size=count), strict=True):
            image[:, 2 * label : 2 * label + 2] += 150
        return (images / 255).astype(np.float32)

    before = torch.get_rng_state()
    scores = sample_quality(draw, _noise, splits, facts)
    assert torch.equal(torch.get_rng_state(), before)
    assert scores["judge_accuracy"] == 1
    assert scores["classes_covered"] == 4
    assert scores["class_divergence"] < 0.02
    assert scores["fid"] < 0.05 * scores["fid_of_noise"]
    assert scores["fid_of_untrained"] == pytest.approx(scores["fid_of_noise"], rel=0.2)
    assert 0.95 < scores["neighbour_ratio"] < 1.05
    assert scores["parzen_log_likelihood"] == pytest.approx(scores["parzen_of_training_images"], abs=5)


def test_copies_of_one_class_are_told(world: tuple[dict[str, dict[str, np.ndarray]], ImageFacts]) -> None:
    """What was learnt by heart lies on training images, and one class of four is covered."""
    splits, facts = world
    copies = splits["train"]["images"][splits["train"]["labels"] == 2] / 255

    def draw(count: int) -> np.ndarray:
        return np.resize(copies, (count, 8, 8)).astype(np.float32)

    scores = sample_quality(draw, _noise, splits, facts)
    assert scores["classes_covered"] == 1
    assert scores["class_divergence"] == pytest.approx(math.log(4), rel=1e-3)
    assert scores["neighbour_ratio"] < 0.05
    assert scores["fid"] > 10 * scores["fid_of_training_images"]


@pytest.mark.parametrize(("train", "test"), [(1, 1), (2, 1), (3, 2)])
def test_the_smallest_datasets_are_scored_as_far_as_they_can_be(
    world: tuple[dict[str, dict[str, np.ndarray]], ImageFacts], train: int, test: int
) -> None:
    """A job on a handful of images ends like any other: what cannot be measured is left out, the rest is finite."""
    splits, facts = world
    sizes = {"train": train, "test": test}
    few = {name: {key: array[: sizes[name]] for key, array in split.items()} for name, split in splits.items()}
    scores = sample_quality(_noise, _noise, few, facts)
    assert all(math.isfinite(value) for value in scores.values())
    assert ("fid" in scores) == (test > 1)
    assert bool(scores) == (train > 1)
