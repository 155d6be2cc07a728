"""What a job told while it ran stays with the version that it publishes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from redis import Redis

from models.artifacts.store import ArtifactStore
from models.artifacts.versions import Versions
from workers.claims import Claim, JobRef
from workers.publishing import history

HOUR = 3600.0


def test_events_and_log_are_written_whole_and_in_order(
    redis: Redis, submit: Callable[..., JobRef], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when Redis is read in several pieces."""
    monkeypatch.setattr("workers.claims.EVENTS_PER_READ", 2)
    store = ArtifactStore(tmp_path.as_uri())
    claim = Claim.take(redis, submit("job_1"), HOUR)
    assert claim is not None
    for epoch in range(1, 4):
        claim.epoch(epoch, {"loss": 1 / epoch})
        claim.log(f"epoch {epoch}: über")
    files = history(claim, Versions(store))
    contents = {file.path: store.get(file.path) for file in files}
    assert [*contents] == ["default/jobs/job_1/1/events.jsonl", "default/jobs/job_1/1/log.txt"]
    for file in files:
        assert hashlib.sha256(contents[file.path]).hexdigest() == file.sha256
        assert len(contents[file.path]) == file.payload_bytes
    events, log = contents.values()
    told = [orjson.loads(line) for line in events.splitlines()]
    assert [event["event"] for event in told] == ["state", *["epoch", "log"] * 3]
    assert [event["id"] for event in told] == [event_id for event_id, _ in claim.events()]
    assert told[-2]["data"] == {"epoch": 3, "metrics": {"loss": 1 / 3}, "attempt": 1}
    assert log.decode() == "epoch 1: über\nepoch 2: über\nepoch 3: über\n"


def test_publishing_again_keeps_what_a_marker_may_name(
    redis: Redis, submit: Callable[..., JobRef], tmp_path: Path
) -> None:
    """The store failed after the marker; what is told meanwhile does not change the files."""
    versions = Versions(ArtifactStore(tmp_path.as_uri()))
    claim = Claim.take(redis, submit("job_1"), HOUR)
    assert claim is not None
    first = history(claim, versions)
    claim.log("trying again in 1 s")
    assert history(claim, versions) == first
