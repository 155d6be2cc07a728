"""Zips and pictures for tests, also such as no tool writes."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.contract.errors import InvalidDataset
from models.data.kind import Content, UploadedFile
from models.data.kinds.images import KIND

Members = Iterable[tuple[str | zipfile.ZipInfo, bytes]]


def picture(pixels: object, form: str = "PNG", **options: Any) -> bytes:
    """Return an encoded picture of an array or an image of Pillow."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.asarray(pixels, np.uint8))
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def plain(value: int, height: int = 2, width: int = 3) -> bytes:
    """Return a grey PNG of one value."""
    return picture(np.full((height, width), value))


def raw_png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG by its header's own words; ``chunks`` come before the pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    between = b"".join(chunk(name, data) for name, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + header + between + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def zipped(path: Path, members: Members, method: int = zipfile.ZIP_DEFLATED) -> UploadedFile:
    """Write a zip of ``members``; return it as it is uploaded."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return UploadedFile(path.name, path)


def two_classes(count: int = 3) -> list[tuple[str, bytes]]:
    """Return ``count`` grey pictures for each of 'cats' and 'dogs'."""
    pairs = (
        (f"{label}/{n}.png", plain(10 * n + shade))
        for shade, label in enumerate(("cats", "dogs"))
        for n in range(count)
    )
    return list(pairs)


class Reader:
    """Zips members by part into a folder and reads them as the kind ``images`` does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, train: Members, options: Mapping[str, object] | None = None, **others: Members) -> Content:
        parts = {"train": train, **others}
        files = {part: zipped(self._folder / f"{part}.zip", members) for part, members in parts.items()}
        return KIND.read(files, KIND.options.parse(dict(options or {})))

    def refusal(self, train: Members, options: Mapping[str, object] | None = None, **others: Members) -> str:
        """Return what is said of members that must be refused, each problem with its pointer."""
        with pytest.raises(InvalidDataset) as refused:
            self(train, options, **others)
        return "; ".join(f"{error.pointer}: {error.detail}" for error in refused.value.errors)
