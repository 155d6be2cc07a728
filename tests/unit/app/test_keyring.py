"""What a gateway knows of keys: soon, while the store is away, and never less than it has seen."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app.access import keyring as module
from app.access.keyring import Keyring
from app.access.keys import FOLDER, Keys
from app.access.rates import Rates
from app.access.scopes import ALL, Scope
from models.artifacts.retention import Named, job_files, named_files
from models.artifacts.store import ArtifactStore
from models.contract.config import is_name
from models.contract.errors import NotFound, StoreUnavailable, Unauthorized, ValidationFailed


class _Store(ArtifactStore):
    """A store that can be away, and counts what is read."""

    away = False
    reads = 0

    def names(self, prefix: str) -> list[str]:
        if self.away:
            raise StoreUnavailable("It is away.")
        return super().names(prefix)

    def get(self, path: str) -> bytes:
        self.reads += 1
        return super().get(path)


@pytest.fixture
def store(tmp_path: Path) -> _Store:
    return _Store((tmp_path / "store").as_uri())


@pytest.fixture
def keys(store: _Store) -> Keys:
    return Keys(store)


@pytest.fixture
def keyring(keys: Keys) -> Keyring:
    found = Keyring(keys, "own")
    found.refresh()
    return found


def _bearer(token: str) -> bytes:
    return f"Bearer {token}".encode()


def test_without_keys_everybody_may_do_everything_in_the_own_project(keyring: Keyring) -> None:
    anybody = keyring.anybody()
    assert anybody is not None
    assert (anybody.project, anybody.scopes) == ("own", ALL)


def test_a_key_is_known_after_the_next_look_and_read_once(keys: Keys, store: _Store, keyring: Keyring) -> None:
    """Its record never changes."""
    key, token = keys.create("ci", (Scope.TRAIN,), "theirs")
    for _ in range(3):
        keyring.refresh()
    assert store.reads == 1
    assert keyring.anybody() is None
    grant = keyring.grant(_bearer(token))
    assert (grant.key_id, grant.project, grant.scopes) == (key.id, "theirs", {Scope.TRAIN})
    assert keyring.grant(f"bEARER  {token} ".encode()) == grant


def test_the_store_has_no_secret(keys: Keys, store: _Store) -> None:
    """A digest alone, from which no key can be made."""
    key, token = keys.create("ci", (Scope.PREDICT,))
    text = store.get(f"{FOLDER}/{key.id}.json").decode()
    assert token.split("_")[2] not in text
    assert len(bytes.fromhex(token.split("_")[2])) == 32


def test_a_revoked_key_ends_at_the_next_look(keys: Keys, keyring: Keyring) -> None:
    """Who has its secret learns why; others learn nothing."""
    key, token = keys.create("ci", (Scope.TRAIN,))
    keyring.refresh()
    keys.revoke(key.id)
    keys.revoke(key.id)
    keyring.refresh()
    with pytest.raises(Unauthorized, match="was revoked"):
        keyring.grant(_bearer(token))
    with pytest.raises(Unauthorized, match="not known"):
        keyring.grant(_bearer(f"lk_{key.id}_{'0' * 64}"))
    assert keyring.live() == 0


def test_the_projects_are_the_own_and_those_of_keys(keys: Keys, store: _Store, keyring: Keyring) -> None:
    """Whether the keys are valid or not: what was begun with them goes on."""
    assert [*keyring.projects] == ["own"]
    ended, _ = keys.create("ci", (Scope.TRAIN,), "ended")
    keys.create("ci", (Scope.TRAIN,), "expired", datetime.now(UTC) - timedelta(days=1))
    for _ in range(2):
        keys.create("ci", (Scope.TRAIN,), "a")
    keys.revoke(ended.id)
    keyring.refresh()
    assert [*keyring.projects] == ["a", "ended", "expired", "own"]
    store.away = True
    keyring.refresh()
    assert [*keyring.projects] == ["a", "ended", "expired", "own"]


def test_a_key_expires_by_itself(keys: Keys, store: _Store) -> None:
    """Also while the store is away."""
    now = datetime.now(UTC)
    times = [now.timestamp()]
    keyring = Keyring(keys, "own", lambda: times[0])
    _, token = keys.create("ci", (Scope.TRAIN,), expires=now + timedelta(days=1))
    keyring.refresh()
    store.away = True
    assert (keyring.grant(_bearer(token)).project, keyring.live()) == ("default", 1)
    times[0] += 86_401
    keyring.refresh()
    with pytest.raises(Unauthorized, match="has expired"):
        keyring.grant(_bearer(token))
    assert keyring.live() == 0


def test_what_is_known_stays_while_the_store_is_away(keys: Keys, store: _Store, keyring: Keyring) -> None:
    _, token = keys.create("ci", (Scope.TRAIN,))
    keyring.refresh()
    store.away = True
    keyring.refresh()
    assert keyring.grant(_bearer(token)).project == "default"


def test_a_gateway_that_has_not_seen_the_store_lets_nobody_in(keys: Keys, store: _Store) -> None:
    """There may be keys."""
    store.away = True
    keyring = Keyring(keys, "own")
    keyring.refresh()
    with pytest.raises(StoreUnavailable, match="not known yet"):
        keyring.anybody()
    store.away = False
    keyring.refresh()
    assert keyring.anybody() is not None


def test_a_gateway_that_asked_for_keys_goes_on_asking(keys: Keys, store: _Store, keyring: Keyring) -> None:
    """Whatever becomes of them: nobody opens it by taking keys away."""
    key, token = keys.create("ci", (Scope.TRAIN,))
    keyring.refresh()
    store.delete(f"{FOLDER}/{key.id}.json")
    keyring.refresh()
    assert keyring.anybody() is None
    with pytest.raises(Unauthorized):
        keyring.grant(_bearer(token))


@pytest.mark.parametrize("record", [b"", b"{}", b"not json"])
def test_a_record_that_cannot_be_read_is_a_key_that_nobody_has(store: _Store, keyring: Keyring, record: bytes) -> None:
    """It may be of another Lectern; somebody wanted keys."""
    store.put(f"{FOLDER}/{'0' * 12}.json", record)
    keyring.refresh()
    assert keyring.anybody() is None
    assert keyring.live() == 0


def test_a_record_under_another_id_is_no_key(keys: Keys, store: _Store, keyring: Keyring) -> None:
    """A copy cannot outlive its revocation."""
    key, token = keys.create("ci", (Scope.TRAIN,))
    store.put(f"{FOLDER}/{'0' * 12}.json", store.get(f"{FOLDER}/{key.id}.json"))
    keyring.refresh()
    with pytest.raises(Unauthorized):
        keyring.grant(_bearer(f"lk_{'0' * 12}_{token.split('_')[2]}"))


def test_what_a_file_manager_left_there_is_nothing(store: _Store, keyring: Keyring) -> None:
    store.put(f"{FOLDER}/.DS_Store", b"x")
    keyring.refresh()
    assert keyring.anybody() is not None


@pytest.mark.parametrize(
    "header", [b"", b"Bearer", b"bearer ", b"Bearer \xff\xfe", b"Basic YTpi", b"lk_0_0", b"Bearer " + b"x" * 99_999]
)
def test_what_is_no_key_is_refused(keys: Keys, keyring: Keyring, header: bytes) -> None:
    keys.create("ci", (Scope.TRAIN,))
    keyring.refresh()
    with pytest.raises(Unauthorized):
        keyring.grant(header)


@pytest.mark.parametrize(
    "fields",
    [("a b", (Scope.TRAIN,), "p"), ("a", (), "p"), ("a", (Scope.TRAIN,), "_keys"), ("a", (Scope.TRAIN,), "a/b")],
)
def test_a_key_for_nothing_is_not_made(keys: Keys, fields: tuple[str, tuple[Scope, ...], str]) -> None:
    with pytest.raises(ValidationFailed):
        keys.create(*fields)
    assert keys.names().records == frozenset()


def test_a_key_that_does_not_exist_cannot_be_revoked(keys: Keys) -> None:
    with pytest.raises(NotFound, match="no key '1'"):
        keys.revoke("1")


def test_keys_are_no_project_to_what_removes_files(keys: Keys, store: _Store) -> None:
    """Retention looks into every folder of the store."""
    key, _ = keys.create("ci", (Scope.TRAIN,))
    keys.revoke(key.id)
    assert FOLDER in store.folders("")
    assert not is_name(FOLDER)
    assert job_files(store, FOLDER) == {}
    assert named_files(store, FOLDER) == Named(frozenset(), frozenset())


async def test_a_running_gateway_follows(
    gateway: FastAPI, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It opens with the first key, and one look that falls does not end the others."""
    keyring: Keyring = gateway.state.keyring
    looks: list[int] = []
    refresh = keyring.refresh

    def falling() -> None:
        looks.append(1)
        if len(looks) == 1:
            raise RuntimeError
        refresh()

    monkeypatch.setattr(module, "FOLLOW_SECONDS", 0.01)
    monkeypatch.setattr(keyring, "refresh", falling)
    Keys(gateway.state.services.store).create("ci", (Scope.TRAIN,))
    async with asyncio.timeout(10):
        while (await client.get("/v1/families")).status_code != 401:  # noqa: ASYNC110 - as a client sees it
            await asyncio.sleep(0.01)
    assert len(looks) > 1


async def test_a_store_that_does_not_answer_delays_a_start_for_a_moment(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = Keyring(keys, "own")
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.0)
    await keyring.start()


def test_a_bucket_gives_a_burst_and_then_its_rate() -> None:
    """Never more than the burst after a pause, and each key has its own."""
    times = [0.0]
    rates = Rates(2.0, 3, lambda: times[0])
    assert [rates.wait_seconds("a") for _ in range(4)] == [0, 0, 0, 1]
    assert rates.wait_seconds("b") == 0
    times[0] += 0.5
    assert [rates.wait_seconds("a") for _ in range(2)] == [0, 1]
    times[0] += 1000
    assert [rates.wait_seconds("a") for _ in range(4)] == [0, 0, 0, 1]


def test_a_refused_request_takes_nothing() -> None:
    """Who goes on asking is served at the rate, too."""
    times = [0.0]
    rates = Rates(0.1, 1, lambda: times[0])
    assert [rates.wait_seconds("a") for _ in range(3)] == [0, 10, 10]
    times[0] += 9.5
    assert rates.wait_seconds("a") == 1
    times[0] += 0.5
    assert rates.wait_seconds("a") == 0


def test_no_rate_is_no_limit() -> None:
    rates = Rates(0.0, 1)
    assert not any(rates.wait_seconds("a") for _ in range(100))
