"""Pooling against loops, SciPy, and the limits that join the kinds to one another."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from models.nn.pooling import (
    AveragePooling,
    LpPooling,
    MaxPooling,
    Sides,
    WeightedAveragePooling,
    gaussian_weights,
    lp_pool,
)

CPU = torch.device("cpu")
Window = NDArray[np.float64]
KINDS: dict[str, tuple[Callable[[Sides, Sides], nn.Module], Callable[[Window], float]]] = {
    "max": (MaxPooling, lambda window: float(window.max())),
    "average": (AveragePooling, lambda window: float(window.sum()) / window.size),
    "lp": (
        lambda size, stride: LpPooling(size, stride, 3.0),
        lambda window: (float((np.abs(window) ** 3).sum()) / window.size) ** (1 / 3),
    ),
    "weighted_average": (
        lambda size, stride: WeightedAveragePooling(size, stride, 0.7, CPU),
        lambda window: _weighted(window, 0.7),
    ),
}


def _weighted(window: Window, sigma: float) -> float:
    """Return the mean with weights exp(−d² / 2σ²), one pixel at a time."""
    (height, width), total, weights = window.shape, 0.0, 0.0
    for row, column in itertools.product(range(height), range(width)):
        distance = np.hypot(row - (height - 1) / 2, column - (width - 1) / 2)
        weight = np.exp(-(distance**2) / (2 * sigma**2))
        total, weights = total + weight * window[row, column], weights + weight
    return total / weights


def _maps(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "stride"), [((2, 2), (2, 2)), ((3, 2), (1, 2)), ((1, 4), (3, 1)), ((7, 9), (1, 1))])
def test_pooling_equals_loops(kind: str, size: Sides, stride: Sides) -> None:
    """Rectangles that overlap, that leave gaps, and one over all of it; what does not fit whole is left out."""
    make, statistic = KINDS[kind]
    maps = _maps(2, 3, 7, 9)
    found = make(size, stride)(maps).numpy()
    rows, columns = range(0, 7 - size[0] + 1, stride[0]), range(0, 9 - size[1] + 1, stride[1])
    wanted = [
        statistic(maps[image, channel, row : row + size[0], column : column + size[1]].double().numpy())
        for image, channel, row, column in itertools.product(range(2), range(3), rows, columns)
    ]
    np.testing.assert_allclose(found.ravel(), wanted, rtol=1e-5, atol=1e-6)
    assert found.shape == (2, 3, len(rows), len(columns))


def test_lp_pooling_goes_from_the_average_to_the_maximum() -> None:
    """On maps that are not negative p = 1 is average pooling, growing p never lowers it, and its limit is the max."""
    maps = _maps(2, 3, 8, 8).abs().double()
    pooled = [lp_pool(maps, (2, 2), (2, 2), p) for p in (1.0, 2.0, 4.0, 16.0, 100.0)]
    torch.testing.assert_close(pooled[0], functional.avg_pool2d(maps, 2))
    assert all(bool((later >= earlier).all()) for earlier, later in itertools.pairwise(pooled))
    largest = functional.max_pool2d(maps, 2)
    gaps = [float(((largest - item) / largest).max()) for item in pooled]
    assert gaps[-1] <= 1 - 4 ** (-1 / 100) + 1e-9
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 0.3


def test_lp_pooling_is_the_norm_over_the_root_of_the_pixels() -> None:
    """The function of torch sums where this takes the mean: they differ by n^(1/p) and nothing else."""
    maps = _maps(2, 3, 9, 8).abs()
    wanted = functional.lp_pool2d(maps, 2.5, (3, 2), (2, 2)) / 6 ** (1 / 2.5)
    torch.testing.assert_close(lp_pool(maps, (3, 2), (2, 2), 2.5), wanted)


def test_lp_pooling_neither_overflows_nor_vanishes() -> None:
    """x¹⁰⁰ is beyond float32 for 10 and nothing for 0.1: the plain powers would give infinity and zero."""
    maps = torch.tensor([[[[1e9, 1.0], [2e9, 0.0]], [[1e-9, 0.0], [0.0, 2e-9]]]])
    pooled = lp_pool(maps, (2, 2), (2, 2), 100.0).flatten()
    torch.testing.assert_close(pooled, torch.tensor([2e9, 2e-9]) * 4 ** (-1 / 100))


@pytest.mark.parametrize("p", [1.0, 2.0, 7.5])
def test_lp_pooling_has_the_slopes_of_its_values(p: float) -> None:
    """Finite differences agree, overlapping rectangles included; a rectangle of zeros has slope zero and not NaN."""
    maps = _maps(1, 2, 4, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda inputs: lp_pool(inputs, (2, 2), (1, 1), p), (maps,))
    zeros = torch.zeros(1, 1, 2, 2, requires_grad=True)
    pooled = lp_pool(zeros, (2, 2), (2, 2), p)
    (slopes,) = torch.autograd.grad(pooled.sum(), zeros)
    assert pooled.tolist() == [[[[0.0]]]]
    assert slopes.tolist() == torch.zeros(1, 1, 2, 2).tolist()


def test_weights_fall_with_the_distance_from_the_centre() -> None:
    """They sum to one, equal distances weigh the same, and a wide Gaussian is the plain average."""
    weights = gaussian_weights((3, 5), 1.0)
    assert float(weights.sum()) == pytest.approx(1)
    torch.testing.assert_close(weights, weights.flip((0, 1)))
    assert float(weights[1, 2]) > float(weights[0, 2]) == pytest.approx(float(weights[1, 1]))
    assert float(weights[1, 1]) > float(weights[0, 1]) > float(weights[1, 0]) > float(weights[0, 0])
    torch.testing.assert_close(gaussian_weights((2, 3), 1e4), torch.full((2, 3), 1 / 6))


def test_weighted_average_of_odd_rectangles_is_gaussian_smoothing_sampled() -> None:
    """SciPy's Gaussian of the same radius, at the pixels in the middle of the rectangles."""
    maps = _maps(1, 1, 11, 13)
    pooled = WeightedAveragePooling((5, 5), (2, 3), 1.3, CPU)(maps)[0, 0]
    smoothed = ndimage.gaussian_filter(maps[0, 0].numpy(), 1.3, radius=2)
    np.testing.assert_allclose(pooled.numpy(), smoothed[2:-2:2, 2:-2:3], atol=1e-6)


def test_max_pooling_changes_less_than_its_input_when_that_shifts() -> None:
    """Goodfellow Fig. 9.8: a shift by one pixel changes all four values below and only two of the four above."""
    detector = torch.tensor([[0.3, 0.1, 1.0, 0.2, 0.1, 0.0]])
    shifted = torch.tensor([[0.0, 0.3, 0.1, 1.0, 0.2, 0.1]])
    pool = MaxPooling((1, 3), (1, 1))
    before, after = (pool(values[None, None]).flatten() for values in (detector, shifted))
    torch.testing.assert_close(before, torch.tensor([1.0, 1.0, 1.0, 0.2]))
    torch.testing.assert_close(after, torch.tensor([0.3, 1.0, 1.0, 1.0]))
    assert int((detector[0, 1:5] != shifted[0, 1:5]).sum()) == 4
    assert int((before != after).sum()) == 2


def test_max_pooling_forgets_where_in_a_rectangle_a_feature_lies() -> None:
    """Shifts that stay within the rectangle change nothing, one that leaves it does."""
    answers = []
    for row, column in itertools.product(range(5), range(4)):
        image = torch.zeros(1, 1, 8, 8)
        image[0, 0, row, column] = 1
        answers.append(MaxPooling((4, 4), (4, 4))(image))
    assert all(torch.equal(answers[0], answer) for answer in answers[:16])
    assert not torch.equal(answers[0], answers[16])
