"""Published versions in the store: exactly one per job, whole or not at all.

Parts lie under the job and attempt that exported them: ``{project}/jobs/{job}/{attempt}/{file}``. Publishing
puts ``{project}/models/{model}/by-job/{job}.json`` (which attempt won, and from which number to look for a
free one) and then ``…/versions/{number}.json`` (the manifest), each only if absent. Whoever publishes the same
job again, at any moment and in any order, walks the same numbers from the same start and finds the version
that is already there; so does the reaper for a job whose worker vanished in between. For a job that is given up the
marker says that there is no version, and whoever still tries to publish finds that. A deleted version leaves a
tombstone, so a number is never used twice. How an alias and the deletion of what it points at keep apart is said
in ``aliases.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import orjson

from models.artifacts.aliases import Aliases
from models.artifacts.records import numbers
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
        return ModelListing(live, self._aliases(model).targets())

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
        """Point ``alias`` at a version, or at nothing.

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
        if number is None:
            self._aliases(model).remove(alias)
        elif number not in listing.versions or not self._pointed(model, alias, number):
            others = (str(version) for version in listing.versions if version != number)
            raise VersionNotFound.named(f"version of '{model}' called", str(number), others)

    def delete(self, model: str, number: int) -> None:
        """Delete a version: no alias can point at it any more, its manifest becomes a tombstone, then its files go.

        Raises:
            VersionNotFound: there is no such version.
            VersionInUse: an alias points at it; names the alias.
        """
        manifest = self.manifest(model, number)
        pointing = self._aliases(model).forbid(number)
        if pointing is not None:
            message = f"Version {number} of '{model}' is what '{pointing}' points at; move or delete the alias first."
            raise VersionInUse(message)
        self._bury(model, number, manifest)
        for path in sorted(manifest.paths()):
            self._store.delete(path)

    def _pointed(self, model: str, alias: str, number: int) -> bool:
        """Return whether the alias points at the version, which it does unless that is just being deleted."""
        if self._aliases(model).point(alias, number):
            return True
        with suppress(VersionNotFound):
            self._bury(model, number, self.manifest(model, number))  # who was to do so may have died
        return False

    def _bury(self, model: str, number: int, manifest: Manifest) -> None:
        """Put a tombstone where a version's manifest is."""
        tombstone = orjson.dumps({"job": manifest.job, "version": number, "deleted": True})
        self._store.put(f"{self._root(model)}/versions/{number}.json", tombstone)

    def _marker_path(self, model: str, job: str) -> str:
        return f"{self._root(model)}/by-job/{job}.json"

    def _aliases(self, model: str) -> Aliases:
        return Aliases(self._store, self._root(model))

    def _numbers(self, model: str) -> list[int]:
        return numbers(self._store, f"{self._root(model)}/versions")

    def _root(self, model: str) -> str:
        if not is_name(model):
            raise ModelNotFound.named("model", model, self.models())
        return f"{self.project}/models/{model}"
