"""Zips of ``label/picture.png`` as arrays: looked at, then decoded one by one into one array of their final size.

The training part decides what all parts become: grey unless it holds colour, and its most common size, unless the
options say otherwise. Called by the kind ``images``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from pydantic import JsonValue

from models.contract.errors import PayloadTooLarge
from models.contract.task import Array
from models.data.images.npz import LARGEST_BYTES
from models.data.images.pixels import Background, BadPicture, Look, Resize, Wanted, look, pixels_of
from models.data.images.zip_archive import ImageZip, Listing, Picture
from models.data.kind import UploadedFile
from models.data.problems import Problems

RULES = {
    "stretch": "stretched to it",
    "pad": "fitted into it and padded",
    "crop": "scaled to cover it and cropped at the centre",
    "refuse": "refused",
}


@dataclass(frozen=True)
class Choices:
    """What the options say of pictures; None leaves it to the training part."""

    mode: str | None
    size: tuple[int, int] | None
    resize: Resize
    background: Background


@dataclass(frozen=True)
class Folders:
    """Pictures and labels of one part: (count, height, width[, 3]) uint8, and a label for each."""

    images: Array
    labels: list[str]


def read_folders(
    files: Mapping[str, UploadedFile], choices: Choices
) -> tuple[dict[str, Folders], dict[str, JsonValue]]:
    """Return the parts and what is to be known of how they were read: ``resize``, ``background`` and ``rules``.

    Raises:
        InvalidDataset: names each file that cannot be read or does not belong there, up to twenty.
        PayloadTooLarge: the arrays would be larger than ``LARGEST_BYTES``.
    """
    problems = Problems()
    with ExitStack() as stack:
        archives = {part: stack.enter_context(ImageZip(part, file, problems)) for part, file in files.items()}
        listings = {part: _listed(archive, problems) for part, archive in archives.items()}
        problems.check()
        looks = _looks(archives["train"], listings["train"])
        if not looks:
            problems.check()
        wanted = _wanted(looks, choices)
        _check_memory(listings, wanted)
        found = {part: _decoded(archive, listings[part], wanted) for part, archive in archives.items()}
        problems.check()
    ignored: JsonValue = {part: listing.ignored for part, listing in listings.items() if listing.ignored}
    rules: JsonValue = [*_rules(looks, wanted, choices)]
    meta: dict[str, JsonValue] = {"resize": wanted.resize, "background": wanted.background, "rules": rules}
    return found, meta | ({"ignored_files": ignored} if ignored else {})


def _listed(archive: ImageZip, problems: Problems) -> Listing:
    before = problems.count
    listing = archive.listing()
    if archive.part == "train":
        for label in listing.empty_labels:
            archive.problem(f"{label}/", "holds no picture; add some or take the folder out")
    if not listing.pictures and problems.count == before:
        problems.add(archive.part, f"{archive.name}: holds no pictures; each lies in the folder of its label")
    return listing


def _looks(archive: ImageZip, listing: Listing) -> Counter[Look]:
    """Return how often each look occurs, from the headers alone; what has none leaves the listing as a problem."""
    looks: Counter[Look] = Counter()
    sound: list[Picture] = []
    for picture in listing.pictures:
        try:
            looks[look(archive.bytes_of(picture))] += 1
            sound.append(picture)
        except (BadPicture, ValueError) as error:
            archive.problem(picture.path, str(error))
    listing.pictures = sound
    return looks


def _wanted(looks: Counter[Look], choices: Choices) -> Wanted:
    """Return what pictures become; of sizes that are equally common, the smallest."""
    sizes: Counter[tuple[int, int]] = Counter()
    for seen, count in looks.items():
        sizes[seen.height, seen.width] += count
    size = choices.size or min(sizes, key=lambda sides: (-sizes[sides], math.prod(sides), sides))
    grey = choices.mode == "grey" if choices.mode else all(seen.grey for seen in looks)
    return Wanted(size if grey else (*size, 3), choices.resize, choices.background)


def _check_memory(listings: Mapping[str, Listing], wanted: Wanted) -> None:
    count = sum(len(listing.pictures) for listing in listings.values())
    needed = count * math.prod(wanted.shape)
    if needed > LARGEST_BYTES:
        sides = " × ".join(map(str, wanted.shape))
        message = (
            f"/train: {count} pictures of {sides} are {needed} bytes; at most {LARGEST_BYTES} are read. "
            'Choose a smaller size with the option "size": [height, width].'
        )
        raise PayloadTooLarge(message)


def _decoded(archive: ImageZip, listing: Listing, wanted: Wanted) -> Folders:
    images = np.empty((len(listing.pictures), *wanted.shape), np.uint8)
    for row, picture in enumerate(listing.pictures):
        _decode(archive, picture, wanted, images[row])
    return Folders(images, [picture.label for picture in listing.pictures])


def _decode(archive: ImageZip, picture: Picture, wanted: Wanted, row: Array) -> None:
    try:
        row[...] = pixels_of(archive.bytes_of(picture), wanted)
    except (BadPicture, ValueError) as error:
        archive.problem(picture.path, str(error))


def _rules(looks: Counter[Look], wanted: Wanted, choices: Choices) -> list[str]:
    """Return in sentences what was decided, and by what."""
    height, width = wanted.shape[:2]
    fitting = sum(count for seen, count in looks.items() if (seen.height, seen.width) == (height, width))
    chosen = "as the options say" if choices.size else "the most common in train"
    others = looks.total() - fitting
    if choices.mode:
        mode = "as the options say"
    else:
        mode = "as all in train are" if len(wanted.shape) == 2 else "as train holds colour"
    resized = RULES[wanted.resize] + ("" if wanted.resize == "refuse" else " (bilinear)")
    return [
        f"Pictures are {'grey' if len(wanted.shape) == 2 else 'RGB'}, {mode}.",
        f"Their size is {height} × {width} (height × width), {chosen}.",
        f"Of other sizes, which {others} of {looks.total()} in train have, they are {resized}.",
        f"EXIF orientation is applied, and transparency lies on {wanted.background}.",
        "Of 16-bit samples the upper 8 bits are read, and of animations the first frame.",
    ]
