"""An alias and the deletion of what it points at: one of two succeeds, in whatever order their accesses come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count, permutations, product
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.artifacts.aliases import Aliases
from models.artifacts.retention import named_files
from models.artifacts.store import ArtifactStore, ObjectMissing
from models.artifacts.versions import Versions
from models.contract.errors import AliasNotFound, VersionInUse, VersionNotFound
from unit.models.delivering import MemoryStore, deliver
from unit.models.stepping import Operation

Act = Callable[[Versions], object]
MakeStore = Callable[[], ArtifactStore]

ROOT = "default/models/digits"
HISTORIES: tuple[tuple[int, ...], ...] = ((), (1,), (2, 1))
"""What `production` was pointed at before: nothing, another version, this one and then another."""

CASES = [*product(("memory", "obstore"), HISTORIES), ("file", (1,))]


@pytest.fixture(params=["memory", "file", "obstore"])
def make_store(request: pytest.FixtureRequest) -> Iterator[MakeStore]:
    """Return what makes an empty store: the fake, and the real ones that it stands for."""
    with TemporaryDirectory(prefix="lectern-") as folder:
        numbers = count()
        kinds: dict[str, MakeStore] = {
            "memory": MemoryStore,
            "file": lambda: ArtifactStore((Path(folder) / str(next(numbers))).as_uri()),
            "obstore": lambda: ArtifactStore("memory:///"),
        }
        yield kinds[request.param]


def _delete(number: int) -> Act:
    return lambda versions: versions.delete("digits", number)


def _point(alias: str, number: int | None) -> Act:
    return lambda versions: versions.set_alias("digits", alias, number)


def _filled(store: ArtifactStore, history: Sequence[int] = (), newest: int = 2) -> Versions:
    """Put versions into the store, and let `production` have pointed at some."""
    versions = Versions(store)
    for number in range(1, newest + 1):
        deliver(versions, f"job_{number}")
    for number in history:
        versions.set_alias("digits", "production", number)
    return versions


def _check(versions: Versions) -> None:
    """Check what is so at any moment: what an alias points at is there, with all its files."""
    listing = versions.listing("digits")
    for number in {*listing.aliases.values()}:
        for path in versions.manifest("digits", number).paths():
            versions.read(path)


def _orders(
    make_store: MakeStore, history: Sequence[int], first: Act, second: Act
) -> Iterator[tuple[Versions, Operation, Operation]]:
    """Interrupt the first before each of its accesses by the second, and that by the first before each of its own.

    Yields what has become of the versions, and the two as they have ended.
    """
    ahead, between = 0, 1
    while True:
        store = make_store()
        versions = _filled(store, history)
        one, other = Operation(store, first), Operation(store, second)
        is_ahead = one.go(ahead)
        _check(versions)
        is_between = other.go(between)
        _check(versions)
        one.finish()
        _check(versions)
        other.finish()
        _check(versions)
        yield versions, one, other
        if is_between:
            between += 1
        elif is_ahead:
            ahead, between = ahead + 1, 1
        else:
            return


@pytest.mark.parametrize(("make_store", "history"), CASES, indirect=["make_store"], ids=str)
@pytest.mark.parametrize("deletion_first", [True, False])
def test_of_an_alias_and_a_deletion_one_succeeds(
    make_store: MakeStore, history: tuple[int, ...], *, deletion_first: bool
) -> None:
    """The other changes nothing, and says why."""
    acts = (_delete(2), _point("production", 2))
    orders = 0
    for versions, *operations in _orders(make_store, history, *(acts if deletion_first else reversed(acts))):
        deletion, pointing = operations if deletion_first else reversed(operations)
        orders += 1
        assert deletion.succeeded != pointing.succeeded
        listing = versions.listing("digits")
        if pointing.succeeded:
            assert isinstance(deletion.error, VersionInUse)
            assert "'production' points at; move or delete the alias first" in deletion.error.detail
            assert (listing.versions, dict(listing.aliases)) == ((1, 2), {"production": 2})
        else:
            assert isinstance(pointing.error, VersionNotFound)
            assert "Known: 1." in pointing.error.detail
            assert (listing.versions, dict(listing.aliases)) == ((1,), {"production": 1} if history else {})
    assert orders > 50


@pytest.mark.parametrize(("make_store", "history"), CASES, indirect=["make_store"], ids=str)
def test_a_deletion_that_dies_anywhere_hinders_nobody(make_store: MakeStore, history: tuple[int, ...]) -> None:
    """Whether it had decided shows with the next who ask: the version is there for all of them, or for none."""
    for steps in count():
        store = make_store()
        versions = _filled(store, history)
        deletion = Operation(store, _delete(2))
        is_alive = deletion.go(steps)
        deletion.die()
        _check(versions)
        try:
            versions.set_alias("digits", "production", 2)
        except VersionNotFound:
            assert versions.listing("digits").versions == (1,)
            assert versions.listing("digits").aliases == ({"production": 1} if history else {})
            with pytest.raises(VersionNotFound):
                versions.delete("digits", 2)
            named = named_files(store, "default")
            assert named is not None
            assert not any("job_2" in path for path in named.paths)
        else:
            assert versions.listing("digits").aliases == {"production": 2}
            with pytest.raises(VersionInUse):
                versions.delete("digits", 2)
            versions.set_alias("digits", "production", 1)
            versions.delete("digits", 2)
        _check(versions)
        if not is_alive:
            return


def test_a_deletion_that_died_after_it_was_decided_is_completed_by_the_next(make_store: MakeStore) -> None:
    """Until then the version answers, with all its files."""
    versions = _filled(store := make_store())
    paths = versions.manifest("digits", 2).paths()
    assert Aliases(store, ROOT).forbid(2) is None
    assert versions.listing("digits").resolve("digits", "2") == 2
    versions.delete("digits", 2)
    for path in paths:
        with pytest.raises(ObjectMissing):
            versions.read(path)


@pytest.mark.parametrize(("make_store", "history"), CASES, indirect=["make_store"], ids=str)
def test_an_alias_whose_setting_dies_anywhere_hinders_no_deletion(
    make_store: MakeStore, history: tuple[int, ...]
) -> None:
    """It points at the version, which is kept then, or at what it did before."""
    for steps in count():
        store = make_store()
        versions = _filled(store, history)
        pointing = Operation(store, _point("production", 2))
        is_alive = pointing.go(steps)
        pointing.die()
        if versions.listing("digits").aliases.get("production") == 2:
            with pytest.raises(VersionInUse, match="production"):
                versions.delete("digits", 2)
            versions.set_alias("digits", "production", None)
        else:
            assert versions.listing("digits").aliases == ({"production": 1} if history else {})
        versions.delete("digits", 2)
        _check(versions)
        assert versions.listing("digits").versions == (1,)
        if not is_alive:
            return


ACTS: dict[str, Act] = {
    "delete 1": _delete(1),
    "delete 2": _delete(2),
    "delete 2 again": _delete(2),
    "production 1": _point("production", 1),
    "production 2": _point("production", 2),
    "candidate 1": _point("candidate", 1),
    "candidate 2": _point("candidate", 2),
    "production none": _point("production", None),
}


def _explained(history: Sequence[int], operations: dict[str, Operation], end: tuple[set[int], dict[str, int]]) -> bool:
    """Return whether some order, one after the other, gives every operation the answer that it got, and this end."""
    return any(_follows(history, operations, names, end) for names in permutations(operations))


def _follows(
    history: Sequence[int],
    operations: dict[str, Operation],
    names: Sequence[str],
    end: tuple[set[int], dict[str, int]],
) -> bool:
    versions, aliases = {1, 2, 3}, {"production": history[-1]} if history else {}
    for name in names:
        what, number = name.split(" ")[:2]
        succeeded, error = operations[name].succeeded, operations[name].error
        if what == "delete":
            if isinstance(error, VersionInUse) != (int(number) in aliases.values()):
                return False
            if isinstance(error, VersionNotFound) and int(number) in versions:
                return False
            # Two deletions of the same version may both say that it is gone: one completes what the other decided.
            versions -= {int(number)} if succeeded else set()
        elif number == "none":
            if isinstance(error, AliasNotFound) and what in aliases:
                return False
            aliases.pop(what, None)
        elif succeeded != (int(number) in versions):
            return False
        elif succeeded:
            aliases[what] = int(number)
    return (versions, aliases) == end


@given(
    history=st.sampled_from(HISTORIES),
    names=st.lists(st.sampled_from(sorted(ACTS)), min_size=2, max_size=4, unique=True),
    turns=st.lists(st.integers(0, 3), max_size=80),
)
@settings(deadline=None, max_examples=300)
def test_several_at_once_are_as_if_one_came_after_the_other(
    history: tuple[int, ...], names: list[str], turns: list[int]
) -> None:
    """Whoever goes on when, no alias points at what is not there, not even for a moment."""
    store = MemoryStore()
    versions = _filled(store, history, newest=3)
    operations = {name: Operation(store, ACTS[name]) for name in names}
    for turn in turns:
        operations[names[turn % len(names)]].step()
        _check(versions)
    for operation in operations.values():
        operation.finish()
    _check(versions)
    listing = versions.listing("digits")
    assert _explained(history, operations, ({*listing.versions}, dict(listing.aliases)))
