"""Reader of idx files (LeCun, Cortes, Burges, "The MNIST database", file format section), plain or gzipped.

Big-endian: two zero bytes, a type byte (0x08: unsigned byte), the number of dimensions, then each dimension
as a 32-bit integer, then the data.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable
from pathlib import Path

from models.contract.errors import InvalidDataset, PayloadTooLarge
from models.contract.task import Array
from models.data.filling import filled
from models.data.images.npz import LARGEST_BYTES

UNSIGNED_BYTE = 0x08
LARGEST_DEFLATE_RATIO = 1_032
"""Bytes out of one byte in, at most (zlib's technical details): what a gzipped file can hold is known beforehand."""

GZIP_MAGIC = b"\x1f\x8b"


def _anything(_shape: tuple[int, ...]) -> None:
    """Accept every header."""


def read_idx(part: str, path: Path, dimensions: int, check: Callable[[tuple[int, ...]], None] = _anything) -> Array:
    """Return the array of an idx file of unsigned bytes.

    Args:
        part: name of the upload's part, for messages.
        path: the file, plain or gzipped.
        dimensions: 3 for images, 1 for labels.
        check: takes the shape before the data are read and raises if they are not to be.

    Raises:
        InvalidDataset: wrong magic number, or fewer or more bytes than the header counts.
        PayloadTooLarge: the header counts more than ``LARGEST_BYTES``.
    """
    with path.open("rb") as plain:
        packed = plain.read(2) == GZIP_MAGIC
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            header = file.read(4 + 4 * dimensions)
            shape = _shape(part, header, dimensions)
            check(shape)
            expected = math.prod(shape)
            if expected > LARGEST_BYTES:
                message = f"/{part}: the header counts {expected} bytes; at most {LARGEST_BYTES} are read"
                raise PayloadTooLarge(message)
            most = (path.stat().st_size + 1) * (LARGEST_DEFLATE_RATIO if packed else 1)
            if expected > most:
                detail = f"the header {shape} promises {expected} bytes of data, the file has at most {most}"
                raise InvalidDataset.at(f"/{part}", detail)
            buffer, found = filled(file, expected)
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidDataset.at(
            f"/{part}", f"the gzip stream is damaged or cut off ({error}); compress it anew"
        ) from error
    if found != expected:
        has = f"more than {expected}" if found > expected else str(found)
        raise InvalidDataset.at(f"/{part}", f"the header {shape} promises {expected} bytes of data, the file has {has}")
    return buffer.reshape(shape)


def _shape(part: str, header: bytes, dimensions: int) -> tuple[int, ...]:
    wanted = (UNSIGNED_BYTE << 8) | dimensions
    if len(header) < 4 + 4 * dimensions:
        raise InvalidDataset.at(f"/{part}", f"is too short for an idx file: {len(header)} bytes; is it the right file?")
    magic = int.from_bytes(header[:4], "big")
    if magic != wanted:
        noun = "images" if dimensions == 3 else "labels"
        raise InvalidDataset.at(f"/{part}", f"has magic number {magic}; idx {noun} of unsigned bytes have {wanted}")
    return tuple(int.from_bytes(header[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(dimensions))
