"""Labelled images of one size: npz archives or idx pairs, read without ever unpickling.

Parts: ``train`` (npz with ``x_train, y_train[, x_test, y_test]`` or ``images, labels``), optional
``validation`` and ``test`` (npz with ``images, labels``), or idx pairs ``train_images`` + ``train_labels``
(and ``validation_…``, ``test_…``), plain or gzipped.

Arrays of a split: ``images`` (examples, height, width[, channels]) uint8 or float32 in the dataset's own
scale, ``labels`` (examples,) int64 indices into ``meta["classes"]``.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field, JsonValue, model_validator

from models.contract.errors import InvalidDataset
from models.contract.task import Array
from models.data.idx import read_idx
from models.data.image_facts import ImageFacts
from models.data.kind import Content, DatasetKind, SplitOptions, UploadedFile
from models.data.npz import read_npz

SPLITS = ("train", "validation", "test")
LARGEST_SIDE = 4_096
LARGEST_CLASS_COUNT = 10_000
IMAGE_ARRAYS = ("images", "x_train", "x_test")
NPZ_NAMES = (("images", "labels"), ("x_train", "y_train"))


class ImagesOptions(SplitOptions):
    """Options of the kind ``images``."""

    value_range: tuple[float, float] | None = Field(
        default=None,
        description="Smallest and largest pixel value; default 0 to 255 for whole numbers, else that of the data.",
    )

    @model_validator(mode="after")
    def _range_is_ordered(self) -> ImagesOptions:
        if self.value_range is not None and self.value_range[0] >= self.value_range[1]:
            message = "value_range must be [low, high] with low < high"
            raise ValueError(message)
        return self


class Images(DatasetKind):
    """Labelled images."""

    name = "images"
    title = "Labelled images of one size (npz or idx)"
    options: ClassVar[type[SplitOptions]] = ImagesOptions
    stratify = "labels"

    def read(self, files: Mapping[str, UploadedFile], options: SplitOptions) -> Content:
        """Return the splits found in ``files``; see the module docstring for their names."""
        raw = _read_parts(files)
        if "train" not in raw:
            raise _invalid(
                "train",
                "is missing; send an npz as 'train', or idx files as 'train_images' and 'train_labels'",
            )
        for part, (images, labels) in raw.items():
            _check(part, images, labels, raw["train"][0])
        labelled = {part: _names(part, labels) for part, (_, labels) in raw.items()}
        classes = _classes(labelled.values())
        if len(classes) < 2:
            only = ", ".join(classes)
            raise _invalid("train", f"holds one class only ({only}); a classifier needs at least two")
        position = {label: index for index, label in enumerate(classes)}
        splits = {
            part: {
                "images": images if images.dtype == np.uint8 else images.astype(np.float32),
                "labels": np.array([position[str(label)] for label in labelled[part]], dtype=np.int64),
            }
            for part, (images, _) in raw.items()
        }
        height, width, *channels = raw["train"][0].shape[1:]
        meta: dict[str, JsonValue] = {
            "height": height,
            "width": width,
            "channels": channels[0] if channels else None,
            "classes": list(classes),
        }
        assert isinstance(options, ImagesOptions)
        low, high = options.value_range or _value_range(raw["train"][0])
        _check_range(raw, low, high)
        meta["value_range"] = [low, high]
        return Content(splits, meta)

    def facts(self, content: Content) -> dict[str, JsonValue]:
        """Return the class balance per split, and mean and standard deviation of the training pixels."""
        train = content.splits["train"]["images"]
        classes = content.meta["classes"]
        assert isinstance(classes, list)
        balance: dict[str, JsonValue] = {
            name: {
                str(label): int(count)
                for label, count in zip(classes, np.bincount(split["labels"], minlength=len(classes)), strict=True)
            }
            for name, split in content.splits.items()
        }
        return {
            "class_balance": balance,
            "pixel_mean": float(train.mean(dtype=np.float64)),
            "pixel_standard_deviation": float(train.std(dtype=np.float64)),
        }

    def preview(self, content: Content, split: str, count: int) -> list[dict[str, JsonValue]]:
        """Return labels and base64 PNG images."""
        from PIL import Image  # noqa: PLC0415 - only previews need it, and the gateway starts without

        arrays, facts = content.splits[split], ImageFacts.of(content.meta)
        low, high = facts.value_range
        items: list[dict[str, JsonValue]] = []
        for image, label in zip(arrays["images"][:count], arrays["labels"][:count].tolist(), strict=True):
            fractions = np.clip((image.astype(np.float64) - low) / (high - low), 0, 1)
            pixels = (fractions * 255).round().astype(np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels.squeeze()).save(buffer, "PNG")
            items.append({"label": facts.classes[label], "image": base64.b64encode(buffer.getvalue()).decode()})
        return items


KIND = Images()


def _invalid(part: str, detail: str) -> InvalidDataset:
    return InvalidDataset.at(f"/{part}", detail)


def _read_parts(files: Mapping[str, UploadedFile]) -> dict[str, tuple[Array, Array]]:
    """Return images and labels as uploaded, by split."""
    raw: dict[str, tuple[Array, Array]] = {}
    for part in files:
        if part not in SPLITS and part.removesuffix("_images").removesuffix("_labels") not in SPLITS:
            names = ", ".join(SPLITS)
            raise _invalid(
                part,
                f"is not a part of an images dataset; use {names} (npz) or <split>_images and <split>_labels (idx)",
            )
    for split in SPLITS:
        images, labels = files.get(f"{split}_images"), files.get(f"{split}_labels")
        if (images is None) != (labels is None):
            missing = f"{split}_labels" if labels is None else f"{split}_images"
            raise _invalid(missing, f"is missing; idx files come in pairs, '{split}_images' with '{split}_labels'")
        if images is not None and labels is not None:
            if split in files:
                raise _invalid(split, f"and '{split}_images' both bring the same split; send one of them")
            raw[split] = (
                _read_idx_images(f"{split}_images", images),
                read_idx(f"{split}_labels", labels.path, 1),
            )
        elif split in files:
            raw |= _read_archive(split, files[split], files)
    return raw


def _read_idx_images(part: str, file: UploadedFile) -> Array:
    return read_idx(part, file.path, 3, lambda shape: _check_header(part, shape, np.dtype(np.uint8)))


def _read_archive(split: str, file: UploadedFile, files: Mapping[str, UploadedFile]) -> dict[str, tuple[Array, Array]]:
    def check(name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        if name in IMAGE_ARRAYS:
            _check_header("test" if name == "x_test" else split, shape, dtype)

    arrays = read_npz(split, file.path, (*IMAGE_ARRAYS, "labels", "y_train", "y_test"), check)
    for images, labels in NPZ_NAMES:
        if images in arrays and labels in arrays:
            found = {split: (arrays[images], arrays[labels])}
            break
    else:
        names = ", ".join(arrays) or "none"
        raise _invalid(split, f"needs the arrays 'images' and 'labels' (or 'x_train' and 'y_train'); it has: {names}")
    if split == "train" and "x_test" in arrays and "y_test" in arrays:
        if "test" in files or "test_images" in files:
            raise _invalid("test", "comes twice: as a part of its own and as x_test in 'train'; send one of them")
        found["test"] = (arrays["x_test"], arrays["y_test"])
    return found


def _check_header(part: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Refuse by shape and dtype alone, before a pixel is read."""
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3, 4)):
        found = " × ".join(map(str, shape))
        raise _invalid(
            part,
            f"images must be (count, height, width) or (count, height, width, 1, 3 or 4 channels), not {found}",
        )
    if shape[0] == 0:
        raise _invalid(part, "holds no images")
    if 0 in shape or max(shape[1:3]) > LARGEST_SIDE:
        raise _invalid(
            part,
            f"images are {shape[1]} × {shape[2]} pixels; sides from 1 to {LARGEST_SIDE} are read, so scale them down",
        )
    if dtype.kind not in "uif":
        raise _invalid(part, f"images must be numbers, not {dtype}")


def _check(part: str, images: Array, labels: Array, train: Array) -> None:
    if labels.ndim != 1 or len(labels) != len(images):
        raise _invalid(part, f"has {len(images)} images but labels of shape {labels.shape}; send one label per image")
    if images.shape[1:] != train.shape[1:]:
        raise _invalid(
            part,
            f"images are {images.shape[1:]}, those of 'train' are {train.shape[1:]}; all must have one size",
        )
    finite = np.abs(images) <= np.finfo(np.float32).max if images.dtype.kind == "f" else np.ones(1, dtype=bool)
    if not finite.all():
        first = int(np.flatnonzero(~finite.reshape(len(images), -1).all(axis=1))[0])
        raise _invalid(part, f"image {first} has pixels that are NaN or infinite; replace them and upload again")
    if labels.dtype.kind not in "iuUS":
        raise _invalid(part, f"labels must be whole numbers or strings, not {labels.dtype}")


def _names(part: str, labels: Array) -> list[int | str]:
    """Return the labels as numbers or text, bytes decoded."""
    try:
        return [label.decode() if isinstance(label, bytes) else label for label in labels.tolist()]
    except UnicodeDecodeError as error:
        raise _invalid(part, f"has labels that are not UTF-8 text ({error})") from error


def _classes(labels: Iterable[list[int | str]]) -> tuple[str, ...]:
    """Return the names of all labels, numbers in their order before text in its."""
    values = {value for names in labels for value in names}
    if len(values) > LARGEST_CLASS_COUNT:
        raise _invalid("train", f"has {len(values)} classes; at most {LARGEST_CLASS_COUNT} are supported")
    numbers = sorted(value for value in values if isinstance(value, int))
    texts = sorted(value for value in values if isinstance(value, str))
    return tuple(dict.fromkeys([*map(str, numbers), *texts]))


def _value_range(images: Array) -> tuple[float, float]:
    """Return 0 to 255 for whole numbers in it, 0 to 1 for fractions in it, else the data's own range."""
    low, high = float(images.min()), float(images.max())
    if images.dtype.kind in "iu" and low >= 0 and high <= 255:
        return 0.0, 255.0
    if images.dtype.kind == "f" and low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high if high > low else low + 1.0


def _check_range(raw: Mapping[str, tuple[Array, Array]], low: float, high: float) -> None:
    for part, (images, _) in raw.items():
        if part == "train" and (images.min() < low or images.max() > high):
            raise _invalid(
                part, f"pixels run from {images.min()} to {images.max()}, outside value_range [{low}, {high}]"
            )
