"""The folders are the registry: families, tasks and dataset kinds are found by where they lie, imported on demand.

A root is a package laid out like this one: ``<root>/<task>/task.py`` holds ``TASK``,
``<root>/<task>/<family>/spec.py`` holds ``SPEC`` (torch-free) and ``…/family.py`` holds ``FAMILY``;
``<root>/data/kinds/<kind>.py`` holds ``KIND``. Roots beside ``models`` let a team or a test suite keep
families of its own; a task that a root does not define is looked up in the others.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.contract.errors import FamilyNotFound, ValidationFailed

if TYPE_CHECKING:
    from models.contract.spec import FamilySpec
    from models.contract.task import Task
    from models.data.kind import DatasetKind
    from models.family import Family


class Catalog:
    """Families, tasks and dataset kinds under the given root packages."""

    def __init__(self, roots: Sequence[str] = ("models",)) -> None:
        """List the folders of ``roots`` without importing what is in them.

        Raises:
            ModuleNotFoundError: a root is not an importable package.
        """
        self._families: dict[str, tuple[str, str]] = {}
        self._tasks: dict[str, str] = {}
        self._kinds: dict[str, str] = {}
        for root in roots:
            self._scan(root, _folder(root))

    def _scan(self, root: str, folder: Path) -> None:
        for spec_file in folder.glob("*/*/spec.py"):
            family, task = spec_file.parent.name, spec_file.parent.parent.name
            self._families.setdefault(family, (task, f"{root}.{task}.{family}"))
            if (spec_file.parent.parent / "task.py").exists():
                self._tasks.setdefault(task, f"{root}.{task}.task")
        for kind_file in folder.glob("data/kinds/[!_]*.py"):
            self._kinds.setdefault(kind_file.stem, f"{root}.data.kinds.{kind_file.stem}")

    def names(self) -> tuple[str, ...]:
        """Return the names of all families, sorted."""
        return tuple(sorted(self._families))

    def tasks(self) -> tuple[str, ...]:
        """Return the names of all tasks, sorted."""
        return tuple(sorted(self._tasks))

    def kinds(self) -> tuple[str, ...]:
        """Return the names of all dataset kinds, sorted."""
        return tuple(sorted(self._kinds))

    def spec(self, name: str) -> FamilySpec:
        """Return the description of a family; imports no torch.

        Raises:
            FamilyNotFound: there is no such family; suggests the nearest name.
        """
        return _attribute(f"{self._family(name)}.spec", "SPEC")

    def family(self, name: str) -> type[Family[Any, Any]]:
        """Return the class of a family; imports torch.

        Raises:
            FamilyNotFound: there is no such family; suggests the nearest name.
        """
        return _attribute(f"{self._family(name)}.family", "FAMILY")

    def task(self, name: str) -> Task:
        """Return a task by name."""
        return _attribute(self._tasks[name], "TASK")

    def kind(self, name: str) -> DatasetKind:
        """Return a dataset kind by name.

        Raises:
            ValidationFailed: there is no such kind; lists those there are.
        """
        if name not in self._kinds:
            raise ValidationFailed.at(
                "/kind", f"there is no dataset kind '{name}'; use one of: {', '.join(self.kinds())}"
            )
        return _attribute(self._kinds[name], "KIND")

    def _family(self, name: str) -> str:
        if name not in self._families:
            raise FamilyNotFound.named("family", name, self._families)
        return self._families[name][1]


def _folder(package: str) -> Path:
    found = importlib.util.find_spec(package)
    locations = list(found.submodule_search_locations or ()) if found else []
    if not locations:
        message = f"'{package}' is not a package that can be imported; families are looked up in packages"
        raise ModuleNotFoundError(message)
    return Path(locations[0])


def _attribute(module: str, name: str) -> Any:  # noqa: ANN401 - the caller's annotation names the type
    return getattr(importlib.import_module(module), name)
