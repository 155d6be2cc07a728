"""What expires and what never does, however old it is: a test per protection."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
from redis import Redis

from models.artifacts.store import ArtifactStore
from models.artifacts.versions import Versions
from models.contract.errors import LeaseLost
from models.contract.jobs import JobKeys
from unit.workers.retained import START, World
from workers.claims import Claim, JobRef
from workers.retention.__main__ import main
from workers.retention.expiry import Expiry
from workers.settings import WorkerSettings

Submit = Callable[..., JobRef]
DAY = timedelta(days=1)
KEYS = JobKeys("default")
CHECKPOINT = "default/jobs/job_1/checkpoints/1-5.pt"


@pytest.fixture
def world(redis: Redis, tmp_path: Path) -> World:
    return World(redis, ArtifactStore((tmp_path / "store").as_uri()))


def test_a_checkpoint_goes_a_week_after_its_job_and_the_job_says_so(world: World) -> None:
    world.ended("job_1", checkpoint=CHECKPOINT)
    assert world.run(after=6.9 * DAY) == []
    assert world.run(after=7 * DAY) == [("checkpoints", CHECKPOINT)]
    assert world.files() == []
    assert world.redis.hget(KEYS.job("job_1"), "checkpoint") is None


@pytest.mark.parametrize("state", ["queued", "running", "exporting", "succeeded"])
def test_nothing_of_a_job_that_is_not_final_goes(world: World, state: str) -> None:
    """Neither its checkpoint nor files that no manifest names; it counts who is among the active."""
    world.ended("job_1", state=state, checkpoint=CHECKPOINT)
    world.redis.sadd(KEYS.active(), "job_1")
    world.put("default/jobs/job_1/1/a.onnx")
    world.put("default/jobs/job_1/checkpoints/1-4.pt")
    assert world.run(after=100 * DAY) == []


@pytest.mark.parametrize(
    "fields", [{"state": "paused"}, {"finished": "yesterday"}, {"finished": "2026-01-01T00:00:00"}]
)
def test_nothing_of_a_record_of_another_lectern_goes(world: World, fields: dict[str, str]) -> None:
    world.ended("job_1", checkpoint=CHECKPOINT)
    world.redis.hset(KEYS.job("job_1"), mapping={**fields})
    world.put("default/jobs/job_1/1/a.onnx")
    assert world.run(after=100 * DAY) == []


def test_a_checkpoint_stays_while_a_job_that_is_not_final_goes_on_from_it(world: World, submit: Submit) -> None:
    world.ended("job_1", checkpoint=CHECKPOINT)
    submit("job_2", resumed_from="job_1")
    assert world.run(after=100 * DAY) == []
    world.ended("job_2", resumed_from="job_1", at=100 * DAY)
    world.redis.srem(KEYS.active(), "job_2")
    assert world.run(after=100 * DAY) == [("checkpoints", CHECKPOINT), ("jobs", "job_1")]


def test_a_job_that_is_resumed_after_the_run_has_looked_keeps_its_checkpoint(
    world: World, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step that drops the field looks again."""
    world.ended("job_1", checkpoint=CHECKPOINT)
    monkeypatch.setattr(
        "workers.retention.__main__.named_files", world.before_names(lambda: submit("job_2", resumed_from="job_1"))
    )
    assert world.run(after=100 * DAY) == []
    assert world.redis.hget(KEYS.job("job_1"), "checkpoint") == CHECKPOINT


def test_a_run_that_dies_between_field_and_file_leaves_the_file_to_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.ended("job_1", checkpoint=CHECKPOINT)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ArtifactStore, "delete", die)
        with pytest.raises(KeyboardInterrupt):
            world.run(after=8 * DAY)
    assert world.redis.hget(KEYS.job("job_1"), "checkpoint") is None
    assert world.run(after=8 * DAY) == [("checkpoints", CHECKPOINT)]


def test_a_record_goes_whole_thirty_days_after_its_end(world: World) -> None:
    """Hash, events, log, place in the list, idempotency key; the checkpoint, kept for longer, goes first."""
    world.ended("job_1", checkpoint=CHECKPOINT, idempotency_key="once")
    world.redis.set(KEYS.idempotency("once"), "digest job_1")
    world.ended("job_2", at=20 * DAY)
    longer = WorkerSettings(checkpoints_kept_seconds=0)
    assert world.run(after=29.9 * DAY, settings=longer) == []
    assert world.run(after=30 * DAY, settings=longer) == [("checkpoints", CHECKPOINT), ("jobs", "job_1")]
    assert world.job_keys() == {
        KEYS.job("job_2"),
        KEYS.events("job_2"),
        KEYS.logs("job_2"),
        KEYS.index(),
        KEYS.figures(),
    }
    assert world.redis.hgetall(KEYS.figures()) == {"jobs:train.cpu:cancelled": "1"}
    assert world.redis.zrange(KEYS.index(), 0, -1) == ["job_2"]


def test_the_step_that_removes_looks_again_how_long_ago_the_job_ended(world: World) -> None:
    world.ended("job_1", checkpoint=CHECKPOINT, at=DAY)
    expiry = Expiry(world.redis, "default")
    assert not expiry.drop_checkpoint("job_1", CHECKPOINT, START + 0.9 * DAY)
    assert not expiry.drop_checkpoint("job_1", "another", START + DAY)
    assert not expiry.expire("job_1", START + DAY), "it names a checkpoint"
    assert expiry.drop_checkpoint("job_1", CHECKPOINT, START + DAY)
    assert not expiry.expire("job_1", START + 0.9 * DAY)
    assert expiry.expire("job_1", START + DAY)


def test_an_idempotency_key_that_names_another_job_by_now_stays(world: World) -> None:
    world.ended("job_1", idempotency_key="once")
    world.redis.set(KEYS.idempotency("once"), "digest job_2")
    world.run(after=31 * DAY)
    assert world.redis.get(KEYS.idempotency("once")) == "digest job_2"


def test_a_record_waits_for_the_files_that_nothing_else_would_know(world: World) -> None:
    """They would be files of an unknown job then."""
    world.ended("job_1")
    world.put("default/jobs/job_1/2/late.onnx", at=30 * DAY)
    assert world.run(after=30.5 * DAY) == []
    assert [kind for kind, _ in world.run(after=31 * DAY)] == ["files", "jobs"]


def test_zero_keeps_for_ever(world: World) -> None:
    world.ended("job_1", checkpoint=CHECKPOINT)
    world.put("default/jobs/job_1/1/a.onnx")
    world.content("1" * 64)
    never = WorkerSettings(jobs_kept_seconds=0, checkpoints_kept_seconds=0, orphans_kept_seconds=0)
    assert world.run(after=9000 * DAY, settings=never) == []


def test_files_that_no_manifest_names_go_after_a_day(world: World) -> None:
    """Of a lost attempt; those of the attempt that published stay for ever."""
    world.ended("job_1", checkpoint=CHECKPOINT)
    for path in ("1/a.onnx", "checkpoints/1-4.pt"):
        world.put(f"default/jobs/job_1/{path}")
    paths = world.publish("job_1", attempt=2)
    assert world.run(after=0.9 * DAY) == []
    lost = [("files", "default/jobs/job_1/1/a.onnx"), ("checkpoints", "default/jobs/job_1/checkpoints/1-4.pt")]
    assert sorted(world.run(after=DAY)) == sorted(lost)
    world.run(after=1000 * DAY)
    assert world.files() == sorted(paths)
    assert Versions(world.store).manifest("digits", 1).job == "job_1"


def test_a_marker_protects_its_files_before_the_version_is_there(world: World) -> None:
    """The worker vanished between the two, and Redis was lost."""
    world.knows_all()
    paths = world.publish("job_1")
    world.store.delete("default/models/digits/versions/1.json")
    assert world.run(after=1000 * DAY) == []
    assert world.files() == sorted(paths)


def test_what_a_deletion_that_died_left_of_a_version_goes(world: World) -> None:
    """The tombstone is there, the marker still tells what the version was."""
    world.ended("job_1")
    paths = world.publish("job_1")
    tombstone = orjson.dumps({"job": "job_1", "version": 1, "deleted": True})
    world.store.put("default/models/digits/versions/1.json", tombstone)
    assert sorted(name for _, name in world.run(after=DAY)) == sorted(paths)


@pytest.mark.parametrize("folder", ["versions/1.json", "by-job/job_1.json"])
def test_a_manifest_of_another_lectern_protects_its_whole_job(world: World, folder: str) -> None:
    world.knows_all()
    world.publish("job_1")
    raw = orjson.loads(world.store.get(f"default/models/digits/{folder}"))
    (raw if "job" in raw else raw["manifest"])["parts"] = "somewhere else"
    for path in ("versions/1.json", "by-job/job_1.json"):
        world.store.delete(f"default/models/digits/{path}")
    world.store.put(f"default/models/digits/{folder}", orjson.dumps(raw))
    world.put("default/jobs/job_2/1/a.onnx")
    assert world.run(after=1000 * DAY) == [("files", "default/jobs/job_2/1/a.onnx")]


@pytest.mark.parametrize("data", [b"{", b"[]", b"{}", b'{"job": 5}'])
def test_a_record_of_a_version_that_says_nothing_protects_the_whole_project(world: World, data: bytes) -> None:
    world.ended("job_1", checkpoint=CHECKPOINT)
    world.ended("job_1", project="other")
    world.store.put("default/models/digits/versions/1.json", data)
    assert world.run(after=1000 * DAY) == [("jobs", "job_1")]
    assert world.redis.exists(KEYS.job("job_1"))


def test_a_new_redis_beside_an_old_store_takes_no_job_for_gone(world: World) -> None:
    """Not today and not in a hundred days; a person can say so."""
    world.ended("job_1", checkpoint=CHECKPOINT)
    world.put("default/jobs/job_1/1/a.onnx")
    world.run(after=timedelta(0))
    world.redis.flushall()
    for after in (DAY, 100 * DAY):
        assert {kind for kind, _ in world.run(after=after)} == {"left"}
    world.knows_all()
    assert {kind for kind, _ in world.run(after=DAY)} == {"checkpoints", "files"}


def test_a_store_that_was_full_when_the_first_redis_came_keeps_what_that_does_not_know(world: World) -> None:
    world.put("default/jobs/job_1/1/a.onnx")
    world.ended("job_2")
    for _ in range(2):
        assert world.run(after=DAY) == [("left", "default/jobs/job_1/1/a.onnx")]


def test_two_redis_in_one_store_leave_each_other_s_jobs_alone(world: World) -> None:
    """The first came when the store was empty; from the moment the second has come it is sure of nothing."""
    world.run(after=timedelta(0))
    world.put("default/jobs/job_1/1/a.onnx")
    world.store.put("queues/another.json", b'{"knew_all_jobs":false}')
    assert world.run(after=DAY) == [("left", "default/jobs/job_1/1/a.onnx")]


def test_files_of_a_job_that_this_redis_lost_go(world: World) -> None:
    """It was there before the job."""
    world.run(after=timedelta(0))
    world.put("default/jobs/job_1/1/a.onnx")
    assert world.run(after=0.5 * DAY) == []
    assert world.run(after=DAY) == [("files", "default/jobs/job_1/1/a.onnx")]


def test_the_checkpoint_of_an_unknown_job_stays_while_another_goes_on_from_it(world: World, submit: Submit) -> None:
    world.knows_all()
    world.put(CHECKPOINT)
    submit("job_2", resumed_from="job_1")
    assert world.run(after=100 * DAY) == []


def test_what_is_called_as_no_worker_calls_its_files_stays(world: World) -> None:
    world.knows_all()
    for path in ("default/jobs/notes.txt", "default/jobs/job_1/notes.txt", "default/jobs/job_1/mine/a.onnx"):
        world.put(path)
    world.put("default/jobs/job_1/1/further/a.onnx")
    assert world.run(after=100 * DAY) == []


def test_a_content_goes_a_day_after_it_came_if_no_record_of_any_project_names_it(world: World) -> None:
    ours, theirs, nobody = "1" * 64, "2" * 64, "3" * 64
    world.content(ours, named_in="default")
    world.content(theirs, named_in="theirs")
    world.content(nobody)
    assert world.run(after=0.9 * DAY) == []
    assert world.run(after=1000 * DAY) == [("contents", f"blobs/sha256/{nobody}.safetensors")]
    assert [*world.store.below(f"blobs/sha256/{nobody}.leaving")] == []


def test_no_content_goes_while_a_record_cannot_be_read(world: World) -> None:
    world.content("1" * 64)
    world.store.put("theirs/datasets/a.json", b'{"digest": ["1"]}')
    assert world.run(after=1000 * DAY) == []


def test_a_content_that_is_named_after_the_run_has_looked_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its deletion looks again behind its sign."""
    digest = "1" * 64
    world.content(digest)
    put = ArtifactStore.put

    def overtaken(store: ArtifactStore, path: str, data: bytes) -> None:
        put(store, path, data)
        if ".leaving/" in path:
            world.content(digest, named_in="default")

    monkeypatch.setattr(ArtifactStore, "put", overtaken)
    assert world.run(after=1000 * DAY) == []


def test_a_deletion_whose_sign_was_taken_away_deletes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looked for so long that an upload waits no more; that one counts on the content."""
    digest = "1" * 64
    world.content(digest)
    folders = ArtifactStore.folders

    def slow(store: ArtifactStore, prefix: str) -> list[str]:
        for sign in store.names(f"blobs/sha256/{digest}.leaving"):
            store.delete(f"blobs/sha256/{digest}.leaving/{sign}")
        return folders(store, prefix)

    monkeypatch.setattr(ArtifactStore, "folders", slow)
    assert world.run(after=1000 * DAY) == []


def test_a_dry_run_tells_the_same_and_changes_nothing(world: World) -> None:
    world.ended("job_1", checkpoint=CHECKPOINT)
    world.put("default/jobs/job_1/1/a.onnx")
    world.content("1" * 64)
    before = world.everything()
    told = world.run(after=31 * DAY, dry_run=True)
    assert world.everything() == before
    assert {kind for kind, _ in told} == {"checkpoints", "files", "contents", "jobs"}
    assert world.run(after=31 * DAY) == told


def test_an_expired_job_cannot_come_back_by_a_late_line_of_its_log(world: World, submit: Submit) -> None:
    claim = Claim.take(world.redis, submit("job_1"), 3600)
    assert claim is not None
    world.ended("job_1")
    world.redis.srem(KEYS.active(), "job_1")
    world.run(after=31 * DAY)
    with pytest.raises(LeaseLost):
        claim.log("late")
    assert {KEYS.job("job_1"), KEYS.events("job_1"), KEYS.logs("job_1")} & world.job_keys() == set()


def test_it_runs_by_hand_and_says_what_it_did(
    world: World, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LECTERN_REDIS_URL", redis_url)
    monkeypatch.setenv("LECTERN_STORE_URL", world.store.url)
    monkeypatch.setenv("LECTERN_ORPHANS_KEPT_SECONDS", "0.000001")
    world.put("default/jobs/job_1/1/a.onnx", data=b"x" * 1500)
    assert main([]) == 0
    assert "left" in capsys.readouterr().out
    assert main(["--adopt", "--dry-run"]) == 0
    assert len(world.files()) == 1
    assert main(["--adopt"]) == 0
    out = capsys.readouterr().out
    assert "1,500 bytes  default/jobs/job_1/1/a.onnx" in out
    assert "retention_removed" in out
    assert world.files() == []


def test_without_redis_nothing_is_removed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("workers.claims.RETRIES", 0)
    monkeypatch.setenv("LECTERN_REDIS_URL", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("LECTERN_STORE_URL", world.store.url)
    monkeypatch.setenv("LECTERN_ORPHANS_KEPT_SECONDS", "0.000001")
    world.content("1" * 64)
    assert main([]) == 1
    assert "retention_interrupted" in capsys.readouterr().out
    assert len([*world.store.below("blobs")]) == 1


@pytest.mark.parametrize("url", ["http://:sekret@127.0.0.1", "redis://:sekret/0@host"])
def test_a_url_that_is_none_is_not_repeated(
    url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It may hold a password, and the client's own error repeats pieces of it."""
    monkeypatch.setenv("LECTERN_REDIS_URL", url)
    assert main([]) == 1
    written = "".join(capfd.readouterr())
    assert "LECTERN_REDIS_URL" in written
    assert "sekret" not in written


def test_objects_in_a_store_without_folders_expire_the_same(redis: Redis) -> None:
    """As those of an object store, where folders are only what paths have in common."""
    world = World(redis, ArtifactStore("memory:///"))
    world.ended("job_1", checkpoint=CHECKPOINT)
    paths = world.publish("job_1", attempt=2)
    world.put("default/jobs/job_1/1/a.onnx")
    world.put("default/jobs/job_10/1/a.onnx")
    world.ended("job_10", at=900 * DAY)
    world.content("1" * 64, named_in="default")
    world.content("2" * 64)
    gone = {name for _, name in world.run(after=1000 * DAY)}
    contents = {f"blobs/sha256/{'2' * 64}.safetensors"}
    assert (
        gone
        == {CHECKPOINT, "default/jobs/job_1/1/a.onnx", "default/jobs/job_10/1/a.onnx", "job_1", "job_10"} | contents
    )
    assert world.files() == sorted(paths)
