"""The aliases of one model, none of which ever points at a deleted version. ``versions.py`` calls.

``{root}/aliases/{alias}/{record}.json`` is what an alias points at, null for nothing; the highest record counts. The
store has no transaction over two objects, so each version has a log in which its deletion and the aliases that are
pointed at it meet, ``{root}/deletions/{version}/{entry}.json``:

- ``aliased``: this alias is about to be pointed at the version, by this record.
- ``deleting``: somebody wants to delete the version. Each record of which an ``aliased`` before it speaks is there.
- ``deleted``: it is deleted for good. Stands right behind a ``deleting``, and nothing stands behind it.

Who sets an alias enters ``aliased``, then puts the record. If the entry takes the place right behind a ``deleting``,
that deletion begins anew.

Who deletes a version first puts each record of which an ``aliased`` speaks and that is missing. It says what the alias
points at already; whoever was about to put it finds it taken, and begins anew. Then ``deleting`` is entered, and all
aliases are looked at. If one points at the version it is not deleted, else ``deleted`` is entered.

So of an alias and a deletion that come together one succeeds, whatever the order. Nobody waits and nothing is taken
back: who dies in between leaves entries that hinder nobody.
"""

from __future__ import annotations

from typing import Literal

import orjson

from models.artifacts.records import Records
from models.artifacts.store import ArtifactStore
from models.contract.config import Options


class _Entry(Options):
    """One entry of a version's log; ``alias`` and ``record`` are those of ``aliased``."""

    state: Literal["aliased", "deleting", "deleted"]
    alias: str | None = None
    record: int | None = None

    def encoded(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()


class Aliases:
    """The aliases of the model that has its records below ``root``."""

    def __init__(self, store: ArtifactStore, root: str) -> None:
        """Keep where they lie."""
        self._store = store
        self._root = root

    def targets(self) -> dict[str, int]:
        """Return the version that each alias points at."""
        found = {alias: self._target(alias) for alias in self._store.folders(f"{self._root}/aliases")}
        return {alias: version for alias, version in found.items() if version is not None}

    def point(self, alias: str, version: int) -> bool:
        """Point an alias at a version; return whether it does: not if the version is deleted for good."""
        records, log = self._records(alias), self._log(version)
        while True:
            record, last = records.last() + 1, log.last()
            if last and _entry(log, last).state == "deleted":
                return False
            entry = _Entry(state="aliased", alias=alias, record=record)
            if log.put(last + 1, entry.encoded()) and records.put(record, _pointing_at(version)):
                return True

    def remove(self, alias: str) -> None:
        """Point an alias at nothing."""
        records = self._records(alias)
        while not records.put(records.last() + 1, _pointing_at(None)):
            pass

    def forbid(self, version: int) -> str | None:
        """Let no alias point at a version ever again, and return None; if one does, return its name instead."""
        log = self._log(version)
        while (begun := self._begun(log)) is not None:
            for alias, target in self.targets().items():
                if target == version:
                    return alias
            if log.put(begun + 1, _Entry(state="deleted").encoded()):
                break
        return None

    def _begun(self, log: Records) -> int | None:
        """Return the number of the ``deleting`` that ends the log, entered if need be; None behind ``deleted``."""
        while True:
            last = log.last()
            for number in range(last, 0, -1):
                entry = _entry(log, number)
                if entry.state == "deleted":
                    return None
                if entry.state == "deleting":
                    if number == last:
                        return last
                    break
                self._take_place(entry)
            if log.put(last + 1, _Entry(state="deleting").encoded()):
                return last + 1

    def _take_place(self, entry: _Entry) -> None:
        """Put the record of which an ``aliased`` speaks unless it is there; the alias stays what it is."""
        if entry.alias is None or entry.record is None:
            return
        records = self._records(entry.alias)
        if entry.record not in records.numbers():
            records.put(entry.record, _pointing_at(self._target(entry.alias, before=entry.record)))

    def _target(self, alias: str, before: int | None = None) -> int | None:
        records = self._records(alias)
        newest = max((number for number in records.numbers() if before is None or number < before), default=None)
        return None if newest is None else orjson.loads(records.read(newest))["version"]

    def _records(self, alias: str) -> Records:
        return Records(self._store, f"{self._root}/aliases/{alias}")

    def _log(self, version: int) -> Records:
        return Records(self._store, f"{self._root}/deletions/{version}")


def _entry(log: Records, number: int) -> _Entry:
    return _Entry.model_validate_json(log.read(number))


def _pointing_at(version: int | None) -> bytes:
    return orjson.dumps({"version": version})
