"""A worker shows itself for as long as it beats, and leaves at once when it ends."""

from __future__ import annotations

import pytest
from redis import Redis

from models.contract.workers import WorkerPresence, presence_keys
from workers import health
from workers.presence import Presence
from workers.settings import WorkerSettings


def test_a_worker_is_there_from_its_beat_until_it_leaves(
    redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its key lapses by itself; the record says what it works on; the health check sees the same."""
    monkeypatch.setenv("LECTERN_REDIS_URL", redis_url)
    assert health.main() == 1
    presence = Presence(WorkerSettings(redis_url=redis_url, queues=("train.gpu",), worker_slots=2))
    presence.beat(sender=object())
    (key,) = redis.keys(presence_keys())
    record = WorkerPresence.model_validate_json(str(redis.get(key)))
    assert (record.key, record.queues, record.slots) == (key, ("train.gpu",), 2)
    assert 0 < redis.ttl(key) <= 10
    assert health.main() == 0
    presence.leave(sender=object())
    assert health.main() == 1


def test_a_worker_without_redis_neither_hangs_nor_falls(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    presence = Presence(WorkerSettings(redis_url="redis://127.0.0.1:1/0"))
    presence.beat()
    presence.leave()
    monkeypatch.setenv("LECTERN_REDIS_URL", "redis://127.0.0.1:1/0")
    assert health.main() == 1
    assert "Redis does not answer" in capsys.readouterr().err
