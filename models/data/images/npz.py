"""Reader of npz archives that trusts nothing: no pickles, sizes checked against the headers before unpacking."""

from __future__ import annotations

import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from models.contract.errors import InvalidDataset, PayloadTooLarge
from models.contract.task import Array
from models.data.filling import filled

HeaderCheck = Callable[[str, tuple[int, ...], np.dtype], None]
"""Takes an array's name, shape and dtype and raises if it is not to be read."""

UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, NotImplementedError, OverflowError, RuntimeError, ValueError),
)
"""What zipfile and its decompressors raise at damaged archives."""

LARGEST_BYTES = 4 * 2**30
"""Largest unpacked size of one dataset file."""

MOST_AXES = 32


def _anything(_name: str, _shape: tuple[int, ...], _dtype: np.dtype) -> None:
    """Accept every header."""


def read_npz(part: str, path: Path, names: Sequence[str], check: HeaderCheck = _anything) -> dict[str, Array]:
    """Return those of ``names`` that the archive holds, ``check`` called on each header before its data are read.

    Raises:
        InvalidDataset: no zip archive, a pickled or damaged array, a header that does not fit its data.
        PayloadTooLarge: the arrays unpack to more than ``LARGEST_BYTES``.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            chosen = {name: members[name] for name in names if name in members}
            if sum(info.file_size for info in chosen.values()) > LARGEST_BYTES:
                message = f"/{part}: the arrays unpack to more than {LARGEST_BYTES} bytes"
                raise PayloadTooLarge(message)
            found = {name: _read_array(part, name, archive, info, check) for name, info in chosen.items()}
            return found or dict.fromkeys(sorted(members)[:20], np.empty(0))
    except UNREADABLE as error:
        raise InvalidDataset.at(
            f"/{part}", f"is not a readable npz archive or zip ({error}); is it whole? numpy.savez writes an npz"
        ) from error


def listed_arrays(path: Path) -> str:
    """Return the names of the arrays in an archive that ``read_npz`` has read, as messages show them."""
    with zipfile.ZipFile(path) as archive:
        names = sorted({name.removesuffix(".npy") for name in archive.namelist()})
    shown = ", ".join("".join(letter if letter.isprintable() else "?" for letter in name[:50]) for name in names[:20])
    return (f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown) or "none"


def _read_array(part: str, name: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo, check: HeaderCheck) -> Array:
    with archive.open(info) as file:
        shape, fortran_order, dtype = _read_header(part, name, file)
        check(name, shape, dtype)
        expected = math.prod(shape) * dtype.itemsize
        if not 0 <= expected <= info.file_size:
            detail = f"array '{name}' promises {shape} of {dtype} = {expected} bytes, more than are there"
            raise InvalidDataset.at(f"/{part}", detail)
        buffer, found = filled(file, expected)
    if found != expected:
        relation = "more" if found > expected else f"only {found}"
        detail = f"array '{name}' promises {shape} of {dtype} = {expected} bytes and has {relation}"
        raise InvalidDataset.at(f"/{part}", detail)
    return buffer.view(dtype).reshape(shape, order="F" if fortran_order else "C")


def _read_header(part: str, name: str, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return shape, Fortran order and dtype; refuse pickles and what no array of ours can be."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read(file)
    except (ValueError, SyntaxError, tokenize.TokenError) as error:
        raise InvalidDataset.at(f"/{part}", f"array '{name}' has no valid npy header ({error})") from error
    if dtype.hasobject:
        detail = f"array '{name}' holds pickled objects, which are never loaded; save numbers or strings"
        raise InvalidDataset.at(f"/{part}", detail)
    if dtype.itemsize == 0 or len(shape) > MOST_AXES:
        detail = f"array '{name}' has {len(shape)} axes of {dtype}; at most {MOST_AXES} axes of sized items are read"
        raise InvalidDataset.at(f"/{part}", detail)
    return shape, fortran_order, dtype
