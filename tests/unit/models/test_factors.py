"""Images with the factors behind them: generated worlds, uploads, and what is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from models.artifacts.datasets import Datasets
from models.artifacts.store import ArtifactStore
from models.catalog import Catalog
from models.contract.errors import InvalidDataset, ValidationFailed
from models.contract.task import Array
from models.data.kind import Content, UploadedFile
from models.data.kinds.factors import KIND, FactorsOptions
from models.data.worlds.sprites import POSITIONS, ROTATIONS, SCALES, WORLDS

SPRITES, ELLIPSES = WORLDS["sprites"], WORLDS["ellipses"]


def _read(folder: Path, options: Mapping[str, object] | None = None, **parts: Mapping[str, Any]) -> Content:
    files: dict[str, UploadedFile] = {}
    for part, arrays in parts.items():
        path = folder / f"{part}.npz"
        cast("Any", np.savez)(path, **arrays)
        files[part] = UploadedFile(path.name, path)
    return KIND.read(files, FactorsOptions.parse(options or {}))


def _arrays(**changed: object) -> dict[str, object]:
    """Return six images of 3 × 2 pixels, whose factors are 0.5, 1.5 or 2.5, and 7 or 9."""
    factors = np.array([[0.5, 7], [1.5, 9], [2.5, 7], [0.5, 9], [1.5, 7], [2.5, 9]])
    return {"images": np.arange(36, dtype=np.uint8).reshape(6, 3, 2), "factors": factors, **changed}


def _drawn(**classes: int) -> Array:
    middle = {"shape": 0, "scale": 5, "rotation": 0, "x": 16, "y": 16, **classes}
    return SPRITES.draw(np.array([[middle[name] for name in SPRITES.factors]]))[0]


def test_sprites_have_the_grid_of_dsprites() -> None:
    assert SPRITES.combinations == 3 * 6 * 40 * 32 * 32 == 737_280
    classes = SPRITES.classes()
    assert len(np.unique(classes, axis=0)) == len(classes) == 40_000
    assert classes.max(axis=0).tolist() == [2, 5, 39, 31, 31]
    assert ELLIPSES.classes().shape == (6 * 32 * 32, 3)


def test_positions_move_the_sprite_by_whole_steps() -> None:
    """A step of x is a step of a pixel at 64, half a pixel at 32; the sprite stays whole to both ends."""
    first, last = _drawn(x=0, y=3), _drawn(x=31, y=3)
    assert np.array_equal(np.roll(first, 31, axis=1), last)
    assert np.array_equal(np.roll(_drawn(y=0), 31, axis=0), _drawn(y=31))
    ellipses = ELLIPSES.draw(np.array([[5, x, 7] for x in range(POSITIONS)]))
    assert np.array_equal(np.roll(ellipses[0], 15, axis=1), ellipses[30])
    assert not np.array_equal(np.roll(ellipses[0], 15, axis=1), ellipses[31])
    assert 0.95 < ellipses.sum(axis=(1, 2)).min() / ellipses.sum(axis=(1, 2)).max() <= 1


def test_scales_are_equal_steps_from_half_to_whole() -> None:
    widths = [int(_drawn(scale=scale).any(axis=0).sum()) for scale in range(SCALES)]
    assert widths == pytest.approx([2 * 0.68 * 16 * (0.5 + 0.1 * scale) for scale in range(SCALES)], abs=1)


def test_rotations_turn_and_the_square_has_four_alike() -> None:
    quarter = ROTATIONS // 4
    for shape in range(3):
        turned = np.rot90(_drawn(shape=shape, rotation=0, x=16, y=16)[1:, 1:], -1)
        # The centre lies between pixels, so that a quarter of a turn maps pixels onto pixels.
        assert np.array_equal(turned.sum(), _drawn(shape=shape, rotation=quarter).sum())
    assert np.array_equal(_drawn(rotation=0), _drawn(rotation=quarter))
    assert np.array_equal(_drawn(shape=1, rotation=0), _drawn(shape=1, rotation=ROTATIONS // 2))
    assert not np.array_equal(_drawn(shape=2, rotation=0), _drawn(shape=2, rotation=ROTATIONS // 2))
    wide = _drawn(shape=1, rotation=0)
    assert wide.any(axis=0).sum() > 1.5 * wide.any(axis=1).sum()


def test_every_image_of_the_small_world_differs() -> None:
    images = ELLIPSES.draw(ELLIPSES.classes())
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)


def test_white_pixels_are_counted_without_drawing() -> None:
    classes = SPRITES.classes()[:300]
    assert SPRITES.white(classes).tolist() == SPRITES.draw(classes).sum(axis=(1, 2)).tolist()


def test_built_in_worlds_are_kept_as_factors_and_drawn_when_asked_for(tmp_path: Path) -> None:
    """The store's record is small and says the truth of the images; a preview draws no more than it shows."""
    datasets = Datasets(ArtifactStore(tmp_path.as_uri()), Catalog())
    record = datasets.record("ellipses")
    assert record.payload_bytes < 32 * 6_144
    assert record.counts == {"train": 4301, "validation": 614, "test": 1229}
    content = datasets.content(record)
    train = content.splits["train"]
    assert np.array_equal(train["images"], ELLIPSES.draw(train["factors"]))
    assert train["images"].mean() == pytest.approx(record.meta["pixel_mean"])
    assert train["images"].std() == pytest.approx(record.meta["pixel_standard_deviation"])
    head = datasets.head(record, "test", 2)
    assert np.array_equal(head.splits["test"]["images"], content.splits["test"]["images"][:2])
    shown = KIND.preview(head, "test", 2)
    assert list(cast("dict[str, Any]", shown[0]["factors"])) == ["scale", "x", "y"]


def test_upload_numbers_the_classes_of_each_factor(tmp_path: Path) -> None:
    content = _read(tmp_path, train=_arrays(names=["size", "place"]), test=_arrays())
    assert content.splits["train"]["factors"].tolist() == [[0, 0], [1, 1], [2, 0], [0, 1], [1, 0], [2, 1]]
    assert content.splits["train"]["factors"].dtype == np.int64
    assert content.meta["factors"] == [
        {"name": "size", "values": [0.5, 1.5, 2.5]},
        {"name": "place", "values": [7.0, 9.0]},
    ]
    assert (content.meta["height"], content.meta["width"], content.meta["value_range"]) == (3, 2, [0.0, 255.0])
    facts = KIND.facts(content)
    assert facts["pixel_mean"] == pytest.approx(17.5)
    shown: Any = KIND.preview(Content(content.splits, {**content.meta, **facts}), "test", 6)
    assert [item["factors"]["size"] for item in shown] == [0.5, 1.5, 2.5, 0.5, 1.5, 2.5]
    assert _read(tmp_path, train=_arrays()).meta["factors"][0]["name"] == "factor 0"  # type: ignore[index]


WRONG: list[Any] = [
    pytest.param({"other": 1}, "/train", "needs the arrays 'images' and 'factors'", id="no arrays"),
    pytest.param({"images": _arrays()["images"], "labels": 1}, "/train", "it has: images, labels", id="other arrays"),
    pytest.param(_arrays(images=np.zeros((6, 3))), "/train", "must be (count, height, width)", id="flat images"),
    pytest.param(_arrays(factors=np.zeros(6)), "/train", "factors of shape (6,)", id="one axis"),
    pytest.param(_arrays(factors=np.zeros((5, 2))), "/train", "factors of shape (5, 2)", id="fewer factors"),
    pytest.param(_arrays(factors=np.zeros((6, 0))), "/train", "has 0 factors", id="no factors"),
    pytest.param(_arrays(factors=np.zeros((6, 65))), "/train", "from 1 to 64", id="too many factors"),
    pytest.param(_arrays(factors=np.full((6, 2), "x")), "/train", "must be numbers", id="text"),
    pytest.param(_arrays(factors=np.full((6, 2), np.nan)), "/train", "NaN", id="nan"),
    pytest.param(_arrays(names=["one"]), "/train", "names must be 2 strings", id="one name"),
    pytest.param(_arrays(names=["one", "one"]), "/train", "must differ", id="same names"),
    pytest.param(_arrays(names=["one", ""]), "/train", "1 to 64 letters", id="empty name"),
]


@pytest.mark.parametrize(("arrays", "pointer", "detail"), WRONG)
def test_archives_that_hold_something_else_are_refused(
    tmp_path: Path, arrays: dict[str, object], pointer: str, detail: str
) -> None:
    with pytest.raises(InvalidDataset) as refused:
        _read(tmp_path, train=arrays)
    assert refused.value.errors[0].pointer == pointer
    assert detail in refused.value.errors[0].detail


def test_parts_that_do_not_fit_the_training_part_are_refused(tmp_path: Path) -> None:
    strange = _arrays(factors=np.array([[0.5, 7]] * 5 + [[3.5, 7]]))
    for part, arrays, detail in (
        ("test", strange, "values of 'factor 0' that 'train' does not have: 3.5"),
        ("test", _arrays(images=np.zeros((6, 4, 4))), "all must have one size"),
        ("extra", _arrays(), "is not a part of a dataset with factors"),
    ):
        with pytest.raises(InvalidDataset) as refused:
            _read(tmp_path, train=_arrays(), **{part: arrays})
        assert refused.value.errors[0].pointer == f"/{part}"
        assert detail in refused.value.errors[0].detail
    with pytest.raises(InvalidDataset, match="is missing"):
        _read(tmp_path, test=_arrays())


def test_factor_of_too_many_values_is_refused(tmp_path: Path) -> None:
    count = 1_001
    arrays = {"images": np.zeros((count, 2, 2)), "factors": np.arange(count)[:, None] / 7}
    with pytest.raises(InvalidDataset, match="has 1001 values"):
        _read(tmp_path, train=arrays)


def test_world_with_files_or_another_range_is_refused(tmp_path: Path) -> None:
    for options, parts, pointer in (
        ({"world": "sprites"}, {"train": _arrays()}, "/options/world"),
        ({"world": "sprites", "value_range": [0, 9]}, {}, "/options/value_range"),
        ({"value_range": [9, 0]}, {"train": _arrays()}, "/options/value_range"),
    ):
        with pytest.raises(ValidationFailed) as refused:
            _read(tmp_path, options, **parts)
        assert refused.value.errors[0].pointer == pointer
