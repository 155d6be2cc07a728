"""The process that feeds one reader with broken files: ``python -m fuzz.reading READER COUNT NUMBER``.

It prints one JSON object: how many files were read and refused, and by how many megabytes it grew at most. Anything
but a result or an error of ours, or a file that takes longer than ``SECONDS_EACH``, ends it with a traceback and the
file in hexadecimal.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import itertools
import json
import logging
import resource
import signal
import struct
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from starlette.requests import Request
from starlette.types import Message

from app.forms import read_form
from fuzz.mutation import mutants
from models.contract.errors import LecternError
from models.data.images.pixels import BadPicture, Wanted, pixels_of
from models.data.kind import UploadedFile
from models.data.kinds.images import KIND as IMAGES
from models.data.kinds.table import KIND as TABLE

SECONDS_EACH = 10
MEMORY_BYTES = 4 * 2**30
BOUNDARY = b"cut-here"

CSV = b'height,colour,"a ""b""",class\n1.5,red,x,yes\n,blue,"y, z",no\n-3e2,red,"two\nlines",yes\n4,?,x,no\n'
CSV_WORDS = (
    b",",
    b'"',
    b"\n",
    b"\r\n",
    b"\0",
    b"NaN",
    b"1e400",
    b"-inf",
    b";",
    b"\t",
    b"\xff",
    b"\xef\xbb\xbf",
    b"class",
)
IDX_IMAGES = struct.pack(">BBBBIII", 0, 0, 8, 3, 2, 3, 4) + bytes(range(24))
IDX_LABELS = struct.pack(">BBBBI", 0, 0, 8, 1, 2) + b"\0\1"
IDX_WORDS = (b"\x1f\x8b", b"\0\0\x08\x03", b"\0\0\x08\x01")
ZIP_WORDS = (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x07", b"../", b"/", b"\\", b"C:", b".png", b"IHDR")
PNG_WORDS = (b"IHDR", b"IDAT", b"PLTE", b"tRNS", b"eXIf", b"acTL", b"\xff\xd8", b"\xff\xc0", b"\xff\xe1", b"Exif\0\0")
NPY_WORDS = (b"'shape': (", b"'descr': '|O'", b"<U9999999", b"True", b"99999999", b"\x93NUMPY", *ZIP_WORDS)
FORM_WORDS = (b"\r\n", b"--" + BOUNDARY, b"--", b"Content-Disposition: form-data; ", b'name="', b'filename="', b";")


@dataclass(frozen=True)
class Reader:
    """What is fed: the seeds, words of their format, and the function that takes the bytes."""

    seeds: Sequence[bytes]
    words: Sequence[bytes]
    read: Callable[[bytes, Path], object]


def _saved(data: bytes, folder: Path, name: str = "file") -> UploadedFile:
    path = folder / name
    path.write_bytes(data)
    return UploadedFile(name, path)


def _images(data: bytes, folder: Path) -> object:
    return IMAGES.read({"train": _saved(data, folder)}, IMAGES.options())


def _idx_images(data: bytes, folder: Path) -> object:
    return _pair(data, IDX_LABELS, folder)


def _idx_labels(data: bytes, folder: Path) -> object:
    return _pair(IDX_IMAGES, data, folder)


def _pair(images: bytes, labels: bytes, folder: Path) -> object:
    files = {"train_images": _saved(images, folder, "images"), "train_labels": _saved(labels, folder, "labels")}
    return IMAGES.read(files, IMAGES.options())


def _table(data: bytes, folder: Path) -> object:
    return TABLE.read({"train": _saved(data, folder)}, TABLE.options())


def _picture(data: bytes, _: Path) -> object:
    return pixels_of(data, Wanted((6, 5, 3), "stretch"))


def _form(data: bytes, folder: Path) -> object:
    """Parse as a body that arrives in two pieces."""
    pieces = [data[: len(data) // 2], data[len(data) // 2 :]]

    async def receive() -> Message:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    headers = [(b"content-type", b"multipart/form-data; boundary=" + BOUNDARY)]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        return asyncio.run(read_form(request, Path(fresh)))


def _npz(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def _encoded(mode: str, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).convert(mode).save(buffer, kind, exif=exif)
    return buffer.getvalue()


def _zip(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for label, mode in itertools.product(("cat", "dog"), ("L", "RGB", "P")):
            archive.writestr(f"{label}/{mode}.png", _encoded(mode))
        archive.writestr("dog/photo.jpg", _encoded("RGB", "JPEG"))
    return buffer.getvalue()


def _form_body() -> bytes:
    head = b"--" + BOUNDARY + b"\r\nContent-Disposition: form-data; "
    fields = head + b'name="kind"\r\n\r\nimages\r\n'
    return fields + head + b'name="train"; filename="a.csv"\r\n\r\n1,2\r\n--' + BOUNDARY + b"--\r\n"


def _readers() -> Mapping[str, Reader]:
    arrays = {"images": np.arange(48, dtype=np.uint8).reshape(4, 3, 4), "labels": np.array(["a", "b", "a", "b"])}
    numbers = {"x_train": np.ones((4, 2, 2, 3), np.float32), "y_train": np.arange(4), "x_test": np.ones((2, 2, 2, 3))}
    pictures = [*(_encoded(mode) for mode in ("L", "RGB", "RGBA", "P", "1", "I;16")), _encoded("CMYK", "JPEG")]
    return {
        "npz": Reader([_npz(**arrays), _npz(**numbers, y_test=np.zeros(2, int))], NPY_WORDS, _images),
        "idx-images": Reader([IDX_IMAGES, gzip.compress(IDX_IMAGES)], IDX_WORDS, _idx_images),
        "idx-labels": Reader([IDX_LABELS, gzip.compress(IDX_LABELS)], IDX_WORDS, _idx_labels),
        "zip": Reader([_zip(zipfile.ZIP_STORED), _zip(zipfile.ZIP_DEFLATED)], ZIP_WORDS, _images),
        "table": Reader([CSV, CSV.replace(b",", b";"), gzip.compress(CSV)], CSV_WORDS, _table),
        "picture": Reader(pictures, PNG_WORDS, _picture),
        "form": Reader([_form_body()], FORM_WORDS, _form),
    }


def main(name: str, count: int, number: int) -> None:
    """Feed the reader and print how it went."""
    warnings.simplefilter("ignore")
    logging.disable()
    reader = _readers()[name]
    with tempfile.TemporaryDirectory() as folder:
        for data in reader.seeds:
            reader.read(data, Path(folder))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        outcomes = {"read": 0, "refused": 0}
        for data in mutants(reader.seeds, reader.words, count, number):
            signal.alarm(SECONDS_EACH)
            try:
                reader.read(data, Path(folder))
                outcomes["read"] += 1
            except (LecternError, BadPicture):
                outcomes["refused"] += 1
            except BaseException:
                sys.stderr.write(f"{name}, {len(data)} bytes: {data.hex()}\n")
                raise
            finally:
                signal.alarm(0)
    unit = 1 if sys.platform == "darwin" else 1024
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit / 1e6
    sys.stdout.write(json.dumps({**outcomes, "grown_megabytes": grown}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
