"""The look at the store that ``/readyz`` takes."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from app.store_probe import StoreProbe
from models.artifacts.store import ArtifactStore
from models.contract.errors import StoreUnavailable


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    """Return an empty store."""
    return ArtifactStore(tmp_path.as_uri())


async def test_a_store_that_hangs_takes_one_thread_however_often_it_is_asked(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And counts as up again once it answers."""
    free, looks = threading.Event(), list[str]()

    def hanging(key: str) -> bool:
        looks.append(key)
        return not free.wait(20)

    monkeypatch.setattr(store, "exists", hanging)
    probe = StoreProbe(store)
    try:
        assert await asyncio.gather(*[probe.answers(0.05) for _ in range(20)]) == [False] * 20
        assert not await probe.answers(0.05)
        assert len(looks) == 1
    finally:
        free.set()
    assert await probe.answers(5)


async def test_a_store_that_is_away_is_no_error(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is looked at afresh by the next who asks."""
    probe = StoreProbe(store)

    def away(_: str) -> bool:
        raise StoreUnavailable("It is away.")

    with monkeypatch.context() as patched:
        patched.setattr(store, "exists", away)
        assert not await probe.answers(5)
    assert await probe.answers(5)
