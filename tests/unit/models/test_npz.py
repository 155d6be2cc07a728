"""The npz reader trusts nothing: whatever the bytes, it returns arrays or one of our errors."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from models.contract.errors import InvalidDataset, LecternError, PayloadTooLarge
from models.data.images.npz import LARGEST_BYTES, read_npz

NAMES = ("images", "labels")


def _archive(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def _npy(header: str, data: bytes) -> bytes:
    """Return an npy file with a header of our own."""
    encoded = header.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(encoded)) + encoded + data


def _member(path: Path, content: bytes, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("images.npy", content)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where to write an archive."""
    return tmp_path / "a.npz"


@pytest.mark.parametrize("dtype", ["uint8", "<f4", ">i8", "<U5", "S3", "bool"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_come_back_as_written(path: Path, dtype: str, order: Any) -> None:  # noqa: ANN401 - a literal
    array = np.array(np.arange(24).reshape(2, 3, 4).astype(dtype), order=order)
    found = read_npz("train", _archive(path, images=array), NAMES)
    assert found.keys() == {"images"}
    assert found["images"].dtype == array.dtype
    assert np.array_equal(found["images"], array)
    assert found["images"].flags.writeable


def test_empty_array_comes_back_empty(path: Path) -> None:
    assert read_npz("train", _archive(path, images=np.zeros((0, 3), np.uint8)), NAMES)["images"].shape == (0, 3)


def test_missing_arrays_are_listed_by_what_is_there(path: Path) -> None:
    """The caller of the reader names them in its message."""
    assert list(read_npz("train", _archive(path, other=np.zeros(3)), NAMES)) == ["other"]


def test_header_is_checked_before_its_data_are_read(path: Path) -> None:
    """A picture of 50,000 × 50,000 pixels is refused by its header: not a byte behind it has to be there."""
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 50000, 50000), }"
    seen: list[Any] = []

    def check(name: str, shape: tuple[int, ...], dtype: Any) -> None:  # noqa: ANN401 - numpy's dtype
        seen.append((name, shape, str(dtype)))
        message = "too large"
        raise PayloadTooLarge(message)

    with pytest.raises(PayloadTooLarge, match="too large"):
        read_npz("train", _member(path, _npy(header, b"")), NAMES, check)
    assert seen == [("images", (1, 50_000, 50_000), "uint8")]


class _Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (pytest.fail, ("a pickle was loaded",))


def test_pickled_objects_are_refused_without_loading_them(path: Path) -> None:
    header = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    with pytest.raises(InvalidDataset, match="pickled objects"):
        read_npz("train", _member(path, _npy(header, pickle.dumps(_Bomb()))), NAMES)


@pytest.mark.parametrize(
    ("header", "data"),
    [
        pytest.param("{'descr': '|u1', 'fortran_order': False, 'shape': (9,), }", b"12345678", id="too little data"),
        pytest.param("{'descr': '|u1', 'fortran_order': False, 'shape': (7,), }", b"12345678", id="too much data"),
        pytest.param("{'descr': '|u1', 'fortran_order': False, 'shape': (-8,), }", b"12345678", id="negative"),
        pytest.param(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**62}, 8), }}", b"12", id="huge"),
        pytest.param(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {(1,) * 70}, }}", b"1", id="70 axes"),
        pytest.param("{'descr': '<U0', 'fortran_order': False, 'shape': (8,), }", b"", id="items of no bytes"),
        pytest.param("{'descr': '|u1', 'fortran_order': False}", b"1", id="no shape"),
        pytest.param("{'descr': 'no such', 'fortran_order': False, 'shape': (1,), }", b"1", id="no such type"),
        pytest.param("__import__('os').abort()", b"1", id="code"),
        pytest.param("(" * 3000, b"1", id="brackets"),
    ],
)
def test_header_that_lies_is_refused(path: Path, header: str, data: bytes) -> None:
    with pytest.raises(InvalidDataset, match="images"):
        read_npz("train", _member(path, _npy(header, data)), NAMES)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archive_cut_off_or_damaged_anywhere_is_refused(path: Path, method: int) -> None:
    """Every tenth prefix, and every tenth byte turned over: an array as it was, or our error."""
    buffer = io.BytesIO()
    np.save(buffer, np.arange(300, dtype=np.uint8))
    whole = _member(path, buffer.getvalue(), method).read_bytes()
    for cut in range(0, len(whole) - 1, 10):
        path.write_bytes(whole[:cut])
        with pytest.raises(InvalidDataset, match="not a readable npz archive"):
            read_npz("train", path, NAMES)
    for position in range(0, len(whole), 10):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        found = _read_or_refused(path)
        assert found is None or "images" not in found or np.array_equal(found["images"], np.arange(300, dtype=np.uint8))


def test_archive_that_unpacks_to_too_much_is_refused_before_unpacking(path: Path) -> None:
    """The directory of the zip is made to promise more than the limit; nothing is read for it."""
    whole = bytearray(_member(path, b"x" * 100).read_bytes())
    entry = whole.index(b"PK\x01\x02")
    whole[entry + 24 : entry + 28] = struct.pack("<I", min(LARGEST_BYTES + 1, 2**32 - 2))
    path.write_bytes(whole)
    with pytest.raises((PayloadTooLarge, InvalidDataset)):
        read_npz("train", path, NAMES)


def _read_or_refused(path: Path) -> dict[str, Any] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns of headers written by Python 2
            return read_npz("train", path, NAMES)
    except LecternError:
        return None


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=400))
@example(b"PK\x05\x06" + bytes(18))
@example(b"")
def test_random_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "random"
    path.write_bytes(content)
    assert not _read_or_refused(path)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(header=st.text(st.characters(max_codepoint=255), max_size=80), data=st.binary(max_size=40), raw=st.booleans())
def test_random_members_are_read_or_refused(tmp_path: Path, header: str, data: bytes, *, raw: bool) -> None:
    """Members of random bytes, or with a random header: never another exception."""
    content = header.encode("latin1") + data if raw else _npy(header, data)
    found = _read_or_refused(_member(tmp_path / "member", content))
    assert found is None or "images" in found


DESCRIPTIONS = st.sampled_from(["|u1", "<f4", "<U1", "<U0", "|V0", "|S0", "|O", "<M8[s]", "|b1", ">i2"])


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    description=DESCRIPTIONS,
    shape=st.lists(st.integers(-2, 5), max_size=5),
    data=st.binary(max_size=60),
    fortran=st.booleans(),
)
def test_random_shapes_are_read_or_refused(
    tmp_path: Path, description: str, shape: list[int], data: bytes, *, fortran: bool
) -> None:
    header = f"{{'descr': {description!r}, 'fortran_order': {fortran}, 'shape': {tuple(shape)}, }}"
    found = _read_or_refused(_member(tmp_path / "shape", _npy(header, data)))
    assert found is None or found["images"].shape == tuple(shape)
