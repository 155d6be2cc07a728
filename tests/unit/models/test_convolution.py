"""Convolution and cross-correlation against loops, SciPy and their algebra; batch normalisation against its formula."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import signal, sparse
from torch import Tensor

from models.nn.convolution import BatchNorm, Convolution, Placement, convolve, cross_correlate

Array = NDArray[np.float64]

PLACEMENTS = {
    "plain": Placement(),
    "stride per axis": Placement(stride=(2, 3)),
    "dilation per axis": Placement(dilation=(2, 1)),
    "more zeros below and to the right": Placement(pads=((0, 2), (1, 2))),
    "as many zeros on each side": Placement(pads=((2, 2), (1, 1))),
    "groups": Placement(groups=2),
    "all of it": Placement(pads=((1, 2), (3, 0)), stride=(2, 1), dilation=(1, 2), groups=2),
}


def _draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _by_loops(images: Tensor, kernels: Tensor, placement: Placement) -> Array:
    """Return the cross-correlation, one product at a time."""
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), *placement.pads))
    (count, _, height, width), (maps, channels, *extent) = padded.shape, kernels.shape
    reach = [(side - 1) * step + 1 for side, step in zip(extent, placement.dilation, strict=True)]
    rows, columns = (
        (side - far) // step + 1 for side, far, step in zip((height, width), reach, placement.stride, strict=True)
    )
    found = np.zeros((count, maps, rows, columns))
    for image, k, i, j in itertools.product(range(count), range(maps), range(rows), range(columns)):
        first = k // (maps // placement.groups) * channels
        for c, m, n in itertools.product(range(channels), *map(range, extent)):
            row = i * placement.stride[0] + m * placement.dilation[0]
            column = j * placement.stride[1] + n * placement.dilation[1]
            found[image, k, i, j] += padded[image, first + c, row, column] * float(kernels[k, c, m, n])
    return found


@pytest.mark.parametrize("placement", PLACEMENTS.values(), ids=PLACEMENTS.keys())
def test_cross_correlation_equals_loops(placement: Placement) -> None:
    """Channels, stride, dilation, zeros and groups, on sides that all differ."""
    images, kernels = _draw(2, 4, 7, 9), _draw(6, 4 // placement.groups, 3, 2, seed=2)
    found = cross_correlate(images, kernels, placement)
    np.testing.assert_allclose(found.numpy(), _by_loops(images, kernels, placement), atol=1e-12)


@pytest.mark.parametrize("placement", PLACEMENTS.values(), ids=PLACEMENTS.keys())
def test_convolution_equals_loops_over_the_flipped_kernel(placement: Placement) -> None:
    images, kernels = _draw(2, 4, 7, 9), _draw(6, 4 // placement.groups, 3, 2, seed=2)
    wanted = _by_loops(images, torch.from_numpy(kernels.numpy()[:, :, ::-1, ::-1].copy()), placement)
    np.testing.assert_allclose(convolve(images, kernels, placement).numpy(), wanted, atol=1e-12)


def _whole(one: Tensor, other: Tensor, operation: str) -> Tensor:
    """Return the full convolution or cross-correlation of two arrays (height, width)."""
    pads = tuple((side - 1, side - 1) for side in other.shape)
    apply = {"convolution": convolve, "cross_correlation": cross_correlate}[operation]
    return apply(one[None, None], other[None, None], Placement(pads=(pads[0], pads[1])))[0, 0]


def test_the_two_are_told_apart_by_an_asymmetric_kernel() -> None:
    """Each equals SciPy's function of its name and not the other's; by a symmetric kernel they are the same."""
    image, kernel = _draw(6, 5), _draw(3, 2, seed=2)
    found = {name: _whole(image, kernel, name).numpy() for name in ("convolution", "cross_correlation")}
    np.testing.assert_allclose(found["convolution"], signal.convolve2d(image, kernel), atol=1e-12)
    np.testing.assert_allclose(found["cross_correlation"], signal.correlate2d(image, kernel), atol=1e-12)
    assert np.abs(found["convolution"] - found["cross_correlation"]).max() > 0.1
    even = kernel + kernel.flip((0, 1))
    torch.testing.assert_close(_whole(image, even, "convolution"), _whole(image, even, "cross_correlation"))


def test_an_impulse_returns_the_kernel_or_its_mirror_image() -> None:
    """A single one gives K by convolution, and K turned by 180° by cross-correlation."""
    impulse, kernel = torch.zeros(3, 3, dtype=torch.float64), _draw(3, 3)
    impulse[1, 1] = 1
    torch.testing.assert_close(_whole(impulse, kernel, "convolution")[1:4, 1:4], kernel)
    torch.testing.assert_close(_whole(impulse, kernel, "cross_correlation")[1:4, 1:4], kernel.rot90(2))


@pytest.mark.parametrize(("operation", "holds"), [("convolution", True), ("cross_correlation", False)])
def test_convolution_commutes_and_associates_and_cross_correlation_does_not(operation: str, *, holds: bool) -> None:
    """F * G = G * F and (F * G) * H = F * (G * H): a filter and its derivative can be joined into one."""
    f, g, h = _draw(4, 4), _draw(3, 3, seed=2), _draw(2, 2, seed=3)
    one, other = _whole(_whole(f, g, operation), h, operation), _whole(f, _whole(g, h, operation), operation)
    assert torch.allclose(one, other) is holds
    assert torch.allclose(_whole(f, g, operation), _whole(g, f, operation)) is holds


def test_edge_detection_takes_267960_operations_where_a_matrix_takes_eight_billion() -> None:
    """Goodfellow Fig. 9.6: [−1, 1] on 320 × 280 pixels, as a layer and as the matrix that does the same."""
    image = _draw(280, 320)
    edges = cross_correlate(image[None, None], torch.tensor([[[[-1.0, 1.0]]]], dtype=torch.float64)).flatten()
    pixels = np.arange(280 * 320).reshape(280, 320)
    before, after, rows = pixels[:, :-1].ravel(), pixels[:, 1:].ravel(), np.arange(280 * 319)
    values = np.concatenate([-np.ones(len(rows)), np.ones(len(rows))])
    places = (np.concatenate([rows, rows]), np.concatenate([before, after]))
    matrix = sparse.csr_matrix((values, places), shape=(280 * 319, 280 * 320))
    np.testing.assert_allclose(edges.numpy(), matrix @ image.numpy().ravel(), atol=1e-12)
    multiplications, additions = matrix.nnz, matrix.nnz - len(rows)
    assert multiplications + additions == 267_960
    assert len(rows) * pixels.size > 8e9


def test_layer_draws_its_kernels_within_one_over_the_root_of_its_inputs() -> None:
    """As many inputs as a kernel has taps in its group; nothing is drawn from the global generator."""
    before = torch.get_rng_state()
    layer = Convolution((64, 4, 3, 5), Placement(groups=2), torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), before)
    bound = (4 * 3 * 5) ** -0.5
    assert 0.99 * bound < float(layer.weight.detach().abs().max()) <= bound
    assert layer.bias is not None
    assert float(layer.bias.detach().abs().max()) <= bound
    assert Convolution((4, 1, 1, 1), Placement(), torch.Generator(), bias=False).bias is None


def _normalised(values: Array, mean: Array, variance: Array) -> Array:
    return (values - mean[:, None, None]) / np.sqrt(variance[:, None, None] + 1e-5)


def test_batch_norm_equals_its_formula() -> None:
    """Mean and variance over batch and places in training; running ones, unbiased and a tenth at a time, after it."""
    layer, values = BatchNorm(3).double(), _draw(4, 3, 2, 5) * 3 + 2
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
        layer.bias.copy_(torch.tensor([0.0, 1.0, -1.0]))
    numbers = values.numpy()
    mean, variance = numbers.mean(axis=(0, 2, 3)), numbers.var(axis=(0, 2, 3))
    scale, offset = np.array([1.0, 2.0, 3.0])[:, None, None], np.array([0.0, 1.0, -1.0])[:, None, None]
    wanted = _normalised(numbers, mean, variance) * scale + offset
    np.testing.assert_allclose(layer(values).detach().numpy(), wanted, atol=1e-10)
    running = 0.1 * mean, 0.9 + 0.1 * numbers.var(axis=(0, 2, 3), ddof=1)
    wanted = _normalised(numbers, *running) * scale + offset
    np.testing.assert_allclose(layer.eval()(values).detach().numpy(), wanted, atol=1e-10)


def test_batch_norm_of_a_single_value_uses_what_it_has_seen() -> None:
    """A last batch of one image with maps of one pixel has no variance: it neither stops nor moves the statistics."""
    layer = BatchNorm(2)
    layer(torch.tensor([[[[1.0]], [[5.0]]], [[[3.0]], [[1.0]]]]))
    assert layer.running_mean is not None
    before = layer.running_mean.clone()
    single = torch.tensor([[[[2.0]], [[7.0]]]])
    trained = layer(single)
    assert torch.equal(layer.running_mean, before)
    torch.testing.assert_close(trained, layer.eval()(single))
    with pytest.raises(ValueError, match="more than 1 value"):
        torch.nn.BatchNorm2d(2)(single)
