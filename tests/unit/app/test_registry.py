"""Versions in memory: few enough, followed as they change, and kept when the store is away."""

from __future__ import annotations

import asyncio
import threading

import pytest
from structlog.testing import capture_logs

from app.dependencies import Services
from app.serving.registry import AHEAD_SECONDS, BELIEVED_SECONDS, LATE_SECONDS, Registry
from app.serving.sessions import LoadedModel
from models.artifacts.versions import ModelListing
from models.contract.errors import ModelNotFound, ModelUnloaded, StoreUnavailable, VersionNotFound
from unit.app.publishing import Publisher


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        """Start at zero."""
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def away(_: str) -> None:
    """Stand in for a look at a store that is away."""
    raise StoreUnavailable("It is away.")


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture
def registry(services: Services, clock: Clock) -> Registry:
    """Return a registry for two versions."""
    return Registry(services.versions, services.registry.load, 2, 2**30, services.registry.opened, clock=clock)


async def test_least_recently_asked_is_dropped(registry: Registry, publisher: Publisher) -> None:
    """Not the oldest: the one that nobody asked for."""
    for job in ("job_1", "job_2", "job_3"):
        publisher.publish(job=job)
    first = await registry.loaded("tiny", 1)
    await registry.loaded("tiny", 2)
    await registry.loaded("tiny", 1)
    await registry.loaded("tiny", 3)
    assert len(registry.pending()) == 2
    assert await registry.loaded("tiny", 1) is first


async def test_versions_beyond_the_bytes_are_dropped(services: Services, publisher: Publisher) -> None:
    """All but the one that is asked for."""
    publisher.publish()
    publisher.publish(job="job_2")
    registry = Registry(services.versions, services.registry.load, 10, 1, services.registry.opened)
    await registry.loaded("tiny", 1)
    await registry.loaded("tiny", 2)
    assert len(registry.pending()) == 1


async def test_alias_moved_elsewhere_is_followed_within_a_second(
    registry: Registry, publisher: Publisher, clock: Clock
) -> None:
    """Without any word from Redis."""
    publisher.publish()
    publisher.publish(job="job_2")
    assert await registry.resolve("tiny", None) == 2
    publisher.versions.set_alias("tiny", "production", 1)
    assert await registry.resolve("tiny", None) == 2
    clock.seconds = BELIEVED_SECONDS
    assert await registry.resolve("tiny", None) == 1


async def test_announced_change_is_followed_at_once(services: Services, publisher: Publisher) -> None:
    """By the gateway that runs, from a message of another process."""
    publisher.publish()
    publisher.publish(job="job_2")
    assert await services.registry.resolve("tiny", None) == 2
    publisher.versions.set_alias("tiny", "production", 1)
    await services.queue.announce("tiny")
    await asyncio.sleep(0.1)
    assert await services.registry.resolve("tiny", None) == 1


async def test_change_announced_during_a_look_up_is_not_missed(
    registry: Registry, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before the change is not believed after it."""
    publisher.publish()
    publisher.publish(job="job_2")
    reading, changed = threading.Event(), threading.Event()
    listing = publisher.versions.listing

    def slow(model: str) -> ModelListing:
        found = listing(model)
        reading.set()
        changed.wait(5)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(publisher.versions, "listing", slow)
        early = asyncio.create_task(registry.resolve("tiny", None))
        await asyncio.to_thread(reading.wait, 5)
    publisher.versions.set_alias("tiny", "production", 1)
    registry.forget("tiny")
    changed.set()
    assert await early == 2
    assert await registry.resolve("tiny", None) == 1


async def test_deleted_model_leaves_memory(
    registry: Registry, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its last version, and for good: it does not come back when the store is away."""
    publisher.publish()
    await registry.find("tiny", None)
    publisher.versions.delete("tiny", 1)
    registry.forget("tiny")
    with pytest.raises(ModelNotFound):
        await registry.find("tiny", None)
    assert len(registry.pending()) == 0

    monkeypatch.setattr(publisher.versions, "listing", away)
    with pytest.raises(StoreUnavailable):
        await registry.find("tiny", None)


async def test_missing_is_never_remembered(registry: Registry, publisher: Publisher) -> None:
    """A version that was just published is there."""
    with pytest.raises(ModelNotFound):
        await registry.find("tiny", None)
    publisher.publish()
    assert (await registry.find("tiny", "1")).manifest.version == 1
    with pytest.raises(VersionNotFound):
        await registry.find("tiny", "2")
    publisher.publish(job="job_2")
    assert (await registry.find("tiny", "2")).manifest.version == 2


async def test_loaded_version_answers_while_the_store_is_away(
    registry: Registry, publisher: Publisher, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in memory needs no store."""
    publisher.publish()
    loaded = await registry.find("tiny", None)

    monkeypatch.setattr(publisher.versions, "listing", away)
    clock.seconds = 10
    assert await registry.find("tiny", None) is loaded
    with pytest.raises(StoreUnavailable):
        await registry.find("other", None)


async def test_loaded_version_answers_when_redis_is_back_and_the_store_is_not(
    registry: Registry, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That nothing may be believed without asking does not mean that nothing is known."""
    publisher.publish()
    loaded = await registry.find("tiny", None)

    monkeypatch.setattr(publisher.versions, "listing", away)
    for changed in (None, "tiny"):
        registry.forget(changed)
        assert registry.at_hand("tiny", None) is None
        assert await registry.find("tiny", None) is loaded


async def test_loaded_version_answers_while_the_store_hangs(
    registry: Registry, publisher: Publisher, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look-up is waited for, for some time and by whoever asks first; what it finds in the end is believed."""
    publisher.publish()
    loaded = await registry.find("tiny", None)
    free, listing = threading.Event(), publisher.versions.listing
    looked: list[str] = []

    def hanging(model: str) -> ModelListing:
        looked.append(model)
        free.wait(20)
        return listing(model)

    monkeypatch.setattr("app.serving.registry.PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(publisher.versions, "listing", hanging)
    clock.seconds = 10
    try:
        with capture_logs() as told:
            for _ in range(3):
                assert await asyncio.wait_for(registry.find("tiny", None), 5) is loaded
        assert [line["event"] for line in told] == ["store_does_not_answer"]
        assert looked == ["tiny"]
        publisher.publish(job="job_2")
    finally:
        free.set()
    await asyncio.sleep(0.1)
    assert await registry.resolve("tiny", None) == 2


async def test_what_nobody_knows_of_a_store_that_hangs_is_said_in_time(
    registry: Registry, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model, or a version of one that is known."""
    publisher.publish()
    await registry.find("tiny", None)
    free = threading.Event()
    monkeypatch.setattr("app.serving.registry.SILENCE_SECONDS", 0.05)
    monkeypatch.setattr(publisher.versions, "listing", lambda _: free.wait(20))
    try:
        for model, version in (("other", None), ("tiny", "2")):
            with pytest.raises(StoreUnavailable, match="has not answered"):
                await asyncio.wait_for(registry.find(model, version), 5)
    finally:
        free.set()
        await asyncio.sleep(0.05)


async def test_what_is_unloaded_while_it_loads_does_not_come_into_memory(
    registry: Registry, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers those who have waited for it."""
    publisher.publish()
    loading, free, load = threading.Event(), threading.Event(), registry.load

    def slow(model: str, number: int) -> LoadedModel:
        loading.set()
        free.wait(20)
        return load(model, number)

    monkeypatch.setattr(registry, "load", slow)
    waits = asyncio.create_task(registry.find("tiny", None))
    await asyncio.to_thread(loading.wait, 20)
    registry.unload("tiny")
    free.set()
    assert (await waits).manifest.version == 1
    assert registry.pending() == []
    with pytest.raises(ModelUnloaded):
        await registry.find("tiny", None)
    registry.allow("tiny")
    assert await registry.find("tiny", None) is registry.at_hand("tiny", None)


async def test_first_to_ask_may_leave(registry: Registry, publisher: Publisher) -> None:
    """Those who wait for the same version still get it."""
    publisher.publish()
    first = asyncio.create_task(registry.loaded("tiny", 1))
    second = asyncio.create_task(registry.loaded("tiny", 1))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).manifest.version == 1


async def test_listing_is_looked_up_before_anybody_has_to_wait_for_it(
    registry: Registry, publisher: Publisher, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is slow for a while holds nobody up; what was found in time is believed, once for all who ask."""
    publisher.publish()
    assert await registry.resolve("tiny", None) == 1
    publisher.publish(job="job_2")
    asked, free = threading.Semaphore(0), threading.Event()
    listing = publisher.versions.listing

    def slow(model: str) -> ModelListing:
        asked.release()
        free.wait(5)
        return listing(model)

    monkeypatch.setattr(publisher.versions, "listing", slow)
    clock.seconds = BELIEVED_SECONDS - AHEAD_SECONDS
    for _ in range(3):
        assert await registry.resolve("tiny", None) == 1
    await asyncio.to_thread(asked.acquire)
    assert not asked.acquire(blocking=False)
    clock.seconds = BELIEVED_SECONDS
    waiting = [asyncio.create_task(registry.resolve("tiny", None)) for _ in range(3)]
    free.set()
    assert await asyncio.gather(*waiting) == [2, 2, 2]
    assert not asked.acquire(blocking=False)


async def test_what_is_loaded_answers_while_a_look_up_is_late(
    registry: Registry, publisher: Publisher, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For some time, and only once its successor is on its way; then whoever asks waits for it."""
    publisher.publish()
    endpoint = await registry.find("tiny", None)
    free, listing = threading.Event(), publisher.versions.listing

    def slow(model: str) -> ModelListing:
        free.wait(5)
        return listing(model)

    monkeypatch.setattr(publisher.versions, "listing", slow)
    clock.seconds = BELIEVED_SECONDS
    assert registry.at_hand("tiny", None) is None, "nobody has looked"
    clock.seconds = BELIEVED_SECONDS - AHEAD_SECONDS
    assert registry.at_hand("tiny", None) is endpoint
    clock.seconds = BELIEVED_SECONDS + LATE_SECONDS / 2
    assert registry.at_hand("tiny", None) is endpoint
    clock.seconds = BELIEVED_SECONDS + LATE_SECONDS
    assert registry.at_hand("tiny", None) is None
    free.set()
    assert await registry.find("tiny", None) is endpoint
