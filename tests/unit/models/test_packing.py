"""The packed form of a dataset: byte for byte what the safetensors library writes, and readable in part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import load, save

from models.contract.task import Array
from models.data import packing
from models.data.packing import LENGTH_BYTES, Packed, mapped, unpack, write
from models.data.splits import Selection

TEXTS = np.array(["", "a", "grün", "日本語", "\0x"], dtype=np.dtypes.StringDType())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), count=st.integers(0, 7))
def test_file_is_what_the_library_writes(tmp_path: Path, data: st.DataObject, count: int) -> None:
    """Any arrays, any rows of them, in any order: the bytes are those of the library for the rows copied out."""
    names = data.draw(st.lists(st.sampled_from(["a", "b", "images", "é", '"']), unique=True, min_size=1))
    source: dict[str, Array] = {}
    for name in names:
        shape = (count, *data.draw(st.lists(st.integers(0, 3), max_size=2)))
        dtype = data.draw(st.sampled_from(list(packing.DTYPES.values())))
        source[name] = data.draw(arrays.arrays(dtype, shape))
    rows = data.draw(st.none() | st.lists(st.integers(0, count - 1))) if count else None
    chosen = None if rows is None else np.array(rows, dtype=int)
    path = tmp_path / "a.safetensors"
    write(path, {"train": Selection(source, chosen)})
    copied = {
        f"train/{name}": np.ascontiguousarray(array if chosen is None else array[chosen])
        for name, array in source.items()
    }
    assert path.read_bytes() == save(copied)


def test_pieces_smaller_than_an_array_make_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = {"images": np.arange(1000, dtype=np.uint16).reshape(100, 10), "text": np.tile(TEXTS, 20)}
    rows = np.random.default_rng(0).permutation(100)
    write(tmp_path / "whole", {"train": Selection(source, rows)})
    monkeypatch.setattr(packing, "CHUNK_BYTES", 64)
    monkeypatch.setattr(packing, "TEXT_ROWS", 7)
    write(tmp_path / "pieces", {"train": Selection(source, rows)})
    assert (tmp_path / "pieces").read_bytes() == (tmp_path / "whole").read_bytes()


def test_splits_come_back_from_disk_as_from_the_library(tmp_path: Path) -> None:
    source = {"x": np.arange(10, dtype=np.float32).reshape(5, 2), "text": TEXTS}
    picked = Selection(source, np.array([4, 0, 3]))
    write(tmp_path / "a", {"train": Selection(source), "test": picked})
    for splits in (mapped(tmp_path / "a"), unpack(load((tmp_path / "a").read_bytes()))):
        assert splits["train"]["text"].tolist() == TEXTS.tolist()
        assert splits["test"]["text"].tolist() == [TEXTS[4], TEXTS[0], TEXTS[3]]
        assert splits["test"]["x"].tolist() == source["x"][[4, 0, 3]].tolist()


@pytest.mark.parametrize("count", [1, 3, 100])
def test_first_rows_are_found_by_the_header_alone(tmp_path: Path, count: int) -> None:
    source = {"x": np.arange(10, dtype=np.float32).reshape(5, 2), "text": TEXTS}
    write(tmp_path / "a", {"train": Selection(source), "test": Selection(source)})
    whole = (tmp_path / "a").read_bytes()
    length = Packed.header_bytes(whole[:LENGTH_BYTES])
    packed = Packed(whole[LENGTH_BYTES : LENGTH_BYTES + length])
    assert packed.arrays("train") == {"x": False, "text": True}
    start, stop = packed.rows("train/x", 0, count)
    assert packed.array("train/x", whole[start:stop]).tolist() == source["x"][:count].tolist()
