"""Splits as one safetensors file: written a piece at a time, so that nothing is copied whole, and read in part.

Arrays are called ``{split}/{array}``; text is ``…|bytes`` with ``…|ends``. The library writes this format from arrays
that lie whole in memory; here they are rows picked from a larger one. Tests hold both to the same bytes. Called by
``reading`` and by the store of datasets.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

import numpy as np
import orjson

from models.contract.task import Array, Split
from models.data.chunks import CHUNK_BYTES
from models.data.splits import Selection

LENGTH_BYTES = 8
ALIGNMENT = 8
TEXT_ROWS = 10_000
DTYPES = {
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F16": np.dtype("<f2"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
"""In the order in which the library lays arrays out: by falling alignment."""

CODES = {dtype: code for code, dtype in DTYPES.items()}
RANKS = {dtype: rank for rank, dtype in enumerate(DTYPES.values())}


class _Entry(TypedDict):
    dtype: str
    shape: list[int]
    data_offsets: list[int]


@dataclass(frozen=True)
class _Column:
    """One array to be written: where its rows come from and what it is on disk."""

    selection: Selection
    name: str
    form: str
    dtype: np.dtype
    shape: tuple[int, ...]

    def pieces(self) -> Iterator[Array]:
        """Yield the values in their order."""
        if self.form == "bytes":
            for texts in _texts(self.selection, self.name):
                yield np.frombuffer(b"".join(texts), np.uint8)
        elif self.form == "ends":
            end = 0
            for texts in _texts(self.selection, self.name):
                ends = end + np.cumsum([len(text) for text in texts], dtype=np.int64)
                end = int(ends[-1])
                yield ends
        else:
            rows = max(1, CHUNK_BYTES // max(1, math.prod(self.shape[1:]) * self.dtype.itemsize))
            for start in range(0, len(self.selection), rows):
                yield self.selection.piece(self.name, start, start + rows)


def write(path: Path, splits: Mapping[str, Selection]) -> None:
    """Write ``splits`` to ``path``; besides them, a few megabytes of memory are used."""
    columns = {key: column for split, selection in splits.items() for key, column in _columns(split, selection)}
    ordered = sorted(columns.items(), key=lambda item: (RANKS[item[1].dtype], item[0]))
    header: dict[str, _Entry] = {}
    end = 0
    for key, column in ordered:
        start, end = end, end + math.prod(column.shape) * column.dtype.itemsize
        header[key] = {"dtype": CODES[column.dtype], "shape": [*column.shape], "data_offsets": [start, end]}
    encoded = orjson.dumps(header)
    encoded += b" " * (-len(encoded) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(LENGTH_BYTES, "little"))
        file.write(encoded)
        for _, column in ordered:
            for piece in column.pieces():
                file.write(np.ascontiguousarray(piece, column.dtype).data)


class Packed:
    """The header of a file: which bytes hold which rows of which array."""

    def __init__(self, header: bytes) -> None:
        """Parse the header, which is what follows the first ``LENGTH_BYTES``."""
        self._entries = cast("dict[str, _Entry]", orjson.loads(header))
        self._begin = LENGTH_BYTES + len(header)

    @staticmethod
    def header_bytes(first: bytes) -> int:
        """Return the length of the header from the first ``LENGTH_BYTES`` of the file."""
        return int.from_bytes(first, "little")

    def arrays(self, split: str) -> dict[str, bool]:
        """Return the names of a split's arrays and whether each is text."""
        names = [key.removeprefix(f"{split}/") for key in self._entries if key.startswith(f"{split}/")]
        return {name.partition("|")[0]: "|" in name for name in names}

    def rows(self, key: str, start: int, stop: int) -> tuple[int, int]:
        """Return the first byte of the file that holds rows from ``start`` up to ``stop``, and the one after."""
        entry = self._entries[key]
        size = math.prod(entry["shape"][1:]) * DTYPES[entry["dtype"]].itemsize
        begin = self._begin + entry["data_offsets"][0]
        return begin + start * size, begin + min(stop, entry["shape"][0]) * size

    def array(self, key: str, data: bytes | Array) -> Array:
        """Return the rows that ``data`` holds."""
        entry = self._entries[key]
        return np.frombuffer(data, DTYPES[entry["dtype"]]).reshape(-1, *entry["shape"][1:])


def mapped(path: Path) -> dict[str, Split]:
    """Return the splits of a file; arrays are read from disk as they are used, texts at once."""
    with path.open("rb") as file:
        header = file.read(Packed.header_bytes(file.read(LENGTH_BYTES)))
    packed = Packed(header)
    data = cast("Array", np.memmap(path, np.uint8, "r"))
    arrays: dict[str, Array] = {}
    for key, entry in cast("dict[str, _Entry]", orjson.loads(header)).items():
        begin, end = packed.rows(key, 0, entry["shape"][0])
        arrays[key] = data[begin:end].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return unpack(arrays)


def unpack(packed: Mapping[str, Array]) -> dict[str, Split]:
    """Return the splits that arrays called ``{split}/{array}`` make."""
    splits: dict[str, dict[str, Array]] = {}
    for key, array in packed.items():
        split, name = key.split("/", 1)
        if name.endswith("|ends"):
            continue
        arrays = splits.setdefault(split, {})
        if name.endswith("|bytes"):
            name = name.removesuffix("|bytes")
            arrays[name] = texts_of(array, packed[f"{split}/{name}|ends"])
        else:
            arrays[name] = array
    return dict[str, Split](splits)


def texts_of(data: Array, ends: Array) -> Array:
    """Return texts from their UTF-8 bytes in a row and where each ends."""
    blob = data.tobytes()
    starts = [0, *ends[:-1].tolist()]
    texts = [blob[start:end].decode() for start, end in zip(starts, ends.tolist(), strict=True)]
    return np.array(texts, dtype=np.dtypes.StringDType())


def _columns(split: str, selection: Selection) -> Iterator[tuple[str, _Column]]:
    for name, array in selection.source.items():
        if array.dtype.kind == "T":
            total = sum(len(text) for texts in _texts(selection, name) for text in texts)
            yield f"{split}/{name}|bytes", _Column(selection, name, "bytes", DTYPES["U8"], (total,))
            yield f"{split}/{name}|ends", _Column(selection, name, "ends", DTYPES["I64"], (len(selection),))
        else:
            dtype = array.dtype.newbyteorder("<") if array.dtype.itemsize > 1 else array.dtype
            shape = (len(selection), *array.shape[1:])
            yield f"{split}/{name}", _Column(selection, name, "array", dtype, shape)


def _texts(selection: Selection, name: str) -> Iterator[list[bytes]]:
    for start in range(0, len(selection), TEXT_ROWS):
        yield [str(text).encode() for text in selection.piece(name, start, start + TEXT_ROWS)]
