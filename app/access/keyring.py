"""The keys as one gateway knows them. Asking it touches neither disk nor network; it follows the store beside that.

It begins knowing nothing and takes no request then. Once it has seen the record of a key it asks for one until the
process ends: neither revoking nor deleting the last key opens a gateway that runs.
"""

from __future__ import annotations

import asyncio
import hmac
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import structlog
from anyio import to_thread

from app.access.keys import Key, KeyNames, Keys, digest, parts
from app.access.scopes import ALL, Scopes, expanded
from models.contract.errors import LecternError, StoreUnavailable, Unauthorized

FOLLOW_SECONDS = 1.0
"""How soon a gateway knows a key that was made or revoked."""

FIRST_SECONDS = 5.0
"""How long a start waits for the store; requests are refused until it has answered."""

SCHEME = b"bearer "
EXPECTED = "send 'Authorization: Bearer <key>'; 'lectern keys create' makes one"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Grant:
    """What a request may do: the project it is about, and the scopes of its key."""

    key_id: str
    project: str
    scopes: Scopes
    digest: bytes = b""
    expires: float = float("inf")
    """Seconds since the epoch."""


class Keyring:
    """What a gateway knows of the keys, and whom it lets in."""

    def __init__(self, keys: Keys, own_project: str, clock: Callable[[], float] = time.time) -> None:
        """Know nothing yet; ``own_project`` is that of requests while there are no keys."""
        self._keys = keys
        self._clock = clock
        self._anybody = Grant("", own_project, ALL)
        self._turn = threading.Lock()
        self._read: dict[str, Key] = {}
        self._names: KeyNames | None = None
        self._grants: Mapping[bytes, Grant] = {}
        self._revoked: frozenset[str] = frozenset()
        self._known = False
        self._failing = False
        self.asks = False
        """Whether requests need a key."""
        self.projects: Collection[str] = (own_project,)
        """The projects that there are, sorted: the gateway's own, and those of keys, also of keys that have ended."""

    def refresh(self) -> None:
        """Read what is new in the store; what is known stays when it is away. Called in a thread."""
        with self._turn:
            try:
                names = self._keys.names()
                new = {key_id: self._keys.read(key_id) for key_id in names.records - self._read.keys()}
            except LecternError as error:
                if not self._failing:
                    log.warning("keys_unreadable", reason=error.detail)
                self._failing = True
                return
            self._failing = False
            if names == self._names and not any(new.values()):
                return
            kept = {key_id: key for key_id, key in self._read.items() if key_id in names.records}
            # One that cannot be read is tried again each time; it may just have been listed before it was there.
            self._read = kept | {key_id: key for key_id, key in new.items() if key is not None}
            self._take(names)

    async def start(self) -> None:
        """Return when the keys are known, or the store has taken too long."""
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                await to_thread.run_sync(self.refresh, abandon_on_cancel=True)
        except TimeoutError:
            log.warning("keys_unreadable", reason=f"The store did not answer within {FIRST_SECONDS:g} s.")

    async def follow(self) -> None:
        """Look again every second, until cancelled."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            try:
                await to_thread.run_sync(self.refresh, abandon_on_cancel=True)
            except Exception:
                # Whatever it was, revoked keys must not stay valid because nobody looks any more.
                log.exception("keys_not_followed")

    def anybody(self) -> Grant | None:
        """Return what everybody may do while there are no keys; None if there are.

        Raises:
            StoreUnavailable: it is not known yet whether there are any.
        """
        if self.asks:
            return None
        if not self._known:
            raise StoreUnavailable("Whether there are keys is not known yet: the artifact store has not answered.")
        return self._anybody

    def grant(self, authorization: bytes | None) -> Grant:
        """Return what the key in this header allows.

        Raises:
            Unauthorized: there is none, or it is not valid; says why to whoever has its secret.
        """
        if authorization is None:
            raise Unauthorized(f"This gateway needs a key: {EXPECTED}.")
        if authorization[: len(SCHEME)].lower() != SCHEME:
            raise Unauthorized(f"The Authorization header is read as a bearer token: {EXPECTED}.")
        key_id, secret = parts(authorization[len(SCHEME) :].strip(b" "))
        grant = self._grants.get(key_id)
        if grant is None or not hmac.compare_digest(grant.digest, digest(secret)):
            raise Unauthorized(f"The key is not known here: {EXPECTED}.")
        if grant.key_id in self._revoked:
            raise Unauthorized(f"The key {grant.key_id} was revoked.")
        if grant.expires <= self._clock():
            raise Unauthorized(f"The key {grant.key_id} has expired.")
        return grant

    def live(self) -> int:
        """Return how many keys are valid now."""
        now = self._clock()
        return sum(grant.expires > now for grant in self._grants.values() if grant.key_id not in self._revoked)

    def _take(self, names: KeyNames) -> None:
        self._names = names
        self._revoked = names.revoked
        self._grants = {key_id.encode(): _grant(key) for key_id, key in self._read.items()}
        self.projects = sorted({self._anybody.project, *(key.project for key in self._read.values())})
        # Also of a record that cannot be read: somebody wanted keys.
        self.asks = self.asks or bool(names.records)
        self._known = True
        if self.asks:
            log.info("keys_known", live=self.live(), unreadable=len(names.records) - len(self._read))


def _grant(key: Key) -> Grant:
    expires = float("inf") if key.expires is None else key.expires.timestamp()
    return Grant(key.id, key.project, expanded(key.scopes), bytes.fromhex(key.digest), expires)
