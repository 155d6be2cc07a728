"""One thread for small matrices: faster, and fair to whatever else runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from unit.models.zips import Reader


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Restore the number of threads afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """Return a reader of zips of pictures."""
    return Reader(tmp_path)
