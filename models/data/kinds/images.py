"""Labelled images: npz archives or idx pairs of one size, read without ever unpickling, or zips of picture files.

Parts: ``train`` (npz with ``x_train, y_train[, x_test, y_test]`` or ``images, labels``; or a zip of
``label/picture.png|jpg``), optional ``validation`` and ``test`` (npz with ``images, labels``, or such a zip), or
idx pairs ``train_images`` + ``train_labels`` (and ``validation_…``, ``test_…``), plain or gzipped.

Arrays of a split: ``images`` (examples, height, width[, channels]) uint8 or float32 in the dataset's own
scale, ``labels`` (examples,) int64 indices into ``meta["classes"]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, JsonValue, model_validator

from models.contract.errors import InvalidDataset, ValidationFailed
from models.contract.task import Array
from models.data.images.arrays import (
    LARGEST_SIDE,
    check_header,
    check_images,
    check_range,
    encoded,
    pixel_statistics,
    shape_facts,
    value_range_of,
)
from models.data.images.facts import ImageFacts
from models.data.images.folders import Choices, read_folders
from models.data.images.idx import read_idx
from models.data.images.npz import listed_arrays, read_npz
from models.data.images.pixels import Background, Resize
from models.data.images.zip_archive import holds_folders
from models.data.kind import Content, DatasetKind, SplitOptions, UploadedFile

SPLITS = ("train", "validation", "test")
LARGEST_CLASS_COUNT = 10_000
IMAGE_ARRAYS = ("images", "x_train", "x_test")
NPZ_NAMES = (("images", "labels"), ("x_train", "y_train"))
MOST_NAMED = 5
LONGEST_NUMBER = 20
ZIP_OPTIONS = ("mode", "size", "resize", "background")

Side = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]


class ImagesOptions(SplitOptions):
    """Options of the kind ``images``."""

    value_range: tuple[float, float] | None = Field(
        default=None,
        description="Smallest and largest pixel value; default 0 to 255 for whole numbers, else that of the data.",
    )
    mode: Literal["grey", "rgb"] | None = Field(
        default=None, description="What pictures of a zip become; default grey unless the training part holds colour."
    )
    size: tuple[Side, Side] | None = Field(
        default=None,
        description="Height and width of the pictures of a zip; default the most common size of the training part.",
    )
    resize: Resize = Field(
        default="stretch",
        description="What happens to pictures of another size, also in requests: their sides are stretched, they are "
        "fitted in and padded with the background, they are scaled to cover and cropped, or they are refused.",
    )
    background: Background = Field(default="white", description="What transparent pixels of a zip are laid over.")

    @model_validator(mode="after")
    def _range_is_ordered(self) -> ImagesOptions:
        if self.value_range is not None and self.value_range[0] >= self.value_range[1]:
            message = "value_range must be [low, high] with low < high"
            raise ValueError(message)
        return self


class Images(DatasetKind):
    """Labelled images."""

    name = "images"
    title = "Labelled images (npz, idx, or a zip of label/picture.png)"
    options: ClassVar[type[SplitOptions]] = ImagesOptions
    stratify = "labels"

    def read(self, files: Mapping[str, UploadedFile], options: SplitOptions) -> Content:
        """Return the splits found in ``files``; see the module docstring for their names."""
        assert isinstance(options, ImagesOptions)
        zips = {part: file for part, file in files.items() if part in SPLITS and holds_folders(file)}
        raw, meta = _read_zips(files, zips, options) if zips else _read_arrays(files, options)
        labelled = {part: _names(part, labels) for part, (_, labels) in raw.items()}
        classes = _classes(labelled)
        position = {label: index for index, label in enumerate(classes)}
        splits = {
            part: {
                "images": images if images.dtype == np.uint8 else images.astype(np.float32),
                "labels": np.array([position[str(label)] for label in labelled[part]], dtype=np.int64),
            }
            for part, (images, _) in raw.items()
        }
        shape = {**shape_facts(raw["train"][0]), "classes": list[JsonValue](classes)}
        return Content(splits, shape | meta)

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
            **pixel_statistics(train),
        }

    def preview(self, content: Content, split: str, count: int) -> list[dict[str, JsonValue]]:
        """Return labels and base64 PNG images."""
        arrays, classes = content.splits[split], ImageFacts.of(content.meta).classes
        pairs = zip(arrays["images"][:count], arrays["labels"][:count].tolist(), strict=True)
        return [{"label": classes[label], "image": encoded(image, content.meta)} for image, label in pairs]


KIND = Images()

Raw = dict[str, tuple[Array, Array]]
"""Images and labels by split, the labels as numbers or text."""


def _invalid(part: str, detail: str) -> InvalidDataset:
    return InvalidDataset.at(f"/{part}", detail)


def _read_zips(
    files: Mapping[str, UploadedFile], zips: Mapping[str, UploadedFile], options: ImagesOptions
) -> tuple[Raw, dict[str, JsonValue]]:
    """Return pictures and labels by split, and what is known of them."""
    for part in files:
        if part not in zips:
            first = next(iter(zips))
            raise _invalid(
                part, f"comes in another form than '{first}', a zip of pictures; send all parts as such zips"
            )
    if "train" not in zips:
        raise _invalid("train", "is missing; send a zip of label/picture.png as 'train'")
    if options.value_range not in (None, (0, 255)):
        raise ValidationFailed.at("/options/value_range", "is 0 to 255 for a zip of pictures; leave it out")
    choices = Choices(options.mode, options.size, options.resize, options.background)
    found, meta = read_folders(zips, choices)
    raw = {part: (folders.images, np.array(folders.labels, dtype=object)) for part, folders in found.items()}
    return raw, {"value_range": [0.0, 255.0], **meta}


def _read_arrays(files: Mapping[str, UploadedFile], options: ImagesOptions) -> tuple[Raw, dict[str, JsonValue]]:
    """Return images and labels of npz archives or idx pairs by split, and their range."""
    raw = _read_parts(files)
    if "train" not in raw:
        raise _invalid(
            "train",
            "is missing; send an npz or a zip of pictures as 'train', or idx files as 'train_images', 'train_labels'",
        )
    for name in ZIP_OPTIONS:
        if name in options.model_fields_set:
            raise ValidationFailed.at(f"/options/{name}", "is for zips of pictures only; leave it out")
    for part, (images, labels) in raw.items():
        if labels.ndim != 1 or len(labels) != len(images):
            detail = f"has {len(images)} images but labels of shape {labels.shape}; send one label per image"
            raise _invalid(part, detail)
        check_images(part, images, raw["train"][0])
        if labels.dtype.kind not in "iuUS":
            raise _invalid(part, f"labels must be whole numbers or strings, not {labels.dtype}")
    low, high = options.value_range or value_range_of(raw["train"][0])
    check_range(raw["train"][0], low, high)
    return raw, {"value_range": [low, high]}


def _read_parts(files: Mapping[str, UploadedFile]) -> Raw:
    """Return images and labels as uploaded, by split."""
    raw: Raw = {}
    for part in files:
        if part not in SPLITS and part.removesuffix("_images").removesuffix("_labels") not in SPLITS:
            names = ", ".join(SPLITS)
            raise _invalid(
                part,
                f"is not a part of an images dataset; use {names} (npz, zip), <split>_images and <split>_labels (idx)",
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
    return read_idx(part, file.path, 3, lambda shape: check_header(part, shape, np.dtype(np.uint8)))


def _read_archive(split: str, file: UploadedFile, files: Mapping[str, UploadedFile]) -> Raw:
    def check(name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        if name in IMAGE_ARRAYS:
            check_header("test" if name == "x_test" else split, shape, dtype)

    arrays = read_npz(split, file.path, (*IMAGE_ARRAYS, "labels", "y_train", "y_test"), check)
    for images, labels in NPZ_NAMES:
        if images in arrays and labels in arrays:
            found = {split: (arrays[images], arrays[labels])}
            break
    else:
        names = listed_arrays(files[split].path)
        raise _invalid(split, f"needs the arrays 'images' and 'labels' (or 'x_train' and 'y_train'); it has: {names}")
    if split == "train" and "x_test" in arrays and "y_test" in arrays:
        if "test" in files or "test_images" in files:
            raise _invalid("test", "comes twice: as a part of its own and as x_test in 'train'; send one of them")
        found["test"] = (arrays["x_test"], arrays["y_test"])
    return found


def _names(part: str, labels: Array) -> list[int | str]:
    """Return the labels as numbers or text, bytes decoded."""
    try:
        return [label.decode() if isinstance(label, bytes) else label for label in labels.tolist()]
    except UnicodeDecodeError as error:
        raise _invalid(part, f"has labels that are not UTF-8 text ({error})") from error


def _classes(labelled: Mapping[str, list[int | str]]) -> tuple[str, ...]:
    """Return the names of all labels in train, whole numbers in their order before text in its."""
    classes = set(map(str, labelled["train"]))
    if len(classes) > LARGEST_CLASS_COUNT:
        raise _invalid("train", f"has {len(classes)} classes; at most {LARGEST_CLASS_COUNT} are supported")
    if len(classes) < 2:
        only = ", ".join(classes)
        raise _invalid("train", f"holds one class only ({only}); a classifier needs at least two")
    for part, labels in labelled.items():
        strange = sorted(set(map(str, labels)) - classes)
        if strange:
            named = ", ".join(f"'{label}'" for label in strange[:MOST_NAMED])
            more = f" and {len(strange) - MOST_NAMED} more" if len(strange) > MOST_NAMED else ""
            raise _invalid(
                part, f"has classes of which 'train' holds no example: {named}{more}; add some or leave them out"
            )
    numbers = sorted((label for label in classes if _is_number(label)), key=int)
    return (*numbers, *sorted(label for label in classes if not _is_number(label)))


def _is_number(label: str) -> bool:
    """Return whether the label is a whole number as numbers are written, so that '10' follows '9' but '007' is text."""
    digits = label.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) <= LONGEST_NUMBER and str(int(label)) == label
