"""The catalogue: folders are the registry, and a name that is not there is met with the nearest."""

from __future__ import annotations

import pytest

from models.catalog import Catalog
from models.contract.errors import FamilyNotFound, ValidationFailed

BOTH = Catalog(("models", "rehearsal"))


def test_families_are_the_folders() -> None:
    rehearsed = {"bagged", "memory_cell", "ridge", "speller", "tiny_gan", "tree_net"}
    assert set(BOTH.names()) - set(Catalog().names()) == rehearsed
    assert list(BOTH.names()) == sorted(BOTH.names())
    assert "mlp" in Catalog().names()


def test_task_of_another_root_is_found() -> None:
    """``ridge`` lies under one root, its task under the other; both roots' families share one task."""
    assert BOTH.task(BOTH.spec("ridge").task) is BOTH.task(BOTH.spec("mlp").task)
    assert not BOTH.task("classification").__class__.__module__.startswith("rehearsal")


def test_kinds_are_the_files() -> None:
    assert set(BOTH.kinds()) - set(Catalog().kinds()) == {"expressions"}
    assert BOTH.kind("expressions").name == "expressions"
    with pytest.raises(ValidationFailed, match=r"use one of: .*expressions.*images"):
        BOTH.kind("expression")


def test_nearest_family_is_suggested() -> None:
    for find in (BOTH.spec, BOTH.family):
        with pytest.raises(FamilyNotFound, match="Did you mean 'speller'"):
            find("spelller")


def test_families_are_listed_when_none_is_near() -> None:
    with pytest.raises(FamilyNotFound, match=r"Known: .*mlp"):
        Catalog().spec("zzzzzzzz")


@pytest.mark.parametrize("name", ["", "../mlp", "classification", "mlp.spec", "task"])
def test_names_are_not_paths(name: str) -> None:
    with pytest.raises(FamilyNotFound):
        BOTH.spec(name)


@pytest.mark.parametrize("root", ["no_such_package", "math"])
def test_root_that_is_no_package_is_named(root: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=root):
        Catalog(("models", root))
