"""Zips and pictures for tests, also such as no tool writes."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.data.kind import UploadedFile

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
