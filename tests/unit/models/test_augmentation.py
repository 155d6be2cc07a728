"""Shifts, flips and rotations against numpy and SciPy; what is drawn, how often, and from which generator."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from models.nn.augmentation import Augmentation, displace, rotate


def _images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def _augmentation(shift: int = 0, rotation: float = 0.0, seed: int = 1, *, flip: bool = False) -> Augmentation:
    return Augmentation(shift, rotation, torch.Generator().manual_seed(seed), horizontal_flip=flip).train()


def _moved(image: np.ndarray, down: int, right: int, *, mirrored: bool) -> np.ndarray:
    """Return ``image`` (channels, height, width) moved, its edges repeated, then mirrored."""
    (_, height, width), reach = image.shape, 3
    padded = np.pad(image, ((0, 0), (reach, reach), (reach, reach)), mode="edge")
    cut = padded[:, reach - down : reach - down + height, reach - right : reach - right + width]
    return cut[:, :, ::-1] if mirrored else cut


def test_shifts_and_flips_equal_cutting_from_a_padded_image() -> None:
    """Every image of a batch moves by its own amount, channels together, on sides that differ."""
    cases = list(itertools.product((-3, -1, 0, 2), (-2, 0, 3), (False, True)))
    images = _images(len(cases), 3, 6, 5)
    shifts = torch.tensor([[down for down, _, _ in cases], [right for _, right, _ in cases]])
    found = displace(images, shifts, torch.tensor([mirrored for *_, mirrored in cases]))
    for image, changed, (down, right, mirrored) in zip(images, found, cases, strict=True):
        np.testing.assert_array_equal(changed.numpy(), _moved(image.numpy(), down, right, mirrored=mirrored))


@pytest.mark.parametrize(("height", "width"), [(9, 9), (7, 12)])
@pytest.mark.parametrize("angle", [-170.0, -30.0, 12.5, 90.0])
def test_rotation_equals_scipy(height: int, width: int, angle: float) -> None:
    """Bilinear between pixels and the edge beyond it, also where a side is longer: no image is sheared."""
    images = _images(2, 2, height, width)
    found = rotate(images, torch.tensor([angle, 0.0]))
    for channel in range(2):
        wanted = ndimage.rotate(images[0, channel].numpy(), angle, reshape=False, order=1, mode="nearest")
        np.testing.assert_allclose(found[0, channel].numpy(), wanted, atol=1e-4)
    torch.testing.assert_close(found[1], images[1])


def test_rotation_by_a_right_angle_turns_counter_clockwise() -> None:
    image = _images(1, 1, 6, 6)
    torch.testing.assert_close(rotate(image, torch.tensor([90.0])), image.rot90(1, (2, 3)))


def test_shifts_are_drawn_evenly_from_all_there_are() -> None:
    """A bright pixel lands on each of the 25 places within two pixels, about equally often, and nowhere else."""
    images = torch.zeros(5000, 1, 9, 9)
    images[:, 0, 4, 4] = 1
    places = Counter(_augmentation(shift=2)(images).flatten(1).argmax(dim=1).tolist())
    assert places.keys() == {9 * row + column for row in range(2, 7) for column in range(2, 7)}
    assert min(places.values()) > 140
    assert max(places.values()) < 260


def test_half_of_the_images_are_mirrored() -> None:
    images = torch.arange(4.0).expand(4000, 1, 1, 4)
    mirrored = _augmentation(flip=True)(images)[:, 0, 0, 0] == 3
    assert 1880 < int(mirrored.sum()) < 2120
    assert not bool((_augmentation(shift=1)(images)[:, 0, 0, 1] > 2).any())


def test_rotations_stay_within_the_largest_angle_on_both_sides() -> None:
    """The angle of a far pixel, read from where its mass went."""
    images = torch.zeros(500, 1, 41, 41)
    images[:, 0, 19:22, 35:38] = 1
    turned = _augmentation(rotation=20)(images)[:, 0]
    offsets = torch.arange(41) - 20.0
    mass = turned.sum(dim=(1, 2))
    down, right = (turned.sum(dim=2) @ offsets) / mass, (turned.sum(dim=1) @ offsets) / mass
    angles = torch.atan2(-down, right).rad2deg()
    assert float(angles.abs().max()) < 20.5
    assert float(angles.max()) > 18
    assert float(angles.min()) < -18


@pytest.mark.parametrize("options", [{"shift": 2}, {"flip": True}, {"rotation": 15.0}])
def test_draws_come_from_the_generator_and_only_in_training(options: dict[str, int | float | bool]) -> None:
    """Same seed, same images; another seed, others; evaluation and torch's global generator stay as they were."""
    images, before = _images(32, 1, 8, 8), torch.get_rng_state()
    first, again, other = (_augmentation(seed=seed, **options)(images) for seed in (1, 1, 2))  # pyright: ignore[reportArgumentType]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, images)
    assert torch.equal(_augmentation(**options).eval()(images), images)  # pyright: ignore[reportArgumentType]
    assert torch.equal(torch.get_rng_state(), before)


def test_without_options_nothing_changes_and_nothing_is_drawn() -> None:
    generator = torch.Generator().manual_seed(1)
    before, images = generator.get_state(), _images(3, 1, 4, 4)
    assert torch.equal(Augmentation(0, 0.0, generator, horizontal_flip=False).train()(images), images)
    assert torch.equal(generator.get_state(), before)
