"""API keys in the artifact store: made, listed, revoked. Written by ``lectern keys``, read by every gateway.

A key reads ``lk_<id>_<secret>``. ``_keys/{id}.json`` is its :class:`Key`, put if absent and never changed;
``_keys/{id}.revoked`` ends it for ever. No project can have this folder: names do not begin with ``_``.

The store has the SHA-256 of the secret, not the secret. A slow hash, as passwords need, would protect nothing here: a
secret of 256 random bits cannot be guessed, however fast each guess is.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import AwareDatetime, Field, ValidationError

from app.access.scopes import Scope
from models.artifacts.store import ArtifactStore, ObjectMissing
from models.contract.config import Name, Options
from models.contract.errors import NotFound

FOLDER = "_keys"
ID_BYTES = 6
SECRET_BYTES = 32
RECORD = re.compile(r"([0-9a-f]{12})\.(json|revoked)")


class Key(Options):
    """What is known of a key; its secret is not."""

    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    name: Name
    scopes: tuple[Scope, ...] = Field(min_length=1)
    project: Name = "default"
    created: AwareDatetime
    expires: AwareDatetime | None = None
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")

    def state(self, *, revoked: bool, now: datetime) -> str:
        """Return ``live``, ``expired`` or ``revoked``."""
        if revoked:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "live"


@dataclass(frozen=True)
class KeyNames:
    """What a listing of the folder shows: ids with a record, and ids that are revoked."""

    records: frozenset[str]
    revoked: frozenset[str]


class Keys:
    """The keys of a store, of all projects."""

    def __init__(self, store: ArtifactStore) -> None:
        """Keep the store."""
        self._store = store

    def create(
        self, name: str, scopes: tuple[Scope, ...], project: str = "default", expires: datetime | None = None
    ) -> tuple[Key, str]:
        """Write a new key; return it with its token, which nobody can see again.

        Raises:
            ValidationFailed: the name or the project is none, or there is no scope.
            StoreUnavailable: it cannot be written.
        """
        while True:
            key_id, secret = secrets.token_hex(ID_BYTES), secrets.token_hex(SECRET_BYTES)
            fields = {"id": key_id, "name": name, "scopes": scopes, "project": project, "expires": expires}
            key = Key.parse({**fields, "created": datetime.now(UTC), "digest": digest(secret.encode()).hex()})
            if self._store.put_if_absent(_record_path(key_id), key.model_dump_json().encode()):
                return key, f"lk_{key_id}_{secret}"

    def revoke(self, key_id: str) -> None:
        """End a key; one that has ended already is no error.

        Raises:
            NotFound: there is none with this id.
        """
        known = self.names().records
        if key_id not in known:
            raise NotFound.named("key", key_id, known)
        self._store.put_if_absent(f"{FOLDER}/{key_id}.revoked", b"")

    def names(self) -> KeyNames:
        """Return what there is, by one listing; what a file manager left in the folder is nothing."""
        found = [match.groups() for name in self._store.names(FOLDER) if (match := RECORD.fullmatch(name))]
        records = frozenset(key_id for key_id, suffix in found if suffix == "json")
        return KeyNames(records, frozenset(key_id for key_id, suffix in found if suffix == "revoked"))

    def read(self, key_id: str) -> Key | None:
        """Return a key; None if its record is of another Lectern, damaged or gone."""
        try:
            key = Key.model_validate_json(self._store.get(_record_path(key_id)))
        except (ValidationError, ObjectMissing):
            return None
        return key if key.id == key_id else None

    def listed(self) -> list[tuple[Key, str]]:
        """Return every key that can be read with its state, oldest first."""
        names, now = self.names(), datetime.now(UTC)
        found = [key for key_id in names.records if (key := self.read(key_id)) is not None]
        states = [(key, key.state(revoked=key.id in names.revoked, now=now)) for key in found]
        return sorted(states, key=lambda item: (item[0].created, item[0].id))

    def live(self) -> int:
        """Return how many keys are valid now."""
        return sum(state == "live" for _, state in self.listed())


def parts(token: bytes) -> tuple[bytes, bytes]:
    """Return id and secret of a token; of anything else what no key has. Faster than a pattern."""
    return (token[3:15], token[16:]) if token[:3] == b"lk_" and token[15:16] == b"_" else (b"", b"")


def digest(secret: bytes) -> bytes:
    """Return what the store has of a secret."""
    return hashlib.sha256(secret).digest()


def _record_path(key_id: str) -> str:
    return f"{FOLDER}/{key_id}.json"
