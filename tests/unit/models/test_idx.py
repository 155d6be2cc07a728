"""The idx reader: the MNIST files as published, and every way in which a file can be wrong."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from models.contract.errors import InvalidDataset, LecternError, PayloadTooLarge
from models.data.images.idx import read_idx

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def _idx(*shape: int, data: bytes = b"", kind: int = 0x08) -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, len(shape), *shape) + data


def _written(folder: Path, content: bytes) -> Path:
    path = folder / "file.idx"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_images_and_labels_come_back(tmp_path: Path, *, packed: bool) -> None:
    """Plain or gzipped; the magic numbers of the format are 2051 and 2049."""
    images, labels = _idx(2, 3, 4, data=IMAGES.tobytes()), _idx(2, data=b"\x07\x01")
    assert (int.from_bytes(images[:4], "big"), int.from_bytes(labels[:4], "big")) == (2051, 2049)
    pack = gzip.compress if packed else bytes
    assert np.array_equal(read_idx("train_images", _written(tmp_path, pack(images)), 3), IMAGES)
    assert read_idx("train_labels", _written(tmp_path, pack(labels)), 1).tolist() == [7, 1]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(_idx(2, data=b"\x07\x01"), "too short|magic number 2049", id="labels as images"),
        pytest.param(_idx(2, 3, 4, data=IMAGES.tobytes(), kind=0x0D), "magic number", id="floats"),
        pytest.param(_idx(2, 3, 4, data=IMAGES.tobytes()[:-1]), "the file has 23", id="one byte short"),
        pytest.param(_idx(2, 3, 4, data=IMAGES.tobytes() + b"x"), "more than 24", id="one byte more"),
        pytest.param(_idx(2, 3, 4)[:9], "too short", id="half a header"),
        pytest.param(b"", "too short", id="empty"),
        pytest.param(gzip.compress(_idx(2, 3, 4, data=IMAGES.tobytes()))[:-9], "cut off", id="gzip cut off"),
        pytest.param(gzip.compress(b"")[:5], "cut off", id="gzip header cut off"),
    ],
)
def test_wrong_file_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(InvalidDataset, match=reason) as refused:
        read_idx("train_images", _written(tmp_path, content), 3)
    assert [item.pointer for item in refused.value.errors] == ["/train_images"]


def test_header_is_checked_before_its_data_are_read(tmp_path: Path) -> None:
    """A picture of 50,000 × 50,000 pixels is refused by its header: not a byte behind it has to be there."""

    def check(shape: tuple[int, ...]) -> None:
        message = f"too large: {shape}"
        raise PayloadTooLarge(message)

    with pytest.raises(PayloadTooLarge, match=r"too large: \(1, 50000, 50000\)"):
        read_idx("train_images", _written(tmp_path, _idx(1, 50_000, 50_000)), 3, check)


def test_damaged_gzip_is_refused(tmp_path: Path) -> None:
    """Any byte of the compressed data turned over: the checksum or the count tells."""
    whole = gzip.compress(_idx(2, 3, 4, data=IMAGES.tobytes()), mtime=0)
    for position in range(10, len(whole)):
        damaged = whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :]
        with pytest.raises((InvalidDataset, PayloadTooLarge)):
            read_idx("train_images", _written(tmp_path, damaged), 3)


def test_count_beyond_the_limit_is_refused_before_reading(tmp_path: Path) -> None:
    with pytest.raises(PayloadTooLarge, match="counts"):
        read_idx("train_images", _written(tmp_path, _idx(2**31, 2**31, 2**31)), 3)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    content=st.binary(max_size=100),
    magic=st.sampled_from([b"", b"\x00\x00\x08\x01", b"\x00\x00\x08\x03", b"\x1f\x8b"]),
    packed=st.booleans(),
)
@example(content=bytes(4), magic=b"\x00\x00\x08\x01", packed=False)
def test_random_bytes_are_read_or_refused(tmp_path: Path, content: bytes, magic: bytes, *, packed: bool) -> None:
    """Never another exception than ours; what is read has the shape of the header."""
    plain = magic + content
    path = _written(tmp_path, gzip.compress(plain) if packed else plain)
    for dimensions in (1, 3):
        try:
            found = read_idx("train_images", path, dimensions)
        except LecternError:
            continue
        assert found.shape == struct.unpack_from(f">{dimensions}I", plain, 4)
