"""Images with the factors behind them: npz archives, or a generated world whose images are drawn on demand.

Parts: ``train``, optional ``validation`` and ``test``: npz with ``images`` (examples, height, width[, channels]) and
``factors`` (examples, factors), optionally ``names`` (factors,). Arrays of a split: ``images`` as those of the kind
``images``, and ``factors`` int64: for each factor the index of its class, the distinct values of the training split in
order. Without files the option ``world`` names a generated one; its content in the store is factors alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast

import numpy as np
from pydantic import Field, JsonValue

from models.contract.errors import InvalidDataset, ValidationFailed
from models.contract.task import Array, Split
from models.data.images.arrays import (
    check_header,
    check_images,
    check_range,
    encoded,
    pixel_statistics,
    shape_facts,
    value_range_of,
)
from models.data.images.npz import listed_arrays, read_npz
from models.data.kind import Content, DatasetKind, SplitOptions, UploadedFile
from models.data.worlds.sprites import WORLDS

SPLITS = ("train", "validation", "test")
MOST_FACTORS = 64
MOST_CLASSES = 1_000
LONGEST_NAME = 64
MOST_NAMED = 5


class FactorsOptions(SplitOptions):
    """Options of the kind ``factors``."""

    world: Literal["sprites", "ellipses"] | None = Field(
        default=None, description="A generated world in place of files, as the built-in datasets of these names are."
    )
    value_range: tuple[float, float] | None = Field(
        default=None,
        description="Smallest and largest pixel value; default 0 to 255 for whole numbers, else that of the data.",
    )


class Factors(DatasetKind):
    """Images with the factors behind them."""

    name = "factors"
    title = "Images with the factors behind them (npz), for scores of disentanglement"
    options: ClassVar[type[SplitOptions]] = FactorsOptions

    def read(self, files: Mapping[str, UploadedFile], options: SplitOptions) -> Content:
        """Return the splits found in ``files``, or the factors of a world."""
        assert isinstance(options, FactorsOptions)
        if options.world is not None:
            return _world(files, options)
        raw = {part: _read(part, file) for part, file in files.items()}
        if "train" not in raw:
            raise InvalidDataset.at("/train", "is missing; send an npz with 'images' and 'factors' as 'train'")
        train = raw["train"]
        for part, arrays in raw.items():
            check_images(part, arrays["images"], train["images"])
            _check_factors(part, arrays, train["factors"].shape[-1])
        low, high = options.value_range or value_range_of(train["images"])
        if low >= high:
            raise ValidationFailed.at("/options/value_range", "must be [low, high] with low < high")
        check_range(train["images"], low, high)
        values = [np.unique(column) for column in train["factors"].T]
        names = _names(train, len(values))
        for name, found in zip(names, values, strict=True):
            if len(found) > MOST_CLASSES:
                detail = f"factor '{name}' has {len(found)} values; at most {MOST_CLASSES} are classes, so round them"
                raise InvalidDataset.at("/train", detail)
        splits = {part: _classified(part, arrays, values, names) for part, arrays in raw.items()}
        factors = [_described(name, found.tolist()) for name, found in zip(names, values, strict=True)]
        meta: dict[str, JsonValue] = {**shape_facts(train["images"]), "value_range": [low, high]}
        return Content(splits, {**meta, "factors": list[JsonValue](factors)})

    def facts(self, content: Content) -> dict[str, JsonValue]:
        """Return mean and standard deviation of the training pixels."""
        train, world = content.splits["train"], content.meta.get("world")
        if world is None:
            return pixel_statistics(train["images"])
        drawn = WORLDS[str(world)]
        mean = float(drawn.white(train["factors"]).mean()) / drawn.side**2
        return {"pixel_mean": mean, "pixel_standard_deviation": float(np.sqrt(mean * (1 - mean)))}

    def drawn(self, content: Content) -> Content:
        """Return the content with the images of its world."""
        world = content.meta.get("world")
        if world is None:
            return content
        splits: dict[str, Split] = {
            name: {"images": WORLDS[str(world)].draw(split["factors"]), "factors": split["factors"].astype(np.int64)}
            for name, split in content.splits.items()
        }
        return Content(splits, content.meta)

    def preview(self, content: Content, split: str, count: int) -> list[dict[str, JsonValue]]:
        """Return base64 PNG images with the value of each factor."""
        arrays = content.splits[split]
        factors = cast("list[dict[str, Any]]", content.meta["factors"])
        return [
            {
                "image": encoded(image, content.meta),
                "factors": {
                    factor["name"]: factor["values"][index] for factor, index in zip(factors, classes, strict=True)
                },
            }
            for image, classes in zip(arrays["images"][:count], arrays["factors"][:count].tolist(), strict=True)
        ]


KIND = Factors()


def _world(files: Mapping[str, UploadedFile], options: FactorsOptions) -> Content:
    """Return the classes of a generated world, uint8, and its facts; nothing is drawn."""
    if files:
        raise ValidationFailed.at("/options/world", "is drawn and not read; leave it out, or the files")
    if options.value_range not in (None, (0, 1)):
        raise ValidationFailed.at("/options/value_range", "is 0 to 1 for a generated world; leave it out")
    world = WORLDS[str(options.world)]
    factors = [_described(name, list(range(count))) for name, count in world.factors.items()]
    meta: dict[str, JsonValue] = {
        "world": options.world,
        "combinations": world.combinations,
        "height": world.side,
        "width": world.side,
        "channels": None,
        "value_range": [0.0, 1.0],
        "factors": list[JsonValue](factors),
    }
    return Content({"train": {"factors": world.classes()}}, meta)


def _read(part: str, file: UploadedFile) -> Split:
    """Return the arrays of one archive.

    Raises:
        InvalidDataset: the part has no place here, or the archive no images or no factors.
    """
    if part not in SPLITS:
        names = ", ".join(SPLITS)
        raise InvalidDataset.at(f"/{part}", f"is not a part of a dataset with factors; use {names}")

    def check(name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        if name == "images":
            check_header(part, shape, dtype)

    arrays = read_npz(part, file.path, ("images", "factors", "names"), check)
    if "images" not in arrays or "factors" not in arrays:
        found = listed_arrays(file.path)
        raise InvalidDataset.at(f"/{part}", f"needs the arrays 'images' and 'factors'; it has: {found}")
    return arrays


def _check_factors(part: str, arrays: Split, count: int) -> None:
    factors, images = arrays["factors"], arrays["images"]
    if factors.ndim != 2 or len(factors) != len(images):
        detail = f"has {len(images)} images but factors of shape {factors.shape}; send (examples, factors)"
        raise InvalidDataset.at(f"/{part}", detail)
    if factors.shape[1] != count or not 1 <= count <= MOST_FACTORS:
        detail = f"has {factors.shape[1]} factors; all parts need the same number, from 1 to {MOST_FACTORS}"
        raise InvalidDataset.at(f"/{part}", detail)
    if factors.dtype.kind not in "iuf":
        raise InvalidDataset.at(f"/{part}", f"factors must be numbers, not {factors.dtype}")
    if factors.dtype.kind == "f" and not np.isfinite(factors).all():
        raise InvalidDataset.at(f"/{part}", "has factors that are NaN or infinite; replace them and upload again")


def _names(train: Split, count: int) -> list[str]:
    """Return what the archive calls its factors, else numbers from 0."""
    if "names" not in train:
        return [f"factor {index}" for index in range(count)]
    given = train["names"]
    if given.shape != (count,) or given.dtype.kind != "U":
        raise InvalidDataset.at("/train", f"names must be {count} strings, one for each factor")
    names = [str(name) for name in given.tolist()]
    if len(set(names)) < count or any(not 0 < len(name) <= LONGEST_NAME for name in names):
        detail = f"names of factors must differ from one another and have 1 to {LONGEST_NAME} letters"
        raise InvalidDataset.at("/train", detail)
    return names


def _classified(part: str, arrays: Split, values: list[Array], names: list[str]) -> Split:
    """Return images as they are kept, and of each factor the index of its class.

    Raises:
        InvalidDataset: a part has a value that the training part does not have.
    """
    columns: list[Array] = []
    for name, column, known in zip(names, arrays["factors"].T, values, strict=True):
        classes = cast("Array", np.searchsorted(known, column)).clip(max=len(known) - 1)
        strange = np.unique(column[known[classes] != column]).tolist()
        if strange:
            listed = ", ".join(map(str, strange[:MOST_NAMED]))
            detail = f"has values of '{name}' that 'train' does not have: {listed}; add some or leave them out"
            raise InvalidDataset.at(f"/{part}", detail)
        columns.append(classes)
    images = arrays["images"]
    kept = images if images.dtype == np.uint8 else images.astype(np.float32)
    return {"images": kept, "factors": np.stack(columns, axis=1).astype(np.int64)}


def _described(name: str, values: list[Any]) -> dict[str, JsonValue]:
    return {"name": name, "values": values}
