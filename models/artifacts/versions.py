"""Published versions in the store: exactly one per job, whole or not at all.

Parts lie under the job and attempt that exported them: ``{project}/jobs/{job}/{attempt}/{file}``. Publishing
puts ``{project}/models/{model}/by-job/{job}.json`` (which attempt won, and from which number to look for a
free one) and then ``…/versions/{number}.json`` (the manifest), each only if absent. Whoever publishes the same
job again, at any moment and in any order, walks the same numbers from the same start and finds the version
that is already there; so does the reaper for a job whose worker vanished in between. For a job that is given up the
marker says that there is no version, and whoever still tries to publish finds that. A deleted version leaves a
tombstone, so a number is never used twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from models.artifacts.store import ArtifactStore, ObjectMissing
from models.contract.config import Options, is_name
from models.contract.errors import (
    AliasNotFound,
    Conflict,
    FieldError,
    LeaseLost,
    ModelNotFound,
    ValidationFailed,
    VersionInUse,
    VersionNotFound,
)
from models.contract.manifest import Manifest
from models.contract.spec import FamilySpec


class _Marker(Options):
    """What ``by-job`` says: the manifest of the winning attempt, with the first number to try; None: there is none."""

    manifest: Manifest | None


@dataclass(frozen=True)
class ModelListing:
    """The versions and aliases of one model, as they stood in the store."""

    versions: tuple[int, ...]
    aliases: Mapping[str, int]

    def resolve(self, model: str, wanted: str | None) -> int:
        """Return the version that ``wanted`` means: a number, an alias, or by default ``production`` or the newest.

        Raises:
            VersionNotFound: no such version or alias; names those there are.
        """
        if wanted is None:
            production = self.aliases.get("production")
            return production if production in self.versions else self.versions[-1]
        number = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 10 else self.aliases.get(wanted)
        if number not in self.versions:
            known = [*map(str, self.versions), *self.aliases]
            raise VersionNotFound.named(f"version of '{model}' called", wanted, known)
        return number


class Versions:
    """The published versions of one project."""

    def __init__(self, store: ArtifactStore, project: str = "default") -> None:
        """Keep the store."""
        self._store = store
        self.project = project

    def part_path(self, job: str, attempt: int, file: str) -> str:
        """Return where an attempt's exported file lies."""
        return f"{self.project}/jobs/{job}/{attempt}/{file}"

    def publish(self, manifest: Manifest) -> Manifest:
        """Make a version exist and return it as published; the number in ``manifest`` is replaced.

        The same job published again returns the version it already has.

        Raises:
            LeaseLost: the job was given up.
        """
        first = 1 + max(self._numbers(manifest.model), default=0)
        own = _Marker(manifest=manifest.model_copy(update={"version": first}))
        winner = self._marked(manifest.model, manifest.job, own).manifest
        if winner is None:
            message = f"Job {manifest.job} was given up before this attempt could publish; it stops."
            raise LeaseLost(message)
        return self._placed(winner)

    def settle(self, model: str, job: str, *, give_up: bool = False) -> int | None:
        """Return the version of a job, made to exist if its marker does; None when the job has none.

        With ``give_up`` None is for ever: whoever still tries to publish for the job is refused.
        """
        if give_up:
            marker = self._marked(model, job, _Marker(manifest=None))
        else:
            try:
                marker = _Marker.model_validate_json(self._store.get(self._marker_path(model, job)))
            except ObjectMissing:
                return None
        return None if marker.manifest is None else self._placed(marker.manifest).version

    def _marked(self, model: str, job: str, marker: _Marker) -> _Marker:
        """Return the job's marker, which is ``marker`` if there was none."""
        path = self._marker_path(model, job)
        if self._store.put_if_absent(path, marker.model_dump_json().encode()):
            return marker
        return _Marker.model_validate_json(self._store.get(path))

    def _placed(self, manifest: Manifest) -> Manifest:
        """Make a marker's version exist, under the first number from its own on that is free or already the job's."""
        number = manifest.version
        while True:
            wanted = manifest.model_copy(update={"version": number})
            path = f"{self._root(manifest.model)}/versions/{number}.json"
            if self._store.put_if_absent(path, wanted.model_dump_json().encode()):
                return wanted
            if orjson.loads(self._store.get(path))["job"] == manifest.job:
                return wanted
            number += 1

    def models(self) -> list[str]:
        """Return the names of the models that have a version."""
        found = self._store.folders(f"{self.project}/models")
        return [name for name in found if is_name(name) and self._numbers(name)]

    def listing(self, model: str) -> ModelListing:
        """Return the versions and aliases of a model.

        Raises:
            ModelNotFound: the model has no version.
        """
        root = self._root(model)
        live = tuple(
            number
            for number in self._numbers(model)
            if "deleted" not in orjson.loads(self._store.get(f"{root}/versions/{number}.json"))
        )
        if not live:
            raise ModelNotFound.named("model", model, (name for name in self.models() if name != model))
        aliases = {name: self._alias(model, name) for name in self._store.folders(f"{root}/aliases")}
        return ModelListing(live, {name: number for name, number in aliases.items() if number is not None})

    def manifest(self, model: str, number: int) -> Manifest:
        """Return a version's manifest.

        Raises:
            VersionNotFound: there is no such version, or it was deleted.
        """
        try:
            raw = orjson.loads(self._store.get(f"{self._root(model)}/versions/{number}.json"))
        except ObjectMissing:
            raw = {"deleted": True}
        if "deleted" in raw:
            raise VersionNotFound.named(f"version of '{model}' called", str(number))
        return Manifest.model_validate(raw)

    def check_task(self, model: str, spec: FamilySpec) -> None:
        """Return if a new version of ``model`` would answer what its newest does, so that its callers can go on.

        Raises:
            Conflict: it answers another task than the family's.
        """
        for number in sorted(self._numbers(model), reverse=True):
            record = orjson.loads(self._store.get(f"{self._root(model)}/versions/{number}.json"))
            if "deleted" in record:
                continue
            if record["task"] == spec.task:
                return
            detail = (
                f"the model '{model}' answers the task '{record['task']}' in its version {number}, and the family "
                f"'{spec.name}' learns '{spec.task}'; submit a job with another model name"
            )
            raise Conflict(f"/model: {detail}", [FieldError("/model", detail)])

    def read(self, path: str) -> bytes:
        """Return the bytes of a part or probe.

        Raises:
            ObjectMissing: it was deleted or never there.
        """
        return self._store.get(path)

    def write(self, path: str, data: bytes) -> None:
        """Write a part or probe at a path from :meth:`part_path`.

        Raises:
            StoreFull: no space is left.
        """
        self._store.put(path, data)

    def write_once(self, path: str, data: bytes) -> bytes:
        """Write a file unless it is there already; return what is there.

        Raises:
            StoreFull: no space is left.
        """
        return data if self._store.put_if_absent(path, data) else self._store.get(path)

    def set_alias(self, model: str, alias: str, number: int | None) -> None:
        """Point ``alias`` at a version, or at nothing. Records are numbered; the highest wins.

        Raises:
            ValidationFailed: the alias is all digits or not a name.
            VersionNotFound: the version does not exist.
            AliasNotFound: nothing to remove.
        """
        if alias.isdigit() or not is_name(alias):
            raise ValidationFailed.at(
                "/alias", f"'{alias}' is not a name: use letters, digits, _, . and -, not digits alone"
            )
        listing = self.listing(model)
        if number is None and alias not in listing.aliases:
            raise AliasNotFound.named(f"alias of '{model}' called", alias, listing.aliases)
        if number is not None and number not in listing.versions:
            raise VersionNotFound.named(f"version of '{model}' called", str(number), map(str, listing.versions))
        folder = f"{self._root(model)}/aliases/{alias}"
        while True:
            record = max(self._records(folder), default=0) + 1
            if self._store.put_if_absent(_alias_path(folder, record), orjson.dumps({"version": number})):
                return

    def delete(self, model: str, number: int) -> None:
        """Delete a version: its manifest becomes a tombstone, then its files go.

        Raises:
            VersionNotFound: there is no such version.
            VersionInUse: an alias points at it; names the alias.
        """
        manifest = self.manifest(model, number)
        pointing = [name for name, target in self.listing(model).aliases.items() if target == number]
        if pointing:
            message = (
                f"Version {number} of '{model}' is what '{pointing[0]}' points at; move or delete the alias first."
            )
            raise VersionInUse(message)
        tombstone = orjson.dumps({"job": manifest.job, "version": number, "deleted": True})
        self._store.put(f"{self._root(model)}/versions/{number}.json", tombstone)
        for path in sorted(manifest.paths()):
            self._store.delete(path)

    def _marker_path(self, model: str, job: str) -> str:
        return f"{self._root(model)}/by-job/{job}.json"

    def _alias(self, model: str, alias: str) -> int | None:
        folder = f"{self._root(model)}/aliases/{alias}"
        newest = max(self._records(folder), default=None)
        return None if newest is None else orjson.loads(self._store.get(_alias_path(folder, newest)))["version"]

    def _numbers(self, model: str) -> list[int]:
        return self._records(f"{self._root(model)}/versions")

    def _records(self, folder: str) -> list[int]:
        """Return the numbers of the records in ``folder``, sorted; what a file manager left there is none."""
        stems = (name.removesuffix(".json") for name in self._store.names(folder) if name.endswith(".json"))
        return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit())

    def _root(self, model: str) -> str:
        if not is_name(model):
            raise ModelNotFound.named("model", model, self.models())
        return f"{self.project}/models/{model}"


def _alias_path(folder: str, record: int) -> str:
    return f"{folder}/{record:012d}.json"
