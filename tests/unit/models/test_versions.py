"""Published versions: exactly one per job, whole or not at all, whatever fails and whoever else publishes."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from models.artifacts.store import ArtifactStore, ObjectMissing
from models.artifacts.versions import Versions
from models.contract.errors import (
    AliasNotFound,
    ModelNotFound,
    StoreFull,
    StoreUnavailable,
    ValidationFailed,
    VersionInUse,
    VersionNotFound,
)
from models.contract.manifest import FurtherFile, Manifest
from unit.models.delivering import MemoryStore, deliver


def _whole(versions: Versions, number: int) -> bool:
    """Return whether everything that a version's manifest promises is there."""
    manifest = versions.manifest("digits", number)
    parts = [(part.path, part.sha256) for part in manifest.parts.values()]
    files = [*parts, (manifest.probe.path, manifest.probe.sha256)]
    return all(hashlib.sha256(versions.read(path)).hexdigest() == digest for path, digest in files)


@pytest.fixture(params=["memory", "file"])
def versions(request: pytest.FixtureRequest, tmp_path: Path) -> Versions:
    """Return the versions of an empty store: the fake, and the real one that it stands for."""
    return Versions(MemoryStore() if request.param == "memory" else ArtifactStore(tmp_path.as_uri()))


def test_same_job_twice_is_one_version(versions: Versions) -> None:
    """The second attempt wrote other files; the version stays with those of the first."""
    first = deliver(versions, "job_1")
    again = deliver(versions, "job_1", attempt=2)
    assert again == first
    assert versions.listing("digits").versions == (1,)
    assert versions.manifest("digits", 1).parts["reader"].path.startswith("default/jobs/job_1/1/")
    assert versions.settle("digits", "job_1") == 1
    assert versions.settle("digits", "job_2") is None


def test_jobs_get_numbers_in_turn(versions: Versions) -> None:
    assert [deliver(versions, f"job_{index}").version for index in range(12)] == list(range(1, 13))
    assert versions.listing("digits").versions == tuple(range(1, 13))
    assert deliver(versions, "other", model="letters").version == 1
    assert versions.models() == ["digits", "letters"]


def test_jobs_at_the_same_time_get_versions_of_their_own(tmp_path: Path) -> None:
    """Four jobs and a second attempt of each, all at once on the real store: four versions, one each."""
    versions = Versions(ArtifactStore(tmp_path.as_uri()))
    jobs = [f"job_{index}" for index in range(4)] * 2
    barrier = Barrier(len(jobs))

    def delivered(job: str) -> tuple[str, int]:
        barrier.wait()
        return job, deliver(versions, job).version

    with ThreadPoolExecutor(len(jobs)) as pool:
        published = set(pool.map(delivered, jobs))
    assert {job for job, _ in published} == set(jobs)
    assert sorted(number for _, number in published) == [1, 2, 3, 4]
    assert versions.listing("digits").versions == (1, 2, 3, 4)


@pytest.mark.parametrize("other", ["job_1", "job_2"])
@pytest.mark.parametrize("overtaken_at", [1, 2, 3, 4])
def test_publishing_overtaken_at_any_write(other: str, overtaken_at: int) -> None:
    """Before the k-th write another publishes the whole: the same job is one version, another job two."""
    store = MemoryStore()
    versions, writes = Versions(store), iter(range(1, 100))

    def overtake() -> None:
        if next(writes) == overtaken_at:
            store.before = lambda: None
            deliver(versions, other, attempt=2)

    store.before = overtake
    deliver(versions, "job_1")
    numbers = {job: versions.settle("digits", job) for job in ("job_1", other)}
    assert None not in numbers.values()
    assert sorted(versions.listing("digits").versions) == list(range(1, 1 + len(numbers)))
    assert len(set(numbers.values())) == len(numbers)
    assert all(_whole(versions, number) for number in versions.listing("digits").versions)


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("fails_at", [1, 2, 3, 4])
def test_failing_at_any_write_leaves_no_half_version(fails_at: int, *, written: bool) -> None:
    """The k-th write fails, before or after it reached the disk; what exists then is whole, and another try ends it."""
    store = MemoryStore()
    versions, writes = Versions(store), iter(range(1, 100))

    def fail() -> None:
        if next(writes) == fails_at:
            message = "No space left."
            raise StoreFull(message)

    setattr(store, "after" if written else "before", fail)
    with pytest.raises(StoreFull):
        deliver(versions, "job_1")
    if fails_at == 4 and written:
        assert versions.listing("digits").versions == (1,)
        assert _whole(versions, 1)
    else:
        with pytest.raises(ModelNotFound):
            versions.listing("digits")
    store.before = store.after = lambda: None
    assert deliver(versions, "job_1", attempt=2).version == 1
    assert versions.listing("digits").versions == (1,)
    assert _whole(versions, 1)
    assert deliver(versions, "job_2").version == 2


# --- deleting --------------------------------------------------------------------------------------------------------


def test_deleted_numbers_are_never_used_again(versions: Versions) -> None:
    """Not even that of the newest version, and not by the job that had it."""
    for job in ("job_1", "job_2"):
        deliver(versions, job)
    versions.delete("digits", 2)
    assert versions.listing("digits").versions == (1,)
    with pytest.raises(VersionNotFound):
        versions.manifest("digits", 2)
    assert deliver(versions, "job_3").version == 3
    assert versions.listing("digits").versions == (1, 3)


def test_deleting_removes_the_parts(versions: Versions) -> None:
    path = deliver(versions, "job_1").parts["reader"].path
    assert versions.read(path)
    versions.delete("digits", 1)
    with pytest.raises(ObjectMissing):
        versions.read(path)
    with pytest.raises(ModelNotFound):
        versions.listing("digits")
    assert deliver(versions, "job_2").version == 2


def test_deleting_removes_the_formats_that_are_not_served(versions: Versions) -> None:
    served = deliver(versions, "job_1")
    path = versions.part_path("job_1", 1, "reader.pt")
    versions.write(path, b"archive")
    also = FurtherFile(path=path, format="torchscript", sha256="0", payload_bytes=7, parity={"y": 0.0})
    parts = {"reader": served.parts["reader"].model_copy(update={"also": (also,)})}
    published = versions.publish(served.model_copy(update={"job": "job_2", "parts": parts}))
    assert set(published.files()) == {"reader.onnx", "reader.pt"}
    versions.delete("digits", published.version)
    with pytest.raises(ObjectMissing):
        versions.read(path)


def test_manifest_from_before_there_were_formats_is_read(versions: Versions) -> None:
    """Its parts are ONNX, and there is nothing beside them."""
    sent = deliver(versions, "job_1").model_dump(mode="json")
    for name in ("format", "also"):
        del sent["parts"]["reader"][name]
    part = Manifest.model_validate(sent).parts["reader"]
    assert (part.format, part.also) == ("onnx", ())


def test_version_that_an_alias_names_cannot_be_deleted(versions: Versions) -> None:
    deliver(versions, "job_1")
    versions.set_alias("digits", "production", 1)
    with pytest.raises(VersionInUse, match="production"):
        versions.delete("digits", 1)
    assert _whole(versions, 1)
    versions.set_alias("digits", "production", None)
    versions.delete("digits", 1)


# --- aliases ---------------------------------------------------------------------------------------------------------


def test_newest_alias_record_wins(versions: Versions) -> None:
    """Eleven moves, so that the order of the records is that of numbers and not of text."""
    for job in ("job_1", "job_2"):
        deliver(versions, job)
    for move in range(11):
        versions.set_alias("digits", "production", 1 + move % 2)
    assert versions.listing("digits").aliases == {"production": 1}
    versions.set_alias("digits", "production", 2)
    versions.set_alias("digits", "candidate", 1)
    assert versions.listing("digits").aliases == {"production": 2, "candidate": 1}
    versions.set_alias("digits", "production", None)
    assert versions.listing("digits").aliases == {"candidate": 1}
    versions.set_alias("digits", "production", 1)
    assert versions.listing("digits").aliases == {"production": 1, "candidate": 1}


def test_alias_set_by_two_at_once_is_that_of_the_later_record() -> None:
    """Whoever is overtaken writes the next record: the last to return has the last word."""
    store = MemoryStore()
    versions = Versions(store)
    for job in ("job_1", "job_2"):
        deliver(versions, job)

    def overtake() -> None:
        store.before = lambda: None
        versions.set_alias("digits", "production", 2)

    store.before = overtake
    versions.set_alias("digits", "production", 1)
    assert versions.listing("digits").aliases == {"production": 1}


@pytest.mark.parametrize("alias", ["", "7", "a/b", "..", ".", ".hidden", "a" * 65, "é", "a b", "-x"])
def test_alias_that_is_no_name_is_refused(versions: Versions, alias: str) -> None:
    deliver(versions, "job_1")
    with pytest.raises(ValidationFailed, match="is not a name"):
        versions.set_alias("digits", alias, 1)
    assert versions.listing("digits").aliases == {}


def test_alias_of_nothing_is_refused(versions: Versions) -> None:
    deliver(versions, "job_1")
    with pytest.raises(VersionNotFound, match="Known: 1"):
        versions.set_alias("digits", "production", 2)
    with pytest.raises(AliasNotFound):
        versions.set_alias("digits", "production", None)
    with pytest.raises(ModelNotFound, match="Did you mean 'digits'"):
        versions.set_alias("digit", "production", 1)


@pytest.mark.parametrize(
    ("wanted", "number"), [(None, 3), ("1", 1), ("3", 3), ("candidate", 1)], ids=["newest", "first", "third", "alias"]
)
def test_version_is_found_by_number_alias_or_default(versions: Versions, wanted: str | None, number: int) -> None:
    for job in ("job_1", "job_2", "job_3"):
        deliver(versions, job)
    versions.set_alias("digits", "candidate", 1)
    assert versions.listing("digits").resolve("digits", wanted) == number


def test_production_is_the_default_once_there_is_one(versions: Versions) -> None:
    for job in ("job_1", "job_2"):
        deliver(versions, job)
    versions.set_alias("digits", "production", 1)
    assert versions.listing("digits").resolve("digits", None) == 1


@pytest.mark.parametrize("wanted", ["2", "0", "1" * 30, "productoin", "", "²"])
def test_version_that_is_not_there_is_named_with_those_that_are(versions: Versions, wanted: str) -> None:
    deliver(versions, "job_1")
    versions.set_alias("digits", "production", 1)
    with pytest.raises(VersionNotFound, match=r"production"):
        versions.listing("digits").resolve("digits", wanted)


@pytest.mark.parametrize("model", ["", "..", "a/b", "nothing", "digits "])
def test_model_that_is_not_there_is_not_found(versions: Versions, model: str) -> None:
    """Also where the name could not be a folder of the store."""
    deliver(versions, "job_1")
    with pytest.raises(ModelNotFound):
        versions.listing(model)
    with pytest.raises((ModelNotFound, VersionNotFound)):
        versions.manifest(model, 1)


# --- the file store --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["nosuch://bucket", "file:///proc/none/such", "no url"])
def test_store_that_cannot_be_opened_names_the_setting(url: str) -> None:
    with pytest.raises(StoreUnavailable, match="LECTERN_STORE_URL"):
        ArtifactStore(url)


def test_store_returns_what_was_put(tmp_path: Path) -> None:
    """Whole, streamed, once only, listed by folder; what is missing is missing, and deleting it is no error."""
    store = ArtifactStore(tmp_path.as_uri())
    store.put("a/b/one", b"1" * 1000)
    assert not store.put_if_absent("a/b/one", b"2")
    assert store.put_if_absent("a/two", b"2")
    assert store.get("a/b/one") == b"".join(store.stream("a/b/one")) == b"1" * 1000
    assert (store.folders("a"), store.names("a"), store.names("nothing")) == (["b"], ["two"], [])
    store.delete("a/two")
    store.delete("a/two")
    assert not store.exists("a/two")
    with pytest.raises(ObjectMissing):
        store.get("a/two")


def test_what_a_file_manager_leaves_in_the_store_is_no_record(tmp_path: Path) -> None:
    versions = Versions(ArtifactStore(tmp_path.as_uri()))
    deliver(versions, "job_1")
    versions.set_alias("digits", "production", 1)
    root = tmp_path / "default/models"
    for folder in (root, root / "digits/versions", root / "digits/aliases", root / "digits/aliases/production"):
        (folder / ".DS_Store").write_bytes(b"left")
        (folder / "thumbs.json").write_bytes(b"left")
        (folder / ".hidden").mkdir()
    assert versions.models() == ["digits"]
    versions.set_alias("digits", "production", 1)
    assert versions.listing("digits").aliases == {"production": 1}
    assert deliver(versions, "job_2").version == 2
