"""The walls that import-linter cannot see: what a fresh process loads, which names stand where, lengths."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import grimp
import pytest

from models.catalog import Catalog

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("app", "models", "workers")
CODE = (*PACKAGES, "benchmarks", "tests")
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
PROTOCOL_WORDS = "app/serving/oip/words.py"
"""The Open Inference Protocol uses the name of a task for something of its own."""


COLD_START = """
import sys
import app.main
from models.catalog import Catalog
catalog = Catalog(("models",))
for name in catalog.names():
    catalog.task(catalog.spec(name).task)
for name in catalog.kinds():
    catalog.kind(name)
print(*sorted({"torch", "workers"} & set(sys.modules)))
"""


def _modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_cold_start_loads_neither_torch_nor_workers() -> None:
    """The gateway validates and documents every family without the code that trains it."""
    fresh = subprocess.run(
        [sys.executable, "-c", COLD_START], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert fresh.returncode == 0, fresh.stderr
    assert fresh.stdout.split() == []


def test_parent_of_several_processes_loads_little() -> None:
    """It serves nothing, and is there for as long as the gateway is."""
    heavy = {"fastapi", "numpy", "onnxruntime", "prometheus_client", "pydantic", "redis", "starlette", "uvicorn"}
    code = f"import sys, app.processes.parent; print(*sorted({heavy} & set(sys.modules)))"
    fresh = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert fresh.stdout.split() == []


@pytest.mark.parametrize("package", ["app", "workers"])
def test_app_and_workers_name_no_task_and_no_family(package: str) -> None:
    """A family is a folder under models/: a name of one elsewhere would be a second place to change."""
    catalog = Catalog(("models",))
    names = sorted({*catalog.names(), *(catalog.spec(name).task for name in catalog.names())})
    word = re.compile(rf"\b({'|'.join(map(re.escape, names))})\b", re.IGNORECASE)
    found = [
        f"{_name(path)}:{number}: {match.group()}"
        for path in _modules(package)
        if _name(path) != PROTOCOL_WORDS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        for match in word.finditer(line)
    ]
    assert found == []


def test_families_do_not_import_one_another() -> None:
    """What two families need lives in nn/; checked over any number of steps, for all families there are."""
    catalog = Catalog(("models",))
    folders = [f"models.{catalog.spec(name).task}.{name}" for name in catalog.names()]
    graph = grimp.build_graph("models", exclude_type_checking_imports=True)
    found = [
        f"{importer} -> {imported}"
        for importer, imported in permutations(folders, 2)
        if graph.chain_exists(importer=importer, imported=imported, as_packages=True)
    ]
    assert found == []


def test_families_of_a_spec_stand_in_the_folder_of_their_task() -> None:
    """The folder above a family names its task, so that documentation and walls can rely on the layout."""
    catalog = Catalog(("models",))
    misplaced = [name for name in catalog.names() if not (ROOT / "models" / catalog.spec(name).task / name).is_dir()]
    assert misplaced == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_owns_our_package_names(package: str) -> None:
    """The packages are flat and top-level: another distribution with such a name would hide ours."""
    owners = set(importlib.metadata.packages_distributions().get(package, ()))
    assert owners <= {"lectern"}


def test_every_module_has_a_docstring() -> None:
    """The first lines of a file say what it is, what it is not, and who calls it."""
    silent = [
        _name(path) for path in _modules(*CODE) if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_no_file_is_longer_than_it_can_be_read() -> None:
    """Files are split at 400 lines, by noun."""
    lengths = {_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in _modules(*CODE)}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    """Functions end within 60 lines, docstring included."""
    long = {
        f"{_name(path)}:{function.lineno} {function.name}": lines
        for path in _modules(*CODE)
        for function in _functions(path)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > LONGEST_FUNCTION
    }
    assert long == {}


def test_nothing_is_left_to_do_in_a_comment() -> None:
    """What is open stands in the issue tracker, not in the code."""
    marker = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    here = Path(__file__).resolve()
    found = [
        f"{_name(path)}:{number}"
        for path in _modules(*CODE)
        if path != here
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if marker.search(line)
    ]
    assert found == []
