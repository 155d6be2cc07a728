"""The filters equal SciPy's, border included; each does what its name says on an image whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from math import log, sqrt

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from models.nn.filters import FILTERS, ImageFilter

Image = NDArray[np.float64]
CPU = torch.device("cpu")

SCIPY: dict[str, Callable[[Image, str], Image]] = {
    "average": lambda image, mode: ndimage.uniform_filter(image, 3, mode=mode),
    "gaussian": lambda image, mode: ndimage.gaussian_filter(image, 1 / sqrt(2 * log(2)), radius=1, mode=mode),
    "prewitt_x": lambda image, mode: ndimage.prewitt(image, axis=1, mode=mode),
    "prewitt_y": lambda image, mode: ndimage.prewitt(image, axis=0, mode=mode),
    "sobel_x": lambda image, mode: ndimage.sobel(image, axis=1, mode=mode),
    "sobel_y": lambda image, mode: ndimage.sobel(image, axis=0, mode=mode),
    "high_pass": lambda image, mode: 9 * (image - ndimage.uniform_filter(image, 3, mode=mode)),
    "sharpen": lambda image, mode: image + 9 * (image - ndimage.uniform_filter(image, 3, mode=mode)),
    "sharpen_low": lambda image, mode: image - ndimage.laplace(image, mode=mode),
}


def _filtered(name: str, image: Image) -> Image:
    """Return ``image`` (height, width) filtered."""
    module = ImageFilter(name, 1, CPU).double()
    return module(torch.from_numpy(image)[None, None])[0, 0].numpy()


def test_every_filter_has_its_oracle() -> None:
    assert SCIPY.keys() == FILTERS.keys()


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("mode", ["reflect", "nearest"])
def test_filter_equals_scipy(name: str, mode: str) -> None:
    """In all pixels, those at the border included; the kernels are float32, hence the tolerance."""
    image = np.random.default_rng(1).normal(size=(7, 10))
    np.testing.assert_allclose(_filtered(name, image), SCIPY[name](image, mode), atol=1e-6)


@pytest.mark.parametrize("name", FILTERS)
def test_border_mode_is_told_apart(name: str) -> None:
    """The control: with zeros around the image the pixels at the border come out otherwise."""
    image = np.random.default_rng(1).normal(size=(7, 10)) + 5
    differences = np.abs(_filtered(name, image) - SCIPY[name](image, "constant"))
    assert differences[1:-1, 1:-1].max() < 1e-5
    assert differences.max() > 0.1


def test_channels_do_not_mix() -> None:
    """Each channel of a colour image is filtered as if alone."""
    images = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(1))
    together = ImageFilter("sobel_y", 3, CPU)(images)
    alone = [ImageFilter("sobel_y", 1, CPU)(images[:, channel : channel + 1]) for channel in range(3)]
    torch.testing.assert_close(together, torch.cat(alone, dim=1))


@pytest.mark.parametrize(("name", "other"), [("sobel_x", "sobel_y"), ("prewitt_x", "prewitt_y")])
def test_edges_are_found_along_one_axis(name: str, other: str) -> None:
    """A step from left to right is positive for x, cross-correlated and not convolved, and nothing for y."""
    step = np.concatenate([np.zeros((6, 4)), np.ones((6, 4))], axis=1)
    assert _filtered(name, step).min() == 0
    assert _filtered(name, step)[:, 3:5].min() == {"sobel_x": 4, "prewitt_x": 3}[name]
    assert np.abs(_filtered(other, step)).max() == 0


@pytest.mark.parametrize("name", FILTERS)
def test_flat_images_stay_or_vanish(name: str) -> None:
    """Smoothing and sharpening keep a flat image, differences make it zero; at the border as well."""
    flat = np.full((5, 6), 7.0)
    wanted = 7.0 if name in {"average", "gaussian", "sharpen", "sharpen_low"} else 0.0
    np.testing.assert_allclose(_filtered(name, flat), np.full((5, 6), wanted), atol=1e-5)


def test_filters_are_kept_and_not_trained() -> None:
    """The kernel is in the state of the module and none of its parameters."""
    module = ImageFilter("gaussian", 2, CPU)
    assert list(module.parameters()) == []
    assert list(module.state_dict()) == ["kernels"]
